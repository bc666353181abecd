/** @file What pairs are checked against in these tests: the tokenizer of a folder, or no tokenizer at all. */

import { fileURLToPath } from "node:url";
import { loadTokenizer } from "../../src/checkpoint/tokenizer/tokenizer.js";
import type { PairContext } from "../../src/prompts/pair-tokens.js";

const LIMITS = { maxPositions: 128, maxPositionsReason: "n_positions in config.json" };

const DEMO = fileURLToPath(new URL("../../models/demo/", import.meta.url));
const TOKENIZERS = fileURLToPath(new URL("../fixtures/tokenizers/", import.meta.url));

export const DEMO_PAIRS = `${DEMO}pairs/`;

/** Whole-word tokens, 340 of them; "<|endoftext|>" is written out in prompts and also stands for unknown words. */
export async function demoContext(): Promise<PairContext> {
  return tokenizerContext(DEMO, 340);
}

/** A tokenizer of test/fixtures/tokenizers, each of at most 723 tokens. */
export async function fixtureContext(name: string): Promise<PairContext> {
  return tokenizerContext(`${TOKENIZERS}${name}`, 723);
}

export async function tokenizerContext(folder: string, vocabulary: number): Promise<PairContext> {
  const tokenizer = await loadTokenizer(folder, vocabulary);
  if (tokenizer === undefined) throw new Error(`expected a tokenizer.json in ${folder}`);
  return { config: { ...LIMITS, vocabulary }, tokenizer };
}

/** A checkpoint without tokenizer.json: ids below 100, prompts of at most 128 tokens. */
export function idContext(): PairContext {
  return { config: { ...LIMITS, vocabulary: 100 } };
}
