/** What a tokenizer.json of a stranger can hold: everything that cannot be is refused by name, and a pattern that does not end is stopped. */

import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { strangePattern } from "../../src/checkpoint/tokenizer/known-patterns.js";
import { loadTokenizer } from "../../src/checkpoint/tokenizer/tokenizer.js";
import { checkTokenizerJson } from "../../src/checkpoint/tokenizer/tokenizer-json.js";
import { InputError, TokenizerError } from "../../src/errors.js";
import type { Tokenizer } from "../../src/model/model.js";
import { readPairs } from "../../src/prompts/read-pairs.js";
import { temporaryFolder } from "../support/checkpoint-folders.js";

const FIXTURES = fileURLToPath(new URL("../fixtures/tokenizers/", import.meta.url));
const VOCABULARY = 1_000;

const WORDS = {
  added_tokens: [{ id: 0, content: "<s>", special: true, normalized: false }],
  normalizer: null,
  pre_tokenizer: { type: "WhitespaceSplit" },
  post_processor: null,
  decoder: null,
  model: { type: "WordLevel", vocab: { "<s>": 0, The: 1, book: 2 }, unk_token: "<s>" },
};
const LETTERS = { type: "BPE", vocab: { "<s>": 0, a: 1, b: 2, ab: 3 }, merges: ["a b"] };

function folderOf(json: unknown): string {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "tokenizer.json"), typeof json === "string" ? json : JSON.stringify(json));
  return folder;
}

async function load(folder: string): Promise<Tokenizer> {
  const tokenizer = await loadTokenizer(folder, VOCABULARY);
  if (tokenizer === undefined) throw new Error(`no tokenizer.json in ${folder}`);
  return tokenizer;
}

async function refusal(folder: string): Promise<string> {
  const error: unknown = await load(folder).catch((thrown: unknown) => thrown);
  if (!(error instanceof InputError)) throw new Error(`expected an InputError, got ${error}`);
  return error.message.replaceAll(join(folder, "tokenizer.json"), "FILE");
}

/** Steps within steps, `depth` of them. */
function nested(depth: number): object {
  return depth === 0 ? { type: "WhitespaceSplit" } : { type: "Sequence", pretokenizers: [nested(depth - 1)] };
}

const template = (single: unknown, special_tokens: object = {}) => ({
  type: "TemplateProcessing",
  single,
  pair: [],
  special_tokens,
});
const A = { Sequence: { id: "A", type_id: 0 } };
const start = (id: string) => ({ SpecialToken: { id, type_id: 0 } });

