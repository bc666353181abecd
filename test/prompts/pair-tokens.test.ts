import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { makePair } from "../../src/prompts/pair.js";
import { answerTokens, type PairContext, promptTokens } from "../../src/prompts/pair-tokens.js";
import { fixtureContext, tokenizerContext } from "./contexts.js";

/** Byte-level BPE of GPT-2's kind that adds "<|endoftext|>" in front. */
const bpe = await fixtureContext("gpt2-bos");
/** SentencePiece-style BPE of Llama 2's kind: adds "<s>", puts a space in front of words, unknown token "<unk>". */
const llama = await fixtureContext("llama2");

/** The pieces' ids in `vocab` of the fixture's tokenizer.json, looked up by hand ("Ġ" is the space). */
const ID = { "<|endoftext|>": 0, P: 48, aul: 526, Ġand: 267, ĠPaul: 567, ĠElla: 543, When: 304, Ġto: 260 };

describe("byte-level BPE", () => {
  it("gets the special tokens of tokenizer.json in prompts and not in answers", () => {
    expect(promptTokens("When Ella and Paul", "clean", bpe)).toEqual([
      ID["<|endoftext|>"],
      ID.When,
      ID.ĠElla,
      ID.Ġand,
      ID.ĠPaul,
    ]);
    expect(answerTokens([" Paul", " Ella"], "answers", bpe)).toEqual([ID.ĠPaul, ID.ĠElla]);
  });

  it("takes special tokens written out as what they are", () => {
    expect(answerTokens(["<|endoftext|>"], "answers", bpe)).toEqual([0]);
    expect(promptTokens("<|endoftext|> to", "clean", bpe)).toEqual([0, 0, ID.Ġto]);
  });

  it("shows the tokens of an answer that has several, and that a leading space is missing", () => {
    expect(() => answerTokens([" Ella", "Paul"], "answers", bpe)).toThrow(
      'answers[1]: expected exactly 1 token, got 2 for "Paul": "P" (48), "aul" (526); " Paul" with a leading space is 1 token',
    );
    expect(() => answerTokens([" Zaphod"], "answers", bpe)).toThrow(
      /got 5 for " Zaphod": " " \(221\), "Z" \(58\), "ap" \(350\), "ho" \(324\), "d" \(68\)$/,
    );
  });

  it("knows every text", () => {
    expect(promptTokens("Zaphod ☃", "clean", bpe).length).toBeGreaterThan(4);
  });

  it("names the differing words of prompts of different lengths", () => {
    const input = { clean: "When Paul", corrupted: "WhenPaul" };
    expect(() => makePair(input, bpe, { answers: false, wrong: false }, "here:3")).toThrow(
      [
        '    0 "<|endoftext|>" (0)  0 "<|endoftext|>" (0)',
        '      1 "When" (304)         1 "When" (304)',
        '    > 2 " Paul" (567)        2 "P" (48)',
        '    >                        3 "aul" (526)',
      ].join("\n"),
    );
  });
});

describe("SentencePiece-style BPE", () => {
  it("says that a leading space is one too many", () => {
    // The tokenizer puts the space of " the" there itself: " the" is a space and "▁the".
    expect(() => answerTokens([" the"], "wrong", llama)).toThrow(
      'wrong[0]: expected exactly 1 token, got 2 for " the": " " (342), " the" (348); "the" without a leading space is 1 token',
    );
    expect(answerTokens(["the"], "wrong", llama)).toEqual([348]);
  });

  it("takes the unknown token written out as what it is", () => {
    expect(answerTokens(["<unk>"], "answers", llama)).toEqual([0]);
    expect(promptTokens("<unk>", "clean", llama)).toEqual([1, 0]);
  });
});

describe("a tokenizer that does not split at spaces", () => {
  it("has the whole text named when no word of it is unknown by itself", async () => {
    const words = await writtenTokenizer({ "[UNK]": 0, a: 1, b: 2 });
    expect(promptTokens("a", "clean", words)).toEqual([1]);
    expect(() => promptTokens("a b", "clean", words)).toThrow(
      'clean: expected text the tokenizer knows, got "a b", which it would read as "[UNK]" (0)',
    );
  });
});

/** A word-level tokenizer without any pre-tokenizer. */
async function writtenTokenizer(vocab: Record<string, number>): Promise<PairContext> {
  const folder = await mkdtemp(join(tmpdir(), "tokenizer-"));
  const model = { type: "WordLevel", vocab, unk_token: "[UNK]" };
  const parts = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null };
  await writeFile(join(folder, "tokenizer.json"), JSON.stringify({ added_tokens: [], ...parts, model }));
  try {
    return await tokenizerContext(folder, Object.keys(vocab).length);
  } finally {
    await rm(folder, { recursive: true });
  }
}
