/**
 * Tokenizers of GGUF files against the ids of Python's `tokenizers`, of `sentencepiece` and of llama.cpp:
 * test/fixtures/tokenizers/gguf/make.py wrote them.
 */

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { tokenizerOfGguf } from "../../src/checkpoint/gguf/tokenizer.js";
import { tokenizerFromJson } from "../../src/checkpoint/tokenizer/tokenizer.js";
import { InputError } from "../../src/errors.js";
import type { Tokenizer } from "../../src/model/model.js";

const FIXTURES = fileURLToPath(new URL("../fixtures/tokenizers/gguf/", import.meta.url));
const FILE = "small.gguf";

const metadataSchema = z.record(z.string(), z.unknown());
const idsSchema = z.array(z.array(z.number()));
const addedSchema = z.object({
  text: z.string(),
  cases: z.array(z.object({ metadata: metadataSchema, ids: z.array(z.number()) })),
});

function read<T>(name: string, schema: z.ZodType<T>): T {
  return schema.parse(JSON.parse(readFileSync(`${FIXTURES}${name}.json`, "utf8")));
}

const byteLevel = read(
  "byte-level",
  z.object({
    metadata: metadataSchema,
    texts: z.array(z.string()),
    ids: z.record(z.string(), idsSchema),
    same: z.record(z.string(), z.array(z.string())),
    added: addedSchema,
  }),
);

const sentencePiece = read(
  "sentencepiece",
  z.object({
    metadata: metadataSchema,
    texts: z.array(z.string()),
    cases: z.array(z.object({ metadata: metadataSchema, ids: idsSchema })),
    added: addedSchema,
    withoutBytes: z.object({ metadata: metadataSchema, texts: z.array(z.string()), ids: idsSchema }),
  }),
);

type Metadata = Readonly<Record<string, unknown>>;

/** The tokenizer of a file with these keys; undefined takes a key away. */
function load(...metadata: readonly Metadata[]): Tokenizer {
  const made = describeTokenizer(...metadata);
  if (made === undefined) throw new Error("no tokenizer");
  return tokenizerFromJson(made, FILE, 1_000_000);
}

function describeTokenizer(...metadata: readonly Metadata[]) {
  const entries = Object.entries(Object.assign({}, ...metadata));
  return tokenizerOfGguf(new Map(entries.filter(([, value]) => value !== undefined)), FILE);
}

function expectIds(
  tokenizer: Tokenizer,
  texts: readonly string[],
  ids: readonly (readonly number[])[],
): void {
  expect(texts.length).toBeGreaterThan(25);
  for (const [index, text] of texts.entries()) {
    expect(tokenizer.encode(text, false), JSON.stringify(text)).toEqual(ids[index]);
  }
}

const splitBy = (pre: string) => ({ "tokenizer.ggml.pre": pre });

describe("byte-level BPE", () => {
  const groups = Object.entries(byteLevel.ids).flatMap(([first, ids]) =>
    [first, ...(byteLevel.same[first] ?? [])].map((pre) => ({ pre, first, ids })),
  );

  test.each(groups)("split as $pre gives the ids of the Python library", ({ pre, first, ids }) => {
    const tokenizer = load(byteLevel.metadata, splitBy(pre));
    expectIds(tokenizer, byteLevel.texts, ids);
    // Names that mean the same agree on the BOS token, too.
    const begins = (name: string) => load(byteLevel.metadata, splitBy(name)).encode("Paul", true)[0];
    expect(begins(pre)).toBe(begins(first));
  });

  test.each(byteLevel.added.cases)(
    "puts BOS and EOS where llama.cpp does: $metadata",
    ({ metadata, ids }) => {
      expect(load(byteLevel.metadata, metadata).encode(byteLevel.added.text, true)).toEqual(ids);
    },
  );

  test("has texts for its tokens that together are the text", () => {
    const tokenizer = load(byteLevel.metadata, splitBy("smollm"));
    const text = "When Ella and Paul  went,\n\tElla's <|eos|> 1999 <tool>.";
    const texts = tokenizer.encode(text, false).map((id) => tokenizer.tokenText(id));
    expect(texts.join("")).toBe(text);
    expect(texts).toContain("<|eos|>");
    expect(texts).toContain("<tool>");
    expect(tokenizer.unknownId).toBeUndefined();
  });

  test("takes ids as big integers", () => {
    const bos = { "tokenizer.ggml.bos_token_id": 5n, "tokenizer.ggml.add_bos_token": true };
    expect(load(byteLevel.metadata, splitBy("gpt-2"), bos).encode("Paul", true)[0]).toBe(5);
  });

  test("takes tokens named like parts of every object", () => {
    const tokens = ["a", "constructor", "__proto__"];
    const described = describeTokenizer(splitBy("gpt-2"), {
      "tokenizer.ggml.model": "gpt2",
      "tokenizer.ggml.tokens": tokens,
      "tokenizer.ggml.token_type": [1, 4, 4],
      "tokenizer.ggml.merges": [],
    });
    if (described === undefined) throw new Error("no tokenizer");
    const tokenizer = tokenizerFromJson(described, FILE, 3);
    expect(tokenizer.encode("a__proto__constructora", true)).toEqual([0, 2, 1, 0]);
  });
});