describe("a tokenizer.json that cannot be is refused, with the field", () => {
  const cases: readonly (readonly [string, object, string])[] = [
    [
      "a vocab that is a number",
      { model: { ...WORDS.model, vocab: 5 } },
      "model.vocab: expected an object of token ids, got 5",
    ],
    [
      "a vocab without tokens",
      { model: { ...WORDS.model, vocab: {} } },
      "model.vocab: expected tokens, got none",
    ],
    [
      "a vocab of texts",
      { model: { ...WORDS.model, vocab: { The: "1" } } },
      'model.vocab: expected token ids (integers from 0 to 16777215), got "1" for "The"',
    ],
    [
      "a negative id",
      { model: { ...WORDS.model, vocab: { The: -1 } } },
      'model.vocab: expected token ids (integers from 0 to 16777215), got -1 for "The"',
    ],
    [
      "an id of thousands of millions",
      { model: { ...WORDS.model, vocab: { The: 1e9 } } },
      "got 1000000000 for",
    ],
    [
      "a vocab of pairs that is not Unigram's",
      { model: { ...LETTERS, vocab: [["a", 0]] } },
      'model.vocab: expected an object of token ids, got [["a",0]]',
    ],
    [
      "pieces without scores",
      { model: { type: "Unigram", vocab: [["a", 0], ["b"]] } },
      'model.vocab[1]: expected a token and its score, got ["b"]',
    ],
    [
      "a model of another type",
      { model: { type: "Oracle", vocab: {} } },
      "model.type: expected one of BPE, WordPiece, Unigram, WordLevel",
    ],
    [
      "merges that are text",
      { model: { ...LETTERS, merges: "a b" } },
      'model.merges: expected an array of merges, got "a b"',
    ],
    [
      "a merge of numbers",
      { model: { ...LETTERS, merges: [["a", 2]] } },
      'model.merges[0]: expected two tokens, got ["a",2]',
    ],
    [
      "merges of two kinds",
      { model: { ...LETTERS, merges: ["a b", ["a", "b"]] } },
      'model.merges[1]: expected two tokens, written like those of the first merge, got ["a","b"]',
    ],
    [
      "an added token of no id",
      { added_tokens: [{ content: "<s>" }] },
      "added_tokens[0].id: expected a token id (an integer from 0 to 16777215), got nothing",
    ],
    [
      "an added token of a huge id",
      { added_tokens: [{ id: 1e9, content: "<s>" }] },
      "added_tokens[0].id: expected a token id (an integer from 0 to 16777215), got 1000000000",
    ],
    [
      "an added token without text",
      { added_tokens: [{ id: 0, content: "" }] },
      "added_tokens[0].content: expected text, got an empty one",
    ],
    [
      "merges by chance",
      { model: { ...LETTERS, dropout: 0.1 } },
      "model.dropout: expected null, as dropout is random, got 0.1",
    ],
    [
      "a prefix of later pieces in BPE",
      { model: { ...LETTERS, continuing_subword_prefix: "##" } },
      'model.continuing_subword_prefix: expected null in a BPE model, got the text "##"',
    ],
    [
      "a token found as a whole word",
      { added_tokens: [{ id: 0, content: "<s>", single_word: true }] },
      "added_tokens[0].single_word: expected false, as tokens are found within words, too, got true",
    ],
    [
      "an unknown way to split",
      { pre_tokenizer: { type: "Punctuation", behavior: "Shuffled" } },
      "pre_tokenizer.behavior: expected one of Isolated, Removed, MergedWithPrevious, MergedWithNext, Contiguous",
    ],
    [
      "two tokens of one id",
      { added_tokens: [{ id: 1, content: "<x>" }] },
      'added_tokens[0].id: expected an id that no other token has, got 1, which is "The"',
    ],
    [
      "a token of two ids",
      { added_tokens: [{ id: 7, content: "The" }] },
      'added_tokens[0].id: expected the id that "The" has already, 1, got 7',
    ],
    [
      "a normalizer of a wrong type",
      { normalizer: "NFC" },
      'normalizer: expected an object with a type, got the text "NFC"',
    ],
    [
      "a pattern that is a number",
      { pre_tokenizer: { type: "Split", pattern: 3 } },
      "pre_tokenizer.pattern: expected an object with a String or a Regex, got 3",
    ],
    [
      "steps of no width, which never end",
      { pre_tokenizer: { type: "FixedLength", length: 0 } },
      "pre_tokenizer.length: expected a number of characters, got none",
    ],
    [
      "steps within steps within steps",
      { pre_tokenizer: nested(20) },
      "expected steps at most 8 deep, got more",
    ],
    [
      "a decoder of unknown type",
      { decoder: { type: "Oracle" } },
      "decoder.type: expected one of Sequence, ByteLevel",
    ],
    [
      "a template of text",
      { post_processor: template("<s> $A") },
      'post_processor.single: expected an array, got the text "<s> $A"',
    ],
    [
      "a template item that is text",
      { post_processor: template(["1", A]) },
      'post_processor.single[0]: expected an object with a SpecialToken or the Sequence A or B, got the text "1"',
    ],
    [
      "a template without the text",
      { post_processor: template([start("<s>")]) },
      "post_processor: expected a template that has the text once, got",
    ],
    [
      "a template with a token that is none",
      { post_processor: template([start("<bos>"), A]) },
      'post_processor: expected tokens of this file, got "<bos>"',
    ],
    [
      "a template with an id that is none",
      { post_processor: template([start("<s>"), A], { "<s>": { ids: [99], tokens: ["<s>"] } }) },
      'post_processor: expected ids of tokens for "<s>", got 99',
    ],
  ];
  test.each(cases)("%s", async (_, changed, message) => {
    const begun = performance.now();
    expect(await refusal(folderOf({ ...WORDS, ...changed }))).toContain(message);
    expect(performance.now() - begun).toBeLessThan(1_000);
  });

  test("a value nested a hundred thousand deep", async () => {
    const deep = "[".repeat(90_000) + "]".repeat(90_000);
    expect(await refusal(folderOf(`{"added_tokens": ${deep}}`))).toContain(
      "FILE: added_tokens[0]: expected a token",
    );
    expect(await refusal(folderOf(deep))).toBe("loadModel: FILE: expected an object, got an array");
  });

  test("a file of gigabytes, which is not read", async () => {
    const folder = folderOf("{}");
    truncateSync(join(folder, "tokenizer.json"), 2 ** 33);
    expect(await refusal(folder)).toBe("loadModel: expected FILE to have at most 256 MiB, got 8.00 GiB");
  });
});

test("characters without a token are not left out of a text", async () => {
  const tokenizer = await load(folderOf({ ...WORDS, pre_tokenizer: null, model: LETTERS }));
  expect(tokenizer.encode("abba", true)).toEqual([3, 2, 1]);
  expect(() => tokenizer.encode("abxba", true)).toThrow(
    'encode: expected text that the tokenizer has tokens for, got characters without one in "abxba"',
  );
});

