/**
 * @file The cost of recall: what a method has spent when all of the true top k are verified, for every k, and one number for
 * it. Source: Kramár et al. 2024.
 */

import type { Cost, VerifiedNode } from "./baselines/cost-counter.js";

/**
 * What had been spent when the last of the true first k was verified, for k = 1 … `most`.
 * @param truth places, best first
 * @param verified in the order in which they were
 */
export function costOfRecall(
  truth: ArrayLike<number>,
  verified: readonly VerifiedNode[],
  most: number,
): Cost[] {
  const at = new Map(verified.map(({ place }, index) => [place, index]));
  let last = -1;
  return Array.from({ length: most }, (_, k) => {
    const index = at.get(truth[k]);
    if (index === undefined) throw new Error(`costOfRecall: expected ${truth[k]} to be verified, it is not`);
    last = Math.max(last, index);
    return verified[last];
  });
}

/** exp(Σ log(x_k)/k ÷ Σ 1/k), k = 1 …: the first ones count most. */
export function inverseRankMean(values: ArrayLike<number>): number {
  let [sum, weights] = [0, 0];
  for (let at = 0; at < values.length; at++) {
    sum += Math.log(values[at]) / (at + 1);
    weights += 1 / (at + 1);
  }
  return Math.exp(sum / weights);
}

export function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}
