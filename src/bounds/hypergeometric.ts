/**
 * @file How many nodes with a property are in a sample drawn without replacement: X is hypergeometric. And what that says of
 * how many there are.
 *
 *   P(X = x) = C(K, x)·C(N − K, n − x) / C(N, n)      N nodes, K of them with the property, n drawn
 */

import { checkLevel } from "./clopper-pearson.js";

/** From here on four terms of Stirling's series are as exact as a double. */
const STIRLING_FROM = 32;
const SMALL_LOG_FACTORIALS = [0];
for (let n = 1; n < STIRLING_FROM; n++) SMALL_LOG_FACTORIALS[n] = SMALL_LOG_FACTORIALS[n - 1] + Math.log(n);

/** The chances of a million nodes are right to 5e-8; a hypothesis that would be rejected by less than this is kept. */
export const ROUNDING = 1e-6;

/** log(n!) */
function logFactorial(n: number): number {
  if (n < STIRLING_FROM) return SMALL_LOG_FACTORIALS[n];
  const inverse = 1 / n;
  const square = inverse * inverse;
  const series = inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680)));
  return (n + 0.5) * Math.log(n) - n + 0.5 * Math.log(2 * Math.PI) + series;
}

function logChoose(n: number, k: number): number {
  return logFactorial(n) - logFactorial(k) - logFactorial(n - k);
}

/** N nodes, K of them with the property, n drawn. */
export interface Draw {
  readonly size: number;
  readonly marked: number;
  readonly sampled: number;
}

/**
 * P(X = x) for x = 0 … most.
 */
export function hypergeometricChances({ size, marked, sampled }: Draw, most: number): Float64Array {
  const chances = new Float64Array(most + 1);
  const first = Math.max(0, sampled + marked - size);
  const last = Math.min(sampled, marked, most);
  if (first > last) return chances;
  // From the likeliest one on, each by its ratio to its neighbour: logarithms of factorials are taken once.
  const mode = Math.floor(((sampled + 1) * (marked + 1)) / (size + 2));
  const start = Math.min(last, Math.max(first, mode));
  chances[start] = Math.exp(
    logChoose(marked, start) + logChoose(size - marked, sampled - start) - logChoose(size, sampled),
  );
  for (let x = start; x > first; x--) {
    chances[x - 1] =
      (chances[x] * x * (size - marked - sampled + x)) / ((marked - x + 1) * (sampled - x + 1));
  }
  for (let x = start; x < last; x++) {
    chances[x + 1] =
      (chances[x] * (marked - x) * (sampled - x)) / ((x + 1) * (size - marked - sampled + x + 1));
  }
  return chances;
}

/** A sample of `sampled` of `size` nodes, drawn uniformly without replacement, in which `found` have the property. */
export interface SampleCount {
  readonly size: number;
  readonly sampled: number;
  readonly found: number;
}

/**
 * Exact upper bound on how many of all nodes have the property: the largest K under which so few would not be found more
 * seldom than in a share 1 − level of all samples. Below Clopper and Pearson's share of them, but for a fraction of a node where
 * nearly all that were drawn have it; and equal to `found` when all were drawn.
 *
 * @param level confidence, such as 0.99
 * @throws InputError for a level that is not between 0 and 1
 */
export function hypergeometricUpper({ size, sampled, found }: SampleCount, level: number): number {
  checkLevel("hypergeometricUpper", level);
  const risk = (1 - level) * (1 - ROUNDING);
  return largestWith(found, size - sampled + found, (marked) => {
    const chances = hypergeometricChances({ size, marked, sampled }, found);
    return chances.reduce((sum, chance) => sum + chance, 0) > risk;
  });
}

/** The largest number from `low` to `high` that holds, where all below one that holds do, and `low` does. */
export function largestWith(low: number, high: number, holds: (value: number) => boolean): number {
  let [yes, no] = [low, high + 1];
  while (no - yes > 1) {
    const middle = Math.floor((yes + no) / 2);
    if (holds(middle)) yes = middle;
    else no = middle;
  }
  return yes;
}
