/**
 * The files beside tokenizer.json, against the ids of Python's transformers: test/fixtures/tokenizers/settings/make.py wrote
 * them. What the user is told is written out here.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { loadTokenizer } from "../../src/checkpoint/tokenizer/tokenizer.js";
import { InputError } from "../../src/errors.js";
import type { Tokenizer } from "../../src/model/model.js";
import { temporaryFolder } from "../support/checkpoint-folders.js";

const FIXTURE = fileURLToPath(new URL("../fixtures/tokenizers/settings/cases.json", import.meta.url));

const { cases } = z
  .object({
    cases: z.array(
      z.object({
        name: z.string(),
        files: z.looseObject({ "config.json": z.object({ model_type: z.string() }) }),
        texts: z.array(z.string()),
        ids: z.array(z.array(z.number())),
      }),
    ),
  })
  .parse(JSON.parse(readFileSync(FIXTURE, "utf8")));

async function load(
  files: Readonly<Record<string, unknown>>,
  modelType: string,
): Promise<{ tokenizer: Tokenizer; told: string[] }> {
  const folder = temporaryFolder();
  for (const [name, value] of Object.entries(files)) {
    writeFileSync(join(folder, name), typeof value === "string" ? value : JSON.stringify(value));
  }
  const told: string[] = [];
  const onNotice = (text: string) => told.push(text.replace(`${folder}: `, ""));
  const tokenizer = await loadTokenizer(folder, 100, { modelType, onNotice });
  if (tokenizer === undefined) throw new Error("no tokenizer.json");
  return { tokenizer, told };
}

/** What the user is told in each case; nothing where the files agree, or where what one says is what the others do. */
const NOTHING = "nothing around a text";
const START = '"<s>" (0) before a text and nothing behind it';
const BOTH = '"<s>" (0) before a text and "</s>" (1) behind it';
const LEFT_OUT = "add_eos_token left out, which means false";

const followed = (class_: string, flags: string, written: string, done: string) =>
  `tokenizer.json puts ${written}; tokenizer_config.json (${class_}, ${flags}) puts ${done}, which is done, as transformers 4.57 does`;
const ignored = (class_: string, flag: string, done: string) =>
  `tokenizer_config.json says ${flag}, which ${class_} does not act on in transformers 4.57: tokenizer.json is followed, which puts ${done}`;
const llamaStart = (says = "add_bos_token left out, which means true", start = START) =>
  followed("LlamaTokenizerFast", `${says}, ${LEFT_OUT}`, NOTHING, start);

const TOLD: Readonly<Record<string, readonly string[]>> = {
  "Llama, add_bos_token: true, no template": [llamaStart("add_bos_token: true")],
  "Llama, nothing said, no template": [llamaStart()],
  "bos_token as an object": [llamaStart()],
  "LlamaTokenizer, null, template": [
    followed("LlamaTokenizer", `add_bos_token: false, ${LEFT_OUT}`, START, NOTHING),
  ],
  "Llama, add_bos_token: false, template": [
    followed("LlamaTokenizerFast", `add_bos_token: false, ${LEFT_OUT}`, START, NOTHING),
  ],
  "Llama, add_eos_token: true, no template": [
    followed(
      "LlamaTokenizerFast",
      "add_bos_token left out, which means true, add_eos_token: true",
      NOTHING,
      BOTH,
    ),
  ],
  "Llama, nothing said, template of both": [
    followed("LlamaTokenizerFast", `add_bos_token left out, which means true, ${LEFT_OUT}`, BOTH, START),
  ],
  "plain, add_bos_token: true, no template": [
    ignored("PreTrainedTokenizerFast", "add_bos_token: true", NOTHING),
  ],
  "plain, add_bos_token: false, template": [
    ignored("PreTrainedTokenizerFast", "add_bos_token: false", START),
  ],
  "GPT-NeoX, nothing said, template": [
    followed("GPTNeoXTokenizer", `add_bos_token left out, which means false, ${LEFT_OUT}`, START, NOTHING),
  ],
  "GPT-NeoX, add_bos_token: true, no template": [
    followed("GPTNeoXTokenizer", `add_bos_token: true, ${LEFT_OUT}`, NOTHING, START),
  ],
  "Qwen2, add_bos_token: true, no template": [ignored("Qwen2Tokenizer", "add_bos_token: true", NOTHING)],
  "no class, Llama by its model_type, no template": [
    followed("LlamaTokenizer", `add_bos_token left out, which means true, ${LEFT_OUT}`, NOTHING, START),
  ],
  "no class, Mistral by its model_type, no template": [
    followed("LlamaTokenizer", `add_bos_token: true, ${LEFT_OUT}`, NOTHING, START),
  ],
  "no class, GPT-NeoX by its model_type, template": [
    followed("GPTNeoXTokenizer", `add_bos_token left out, which means false, ${LEFT_OUT}`, START, NOTHING),
  ],
  "no class, GPT-2 by its model_type, add_bos_token: true": [
    ignored("its class", "add_bos_token: true", NOTHING),
  ],
  "no class, Qwen3 by its model_type, add_bos_token: true": [
    ignored("its class", "add_bos_token: true", NOTHING),
  ],
  "bos_token differs, special_tokens_map.json read": [
    'bos_token is "<s>" in tokenizer_config.json and "</s>" in special_tokens_map.json: the second is taken',
    llamaStart("add_bos_token: true", '"</s>" (1) before a text and nothing behind it'),
  ],
  "bos_token differs, special_tokens_map.json left aside": [
    'bos_token is "<s>" in tokenizer_config.json and "</s>" in special_tokens_map.json: the first is taken',
    llamaStart("add_bos_token: true"),
  ],
  "a token only in added_tokens_decoder": [
    '"<extra>" of tokenizer_config.json is no token of tokenizer.json: it is read as 12',
  ],
  "a token only in added_tokens.json": [
    '"<extra>" of added_tokens.json is no token of tokenizer.json: it is read as 12',
  ],
  "a token only in added_tokens.json, left aside": [
    "added_tokens.json has a token that added_tokens_decoder of tokenizer_config.json has not with that id, first " +
      '"<extra>" (12): it is left aside',
  ],
  "a word of the vocabulary in added_tokens.json": [
    '"tool" (7) is found in a text before it is split, as added_tokens.json lists it; to tokenizer.json it is a word like others',
  ],
  "another id in added_tokens.json": [
    '"<extra>" has the id 3 in added_tokens.json and 12 in tokenizer.json, which is taken',
  ],
  "an id of another token in added_tokens.json": [
    '"<extra>" of added_tokens.json is no token of tokenizer.json: it is read as 12, not as 3',
  ],
  "a word of the vocabulary as eos_token": [
    '"tool" (7) is found in a text before it is split, as tokenizer_config.json lists it; to tokenizer.json it is a word like ' +
      "others; and 1 more such token",
  ],
  "spaces behind a token in added_tokens_decoder": [
    '"<s>" is found in a text as tokenizer_config.json says (single_word: false, lstrip: false, rstrip: true, normalized: false), ' +
      "and not as tokenizer.json says; and 2 more such tokens",
  ],
  "a bos_token that is no token": [
    '"<extra>" of tokenizer_config.json is no token of tokenizer.json: it is read as 12',
  ],
  "add_prefix_space left out, true in the file": [
    "tokenizer.json says add_prefix_space: true, and tokenizer_config.json does not: no space is put in front of a text that " +
      "has none, as transformers 4.57 does",
  ],
  "add_prefix_space: true, false in the file": [
    "tokenizer.json says add_prefix_space: false, and tokenizer_config.json true: a space is put in front of a text that " +
      "has none, as transformers 4.57 does",
  ],
};