describe("names of tokens", () => {
  test("may be those of parts of every object", async () => {
    const vocab = '{"<s>": 0, "__proto__": 1, "constructor": 2, "toString": 3}';
    const text = JSON.stringify({ ...WORDS, model: { ...WORDS.model, vocab: "VOCAB" } });
    const tokenizer = await load(folderOf(text.replace('"VOCAB"', vocab)));
    expect(tokenizer.encode("toString __proto__ constructor", true)).toEqual([3, 1, 2]);
    expect(tokenizer.size).toBe(4);
    const added = { ...WORDS, added_tokens: [{ id: 3, content: "__proto__" }] };
    expect((await load(folderOf(added))).encode("a__proto__ The", true)).toEqual([0, 3, 1]);
  });

  test("in a template stand for the ids beside them, as in the Python library", async () => {
    const post_processor = template([start("[start]"), A], { "[start]": { ids: [0], tokens: ["<s>"] } });
    const tokenizer = await load(folderOf({ ...WORDS, post_processor }));
    expect([tokenizer.before, tokenizer.encode("The", true)]).toEqual([[0], [0, 1]]);
  });
});

describe("a pattern that is not known", () => {
  const llama3: { pre_tokenizer: { pretokenizers: [{ pattern: { Regex: string } }] } } = JSON.parse(
    readFileSync(`${FIXTURES}llama3/tokenizer.json`, "utf8"),
  );
  const { texts } = z
    .object({
      texts: z.array(
        z.object({ text: z.string(), special: z.array(z.number()), plain: z.array(z.number()) }),
      ),
    })
    .parse(JSON.parse(readFileSync(`${FIXTURES}llama3/expected.json`, "utf8")));

  test("gives the ids that it should, until its model is closed", async () => {
    const written = llama3.pre_tokenizer.pretokenizers[0].pattern.Regex;
    const strange = structuredClone(llama3);
    strange.pre_tokenizer.pretokenizers[0].pattern.Regex = `(?:${written})`;
    const parts = (json: unknown) => checkTokenizerJson(json, "tokenizer.json");
    expect(strangePattern(parts(llama3), ["normalizer", "pre_tokenizer"])).toBeUndefined();
    expect(strangePattern(parts(strange), ["normalizer", "pre_tokenizer"])).toBe(`(?:${written})`);
    const tokenizer = await load(folderOf(strange));
    for (const { text, special, plain } of texts) {
      expect(tokenizer.encode(text, true)).toEqual(special);
      expect(tokenizer.encode(text, false)).toEqual(plain);
    }
    tokenizer.close?.();
    expect(() => tokenizer.encode("Paul", true)).toThrow(
      "while its model is in use, got one that was closed with it",
    );
    expect(tokenizer.tokenText(tokenizer.before[0] ?? 0)).toBe("<|begin_of_text|>");
  });

  test("of text that it has no token for is the text's fault", async () => {
    const pre_tokenizer = { type: "Split", pattern: { Regex: "x+?" }, behavior: "Isolated" };
    const model = { ...WORDS.model, unk_token: null };
    const tokenizer = await load(folderOf({ ...WORDS, pre_tokenizer, model }));
    expect(() => tokenizer.encode("zebra", true)).toThrow(InputError);
    expect(() => tokenizer.encode("zebra", true)).not.toThrow(TokenizerError);
    tokenizer.close?.();
  });

  test("that does not end is stopped, and the tokenizer is named, not the pairs", async () => {
    const folder = folderOf({
      ...WORDS,
      pre_tokenizer: { type: "Split", pattern: { Regex: "(?:.*)*b" }, behavior: "Isolated" },
    });
    const pairs = join(folder, "pairs.jsonl");
    writeFileSync(
      pairs,
      '{"clean": "The The The The The The The The", "corrupted": "The book", "answers": ["book"]}\n',
    );
    const tokenizer = await load(folder);
    const context = { config: { vocabulary: 3, maxPositions: 99, maxPositionsReason: "" }, tokenizer };
    const error: unknown = await readPairs(pairs, context, { answers: true, wrong: false }).catch(
      (thrown) => thrown,
    );
    expect(error).toBeInstanceOf(TokenizerError);
    expect(String(error)).toBe(
      `InputError: loadModel: expected the patterns of ${join(folder, "tokenizer.json")} to come to an end within 5 s, got none for ` +
        'the text "The The The The The The The The"; it has "(?:.*)*b"',
    );
    // The thread is gone: nobody waits twice.
    const begun = performance.now();
    expect(() => tokenizer.encode("The", true)).toThrow("to come to an end within 5 s");
    expect(performance.now() - begun).toBeLessThan(100);
  }, 60_000);

  test("is refused in a decoder, and so is a replacement by a longer text", async () => {
    const decoder = { type: "Replace", pattern: { String: "a" }, content: "aa" };
    expect(await refusal(folderOf({ ...WORDS, decoder }))).toBe(
      'loadModel: FILE: decoder: expected patterns of published tokenizers, and no replacements by longer texts, got "a"',
    );
  });
});