describe("SentencePiece BPE", () => {
  test.each(sentencePiece.cases)("gives the ids of llama.cpp: $metadata", ({ metadata, ids }) => {
    const tokenizer = load(sentencePiece.metadata, metadata);
    expectIds(tokenizer, sentencePiece.texts, ids);
  });

  test.each(sentencePiece.added.cases)(
    "puts BOS and EOS where llama.cpp does: $metadata",
    ({ metadata, ids }) => {
      expect(load(sentencePiece.metadata, metadata).encode(sentencePiece.added.text, true)).toEqual(ids);
    },
  );

  test("without bytes has one unknown token for characters that it has no piece for", () => {
    const { metadata, texts, ids } = sentencePiece.withoutBytes;
    const tokenizer = load(metadata);
    expect(tokenizer.unknownId).toBe(0);
    expect(ids.flat()).toContain(0);
    expectIds(tokenizer, texts, ids);
  });

  test("has texts for its tokens with the space in front", () => {
    for (const space of [true, false]) {
      const tokenizer = load(sentencePiece.metadata, { "tokenizer.ggml.add_space_prefix": space });
      const texts = tokenizer.encode("to Paul", true).map((id) => tokenizer.tokenText(id));
      expect(texts[0]).toBe("<s>");
      expect(texts.slice(1).join("")).toBe(space ? " to Paul" : "to Paul");
    }
  });
});

