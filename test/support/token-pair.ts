/** @file A pair of token prompts for the tiny models, with one answer and two wrong answers. */

import type { Pair } from "../../src/prompts/pair.js";

export function tokenPair(clean: number[], corrupted: number[], roles: Record<string, number> = {}): Pair {
  return {
    clean,
    corrupted,
    answers: [3],
    wrong: [5, 6],
    roles: new Map(Object.entries(roles)),
    metricPosition: clean.length - 1,
    origin: `pair of ${clean}`,
  };
}
