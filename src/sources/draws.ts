/**
 * @file What a call runs when it is given a source: with a noise source every pair once per draw, otherwise the pairs as they
 * are. What is computed of the draws is averaged over them before any absolute value is taken.
 */

import { InputError } from "../errors.js";
import { checkLimit, LIMITS } from "../limits.js";
import type { Pair } from "../prompts/pair.js";
import type { NoiseSource } from "./noise.js";
import type { ActivationSource, PatchSource } from "./source.js";

export interface DrawnPairs {
  /** [given pairs, draws] row-major. */
  readonly pairs: readonly Pair[];
  readonly draws: number;
  /** Where patched values come from, if not from a pair's source run. */
  readonly values?: ActivationSource;
}

/** @throws InputError for pairs that the noise source cannot noise, or without a corrupted prompt where there is no source */
export function drawPairs(pairs: readonly Pair[], source: PatchSource | undefined): DrawnPairs {
  if (source === undefined) {
    const lone = pairs.find(({ clean, corrupted, noise }) => corrupted === clean && !noise);
    if (!lone) return { pairs, draws: 1 };
    throw new InputError(
      `drawPairs: ${lone.origin}: expected a pair with a corrupted prompt, or a noise source to stand in for it, got neither`,
    );
  }
  if (replacesValues(source)) return { pairs, draws: 1, values: source };
  const { draws } = source;
  checkDrawnPairs(pairs, draws);
  const drawn = pairs.flatMap((pair) =>
    Array.from({ length: draws }, (_, draw) => source.noised(pair, draw)),
  );
  return { pairs: drawn, draws };
}

/** @throws InputError for more pairs × draws than can be held */
export function checkDrawnPairs(pairs: readonly Pair[], draws: number): void {
  checkLimit("drawPairs", "pairs × draws", pairs.length * draws, LIMITS.drawnPairs);
}

/** As much of a source as says how often every pair is run. */
export type DrawsOfSource = Pick<ActivationSource, "valuesAt"> | Pick<NoiseSource, "draws">;

/** How often every pair is run: once, or with a noise source once per draw. */
export function drawsOf(source: DrawsOfSource | undefined): number {
  return source === undefined || "valuesAt" in source ? 1 : source.draws;
}

/** Whether patched values are the source's own, so that they are not those of a source run. */
export function replacesValues(source: PatchSource | undefined): source is ActivationSource {
  return source !== undefined && "valuesAt" in source;
}

/**
 * Means over draws.
 * @param values [pairs, draws, width] row-major
 * @returns [pairs, width]
 */
export function meanOverDraws(values: ArrayLike<number>, draws: number, width = 1): Float64Array {
  const means = new Float64Array(values.length / draws);
  for (let at = 0; at < values.length; at++) {
    const pair = Math.floor(at / (draws * width));
    means[pair * width + (at % width)] += values[at] / draws;
  }
  return means;
}