describe("the files beside tokenizer.json", () => {
  test.each(cases)("give the ids of transformers: $name", async ({ name, files, texts, ids }) => {
    const { tokenizer, told } = await load(files, files["config.json"].model_type);
    expect(texts.map((text) => tokenizer.encode(text, true))).toEqual(ids);
    expect(told).toEqual(TOLD[name] ?? []);
  });

  test("say nothing where none of them is there", async () => {
    const { "tokenizer.json": json } = cases[0]?.files ?? {};
    const { tokenizer, told } = await load({ "tokenizer.json": json }, "llama");
    expect([tokenizer.before, tokenizer.after, told]).toEqual([[], [], []]);
  });

  test("tell what is put around a text", async () => {
    const { "tokenizer.json": json } = cases[0]?.files ?? {};
    const config = {
      tokenizer_class: "LlamaTokenizer",
      bos_token: "<s>",
      eos_token: "</s>",
      add_eos_token: true,
    };
    const { tokenizer } = await load({ "tokenizer.json": json, "tokenizer_config.json": config }, "llama");
    expect([tokenizer.before, tokenizer.after]).toEqual([[0], [1]]);
    expect(tokenizer.encode("The", false)).toEqual([2]);
  });
});

describe("a file beside tokenizer.json that is broken", () => {
  const { "tokenizer.json": json } = cases[0]?.files ?? {};
  test.each([
    ["tokenizer_config.json", "{", "expected FILE to be JSON, got SyntaxError"],
    ["tokenizer_config.json", "[]", "FILE: expected an object, got an array"],
    [
      "tokenizer_config.json",
      '{"add_bos_token": "yes"}',
      'FILE: add_bos_token: expected true or false, got the text "yes"',
    ],
    [
      "tokenizer_config.json",
      '{"bos_token": 3}',
      "FILE: bos_token: expected a token: text, or an object with content, got 3",
    ],
    [
      "tokenizer_config.json",
      '{"added_tokens_decoder": {"x": {"content": "y"}}}',
      "FILE: added_tokens_decoder.x: ",
    ],
    ["special_tokens_map.json", '{"bos_token": {}}', "FILE: bos_token"],
    ["added_tokens.json", '{"<x>": -1}', 'FILE: "<x>": expected a token id, got -1'],
    ["added_tokens.json", '{"__proto__": 1e9}', 'FILE: "__proto__": expected a token id'],
    ["added_tokens.json", "3", "FILE: expected an object of token ids, got 3"],
  ])("is named: %s %s", async (name, text, message) => {
    const error: unknown = await load({ "tokenizer.json": json, [name]: text }, "llama").catch(
      (thrown) => thrown,
    );
    if (!(error instanceof InputError)) throw new Error(`expected an InputError, got ${error}`);
    expect(error.message.replace(/\/\S*\//, "").replace(name, "FILE")).toContain(message);
  });
});
