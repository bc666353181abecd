/** @file Tokenizers against the ids of Python's `tokenizers`: test/fixtures/tokenizers/make.py wrote them. */

import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { loadTokenizer } from "../../src/checkpoint/tokenizer/tokenizer.js";
import { InputError } from "../../src/errors.js";
import type { Tokenizer } from "../../src/model/model.js";
import { temporaryFolder } from "../support/checkpoint-folders.js";

const FIXTURES = fileURLToPath(new URL("../fixtures/tokenizers/", import.meta.url));
const DEMO = fileURLToPath(new URL("../../models/demo/", import.meta.url));
const ANY_VOCABULARY = 1_000_000;

const expectedSchema = z.object({
  size: z.number(),
  texts: z.array(z.object({ text: z.string(), special: z.array(z.number()), plain: z.array(z.number()) })),
});

function readExpected(name: string): z.infer<typeof expectedSchema> {
  return expectedSchema.parse(JSON.parse(readFileSync(`${FIXTURES}${name}/expected.json`, "utf8")));
}

async function load(folder: string, vocabulary = ANY_VOCABULARY): Promise<Tokenizer> {
  const tokenizer = await loadTokenizer(folder, vocabulary);
  if (tokenizer === undefined) throw new Error(`no tokenizer.json in ${folder}`);
  return tokenizer;
}

function folderWithTokenizer(text: string): string {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "tokenizer.json"), text);
  return folder;
}

const FOLDERS = {
  "whole-words": DEMO,
  "gpt2-bos": `${FIXTURES}gpt2-bos`,
  "gpt-neox": `${FIXTURES}gpt-neox`,
  llama3: `${FIXTURES}llama3`,
  qwen2: `${FIXTURES}qwen2`,
  llama2: `${FIXTURES}llama2`,
};

describe.each(Object.entries(FOLDERS))("%s", (name, folder) => {
  test("gives the ids of the Python library, with and without special tokens", async () => {
    const tokenizer = await load(folder);
    const expected = readExpected(name);
    expect(tokenizer.size).toBe(expected.size);
    expect(expected.texts.length).toBeGreaterThan(15);
    for (const { text, special, plain } of expected.texts) {
      expect(tokenizer.encode(text, true), JSON.stringify(text)).toEqual(special);
      expect(tokenizer.encode(text, false), JSON.stringify(text)).toEqual(plain);
    }
  });
});

describe("every way to split text", () => {
  const { texts, tokenizer, cases } = z
    .object({
      texts: z.array(z.string()),
      tokenizer: z.looseObject({}),
      cases: z.array(
        z.object({ pre_tokenizer: z.looseObject({ type: z.string() }), ids: z.array(z.array(z.number())) }),
      ),
    })
    .parse(JSON.parse(readFileSync(`${FIXTURES}steps/cases.json`, "utf8")));

  test.each(
    cases.map(({ pre_tokenizer, ids }) => [JSON.stringify(pre_tokenizer), pre_tokenizer, ids] as const),
  )("gives the ids of the Python library: %s", async (_, pre_tokenizer, ids) => {
    const made = await load(folderWithTokenizer(JSON.stringify({ ...tokenizer, pre_tokenizer })));
    expect(texts.map((text) => made.encode(text, true))).toEqual(ids);
    made.close?.();
  });
});

describe("the text of a token", () => {
  const texts = (tokenizer: Tokenizer, text: string, special: boolean) =>
    tokenizer.encode(text, special).map((id) => tokenizer.tokenText(id));

  test("of byte-level tokenizers, put together, is the text", async () => {
    for (const name of ["gpt2-bos", "gpt-neox", "llama3", "qwen2"]) {
      const tokenizer = await load(`${FIXTURES}${name}`);
      const text = "When Ella and Paul  went,\n\tElla's <|endoftext|> 1999.";
      expect(texts(tokenizer, text, false).join("")).toBe(text);
    }
  });

  test("keeps its leading space", async () => {
    const expected = [" Paul", " gave"];
    expect(texts(await load(`${FIXTURES}gpt2-bos`), " Paul gave", true)).toEqual([
      "<|endoftext|>",
      ...expected,
    ]);
    expect(texts(await load(`${FIXTURES}llama3`), " Paul gave", true)).toEqual([
      "<|begin_of_text|>",
      ...expected,
    ]);
    // Sentencepiece puts a space in front of the text itself.
    expect(texts(await load(`${FIXTURES}llama2`), "gave gave", true)).toEqual(["<s>", " gave", " gave"]);
  });

  test("of a whole-word tokenizer is the word", async () => {
    const tokenizer = await load(DEMO);
    expect(texts(tokenizer, "<|endoftext|> The cars zzz", true)).toEqual([
      "<|endoftext|>",
      "The",
      "cars",
      "<|endoftext|>",
    ]);
  });

  test("of part of a character is a replacement character, and of no token says so", async () => {
    const tokenizer = await load(`${FIXTURES}gpt2-bos`);
    expect(texts(tokenizer, "Œ", false)).toEqual(["\ufffd", "\ufffd"]);
    expect(tokenizer.tokenText(tokenizer.size)).toBe(`[unused ${tokenizer.size}]`);
  });
});

