/** @file Prompt pairs of any size for timing: token ids without meaning, every eighth of them corrupted. */

import type { Pair } from "../src/prompts/pair.js";

/** `count` pairs of `tokens` token ids each; every one has an answer and a wrong answer of its own. */
export function madeUpPairs(count: number, tokens: number, vocabulary: number): Pair[] {
  return Array.from({ length: count }, (_, b) => {
    const clean = Array.from({ length: tokens }, (_unused, t) => (b * 7919 + t * 104_729) % vocabulary);
    const corrupted = clean.map((token, t) => (t % 8 === 3 ? (token + 1) % vocabulary : token));
    return {
      clean,
      corrupted,
      answers: [b],
      wrong: [b + count],
      roles: new Map(),
      metricPosition: tokens - 1,
      origin: `pair ${b}`,
    };
  });
}
