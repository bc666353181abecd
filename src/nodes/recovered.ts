/**
 * @file How far a node brings the metric from the base to the source run: its mean effect ÷ the gap between the two runs, both
 * over the same pairs. Pairs that lack the node say nothing of its effect, so they may say nothing of the gap either.
 */

import type { Pair } from "../prompts/pair.js";
import type { NodePosition } from "./node-id.js";
import { spanInPair } from "./positions.js";

/** Metric of each pair's unpatched runs, in the order of the pairs. */
export interface UnpatchedMetrics {
  readonly base: ArrayLike<number>;
  readonly source: ArrayLike<number>;
}

/**
 * Mean source metric − mean base metric, in the metric's unit.
 * @param has which pairs are meant, by their place
 * @returns NaN for no pairs
 */
export function gapOfPairs({ base, source }: UnpatchedMetrics, has: (pair: number) => boolean): number {
  let [ofSource, ofBase, pairs] = [0, 0, 0];
  for (let pair = 0; pair < base.length; pair++) {
    if (!has(pair)) continue;
    ofSource += source[pair];
    ofBase += base[pair];
    pairs++;
  }
  return ofSource / pairs - ofBase / pairs;
}

/** The same over the pairs that have a position or role. */
export function gapAt(
  unpatched: UnpatchedMetrics,
  pairs: readonly Pick<Pair, "clean" | "roles">[],
  label: NodePosition,
): number {
  return gapOfPairs(unpatched, (pair) => spanInPair(label, pairs[pair]) !== undefined);
}

/**
 * A row's share of the gap: 1 is all the way to the source run, negative away from it.
 * @param mean effect over the pairs that the gap is of
 * @returns no field where there is no gap
 */
export function recoveredOf(mean: number, gap: number): { readonly recovered?: number } {
  return gap === 0 ? {} : { recovered: mean / gap };
}