describe("a file's keys", () => {
  const small: Metadata = { ...byteLevel.metadata, "tokenizer.ggml.pre": "gpt-2" };
  const pieces: Metadata = sentencePiece.metadata;

  /** The error without what all of them have. */
  function refused(...metadata: readonly Metadata[]): string {
    try {
      describeTokenizer(...metadata);
    } catch (error) {
      if (error instanceof InputError) return error.message.replace("loadModel: expected ", "");
      throw error;
    }
    throw new Error("expected an InputError, got a tokenizer");
  }

  test.each([{}, { "tokenizer.ggml.model": "none" }, { "tokenizer.ggml.model": "no_vocab" }])(
    "may hold no tokenizer: %o",
    (metadata) => expect(describeTokenizer(metadata)).toBeUndefined(),
  );

  test("that say nothing about how text is read change nothing", () => {
    const others = {
      "tokenizer.chat_template": "{{ messages }}",
      "tokenizer.chat_template.tool_use": "{{ messages }}",
      "tokenizer.chat_templates": ["tool_use"],
      "tokenizer.ggml.padding_token_id": 4_294_967_295,
      "tokenizer.ggml.seperator_token_id": 3,
      "tokenizer.ggml.add_sep_token": true,
      "tokenizer.ggml.eot_token_id": 2,
      "tokenizer.ggml.fim_pre_token_id": 2,
      "tokenizer.ggml.remove_extra_whitespaces": false,
      "tokenizer.ggml.precompiled_charsmap": [],
      "general.name": "small",
    };
    expect(describeTokenizer(small, others)).toEqual(describeTokenizer(small));
  });

  const size = (small["tokenizer.ggml.tokens"] as readonly string[]).length;
  const wrongLength = `an array of ${size} types from 1 to 6, one for each token`;

  test.each([
    ["tokenizer.ggml.model", "bert", '"gpt2" or "llama"', '"bert"'],
    ["tokenizer.ggml.model", 3, "text", "3"],
    ["tokenizer.ggml.tokens", undefined, "the texts of the tokens", "no such key"],
    ["tokenizer.ggml.tokens", ["a", 7], "an array of texts", "7 at 1"],
    [
      "tokenizer.ggml.tokens",
      ["a", "b", "a"],
      "different texts",
      '"a" for 0 and 2',
      { "tokenizer.ggml.token_type": undefined },
    ],
    ["tokenizer.ggml.token_type", [1, 1], wrongLength, "an array of 2"],
    ["tokenizer.ggml.token_type", Array(size).fill(0), wrongLength, "0 at 0"],
    ["tokenizer.ggml.merges", undefined, "the list of merges", "no such key"],
    [
      "tokenizer.ggml.merges",
      ["a b", "ab"],
      "pairs of tokens that together are a token, with a space between them",
      '"a b" at 0',
    ],
    [
      "tokenizer.ggml.merges",
      ["Ġ t", "Ġ"],
      "pairs of tokens that together are a token, with a space between them",
      '"Ġ" at 1',
    ],
    ["tokenizer.ggml.bos_token_id", size, `a token id less than ${size}`, String(size)],
    ["tokenizer.ggml.bos_token_id", -1, `a token id less than ${size}`, "-1"],
    ["tokenizer.ggml.eos_token_id", 1.5, `a token id less than ${size}`, "1.5"],
    [
      "tokenizer.ggml.bos_token_id",
      undefined,
      "the id of the token that is added to every text (add_bos_token)",
      "no such key",
      { "tokenizer.ggml.add_bos_token": true },
    ],
    ["tokenizer.ggml.add_bos_token", 1, "true or false", "1"],
    ["tokenizer.ggml.remove_extra_whitespaces", true, "false", "true"],
    ["tokenizer.ggml.normalizer.lowercase", true, "false", "true"],
    ["tokenizer.ggml.precompiled_charsmap", [1, 2, 3], "left out", "an array of 3"],
  ])("are checked: %s as %j", (key, value, expected, found, more: Metadata = {}) => {
    expect(refused(small, { [key]: value }, more)).toBe(`${key} of ${FILE} to be ${expected}, got ${found}`);
  });

  test.each([
    ["a name that is not known", "default", '"default"'],
    ["no name", undefined, "no such key"],
  ])("have to name the way to split text, not %s", (_, value, found) => {
    const message = refused(small, { "tokenizer.ggml.pre": value });
    expect(message).toContain(
      `tokenizer.ggml.pre of ${FILE} to be the name of a way to split text, one of "gpt-2", `,
    );
    expect(message).toContain(', "qwen2", ');
    expect(message.endsWith(`, got ${found}`)).toBe(true);
  });

  test.each(["tokenizer.ggml.split_on_dashes", "tokenizer.rwkv.world"])(
    "are refused when not known: %s",
    (key) => {
      expect(refused(small, { [key]: true })).toBe(
        `${FILE} to say nothing about its tokenizer that is not known here, got ${key}`,
      );
    },
  );

  test("of SentencePiece have scores that differ", () => {
    const key = "tokenizer.ggml.scores";
    const scores = pieces[key] as readonly number[];
    const text = "the scores that say which pieces are joined first, one for each token";
    expect(refused(pieces, { [key]: undefined })).toBe(`${key} of ${FILE} to be ${text}, got no such key`);
    expect(refused(pieces, { [key]: scores.slice(1) })).toBe(
      `${key} of ${FILE} to be an array of ${scores.length} numbers, one for each token, got an array of ${scores.length - 1}`,
    );
    expect(refused(pieces, { [key]: scores.map(() => -1000) })).toBe(
      `${key} of ${FILE} to be ${text}, got -1000 for all, which stands for none: make the file anew from a checkpoint ` +
        "with tokenizer.model",
    );
  });
});
