/**
 * @file From statistics to bounds. With probability 1 − α or more
 *
 *   |m(n)| < |D| + t_{1−α, df}·SE      (two one-sided t tests, each at level α: m cannot be too large and too small at once)
 *
 * and the same level holds for the largest |m(n)| over U below the largest of these bounds, without any correction for their
 * number: "some node has |m| ≥ θ" is rejected only where it is rejected for every node, one that truly has it among them
 * (intersection-union test; Kramár et al. 2024).
 *
 * The bound speaks of m(n), the average marginal effect of patching n on top of a random subset of the other unverified nodes,
 * not of the effect of n alone. The two are equal where effects add up, and nearly so where p is small.
 *
 * *Skewed effects.* t is exact for normal numbers. Effects are not: a few samples patch what matters and most do not, and who has
 * not seen enough of those underestimates mean and variance together. Two rules keep the level (bench/coverage.ts measures it):
 * - a node has no bound with fewer than FEWEST_IN_GROUP observations with it, or without it;
 * - on the side to which D is skewed, t becomes t + |γ|·(1 + 2t²)/6, γ the skewness of D: the first term of the Edgeworth
 *   expansion of a studentized mean (Hall 1992, The Bootstrap and Edgeworth Expansion). On the other side t stays.
 * Neither helps against what was never seen. An interaction of two nodes that are rarely in a subset together is one such thing,
 * and so the report tells how often they were: see `together` in bounds.ts.
 */

import { InputError } from "../errors.js";
import { studentQuantile, studentTail } from "./distributions.js";
import type { NodeSeries, NodeStatistics } from "./sample-sums.js";

/** Fewest observations with a node, and without it, before it has a bound. */
export const FEWEST_IN_GROUP = 30;

/** The largest |m| over all nodes is below `bound`. */
export interface MaximumBound {
  /** Infinity where a node has no bound. */
  readonly bound: number;
  /** Place in U of the node that has it. */
  readonly row: number;
}

/** Whether both groups are large enough for a bound. */
export function hasBound({ inside, outside }: NodeStatistics): boolean {
  return inside >= FEWEST_IN_GROUP && outside >= FEWEST_IN_GROUP;
}

/**
 * What |m| of a node is below, at level α; Infinity for one with too few observations.
 * @throws InputError for a level that is not more than 0 and at most 1/2
 */
export function nodeBound(statistics: NodeStatistics, alpha: number): number {
  checkLevel(alpha);
  return boundWith(statistics, (df) => studentQuantile(1 - alpha, df));
}

/** How many nodes have too few observations for a bound. */
export function nodesWithoutBound(series: NodeSeries): number {
  let count = 0;
  for (let row = 0; row < series.size; row++) if (!hasBound(series.statistics(row))) count++;
  return count;
}

/**
 * The largest bound of all nodes, at level α.
 * @throws InputError as `nodeBound` does
 */
export function maximumBound(series: NodeSeries, alpha: number): MaximumBound {
  checkLevel(alpha);
  const exact = (df: number) => studentQuantile(1 - alpha, df);
  const rounded = quantileOfWholeDegrees(1 - alpha);
  let largest: MaximumBound = { bound: -1, row: 0 };
  for (let row = 0; row < series.size; row++) {
    const statistics = series.statistics(row);
    // A quantile takes microseconds and nodes can be millions: that of fewer degrees of freedom is larger, and kept.
    if (boundWith(statistics, rounded) <= largest.bound) continue;
    const bound = boundWith(statistics, exact);
    if (bound > largest.bound) largest = { bound, row };
  }
  return largest;
}

/**
 * p-value of "some node has |m| ≥ θ": the largest of all nodes' p-values. It is below α just where the maximum's bound at level
 * α is below θ. 1 where a node has too few observations.
 * @throws InputError for a threshold that is not a positive number
 */
export function maximumPValue(series: NodeSeries, threshold: number): number {
  if (!(threshold > 0 && Number.isFinite(threshold))) {
    throw new InputError(`maximumPValue: expected a positive threshold, got ${threshold}`);
  }
  let largest = 0;
  let enough = quantileOfWholeDegrees(1);
  for (let row = 0; row < series.size && largest < 1; row++) {
    const statistics = series.statistics(row);
    if (!hasBound(statistics)) return 1;
    // As in maximumBound: with fewer degrees of freedom, such a t would have a p-value that is no larger.
    if (quantileAt(statistics, threshold) >= enough(statistics.degreesOfFreedom)) continue;
    const pValue = nodePValue(statistics, threshold);
    if (pValue <= largest) continue;
    largest = pValue;
    enough = quantileOfWholeDegrees(1 - largest);
  }
  return largest;
}

/** p-value of "|m| ≥ θ" for one node: the larger one of the two one-sided tests. */
export function nodePValue(statistics: NodeStatistics, threshold: number): number {
  if (!hasBound(statistics)) return 1;
  const quantile = quantileAt(statistics, threshold);
  return Number.isFinite(quantile)
    ? studentTail(quantile, statistics.degreesOfFreedom)
    : quantile > 0
      ? 0
      : 1;
}

/** Quantiles by whole degrees of freedom, rounded down: each computed once. */
export function quantileOfWholeDegrees(probability: number): (degreesOfFreedom: number) => number {
  const kept = new Map<number, number>();
  return (degreesOfFreedom) => {
    const whole = Math.floor(degreesOfFreedom);
    const quantile = kept.get(whole) ?? studentQuantile(probability, whole);
    kept.set(whole, quantile);
    return quantile;
  };
}

function boundWith(statistics: NodeStatistics, quantile: (degreesOfFreedom: number) => number): number {
  if (!hasBound(statistics)) return Number.POSITIVE_INFINITY;
  const { difference, standardError, degreesOfFreedom, skewness } = statistics;
  if (standardError === 0) return Math.abs(difference);
  const t = quantile(degreesOfFreedom);
  const above = difference + standardError * widened(t, skewness);
  const below = -difference + standardError * widened(t, -skewness);
  return Math.max(above, below);
}

/** The t with which the bound of a node would be θ: the inverse of `boundWith`. */
function quantileAt({ difference, standardError, skewness }: NodeStatistics, threshold: number): number {
  if (standardError === 0) {
    return threshold > Math.abs(difference) ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
  }
  const above = narrowed((threshold - difference) / standardError, skewness);
  const below = narrowed((threshold + difference) / standardError, -skewness);
  return Math.min(above, below);
}

function widened(t: number, skewness: number): number {
  return t + (Math.max(0, skewness) * (1 + 2 * t * t)) / 6;
}

/** The t that `widened` makes a number of: the larger root of a square equation, in the form that does not cancel. */
function narrowed(wide: number, skewness: number): number {
  const skew = Math.max(0, skewness);
  const rest = wide - skew / 6;
  const underRoot = 1 + (4 * skew * rest) / 3;
  return underRoot < 0 ? Number.NEGATIVE_INFINITY : (2 * rest) / (1 + Math.sqrt(underRoot));
}

function checkLevel(alpha: number): void {
  if (alpha > 0 && alpha <= 0.5) return;
  throw new InputError(`nodeBound: expected a level of more than 0 and at most 0.5, got ${alpha}`);
}