describe("unknown text", () => {
  test("has the id that the tokenizer gives it", async () => {
    const demo = await load(DEMO);
    expect(demo.unknownId).toBe(0);
    expect((await load(`${FIXTURES}llama2`)).unknownId).toBe(0);
    expect((await load(`${FIXTURES}gpt2-bos`)).unknownId).toBeUndefined();
  });

  test("is refused where there is no such id", async () => {
    const json: { model: object } = JSON.parse(readFileSync(join(DEMO, "tokenizer.json"), "utf8"));
    const tokenizer = await load(
      folderWithTokenizer(JSON.stringify({ ...json, model: { ...json.model, unk_token: null } })),
    );
    expect(tokenizer.unknownId).toBeUndefined();
    expect(tokenizer.encode("The cars", true).length).toBe(2);
    expect(() => tokenizer.encode("The zebra", true)).toThrow(
      'encode: expected text that the tokenizer has tokens for, got "zebra" in "The zebra"',
    );
  });
});

describe("the file", () => {
  test("need not be there", async () => {
    expect(await loadTokenizer(temporaryFolder(), ANY_VOCABULARY)).toBeUndefined();
  });

  test("may have fewer tokens than the model's padded vocabulary, or more", async () => {
    const folder = temporaryFolder();
    copyFileSync(join(DEMO, "tokenizer.json"), join(folder, "tokenizer.json"));
    expect((await load(folder, 340)).size).toBe(340);
    expect((await load(folder, 384)).size).toBe(340);
    expect((await load(folder, 300)).size).toBe(340);
  });

  test("may not put a token around a text that the model has no embedding for", async () => {
    const folder = `${FIXTURES}llama3`;
    const [first = 0] = (await load(folder)).before;
    expect((await load(folder, first + 1)).before).toEqual([first]);
    await expect(load(folder, first)).rejects.toThrow(
      `loadModel: expected ${join(folder, "tokenizer.json")} to put tokens around a text that the model has embeddings for ` +
        `(ids less than ${first}), got "<|begin_of_text|>" (${first}): the tokenizer belongs to another model`,
    );
  });

  test("is not JSON, not a tokenizer, or one with parts that are not known here", async () => {
    const refused = async (text: string) => {
      const folder = folderWithTokenizer(text);
      const error: unknown = await loadTokenizer(folder, ANY_VOCABULARY).catch((reason: unknown) => reason);
      if (!(error instanceof InputError)) throw new Error(`expected an InputError, got ${error}`);
      return error.message.replaceAll(join(folder, "tokenizer.json"), "FILE");
    };
    expect(await refused("{")).toContain("loadModel: expected FILE to be JSON, got SyntaxError");
    expect(await refused('{"added_tokens": [], "model": 3}')).toBe(
      "loadModel: FILE: model: expected an object with a vocab, got 3",
    );
    const json: object = JSON.parse(readFileSync(join(DEMO, "tokenizer.json"), "utf8"));
    expect(await refused(JSON.stringify({ ...json, pre_tokenizer: { type: "Telepathy" } }))).toBe(
      "loadModel: FILE: pre_tokenizer.type: expected one of Sequence, BertPreTokenizer, Whitespace, WhitespaceSplit, Metaspace, " +
        'ByteLevel, Split, Punctuation, Digits, Replace, FixedLength, got "Telepathy"',
    );
  });
});
