/**
 * @file What is kept of samples: sums per node, so that their memory does not grow with the number of samples; and what those
 * say of a node. Sums of several *series*, numbers that were observed on the same subsets.
 */

/** What samples say of one node in one series. */
export interface NodeStatistics {
  /** D: mean over samples with the node − mean over samples without it; an estimate of its average marginal effect. */
  readonly difference: number;
  /** SE of D. */
  readonly standardError: number;
  /** NaN where SE is 0. */
  readonly degreesOfFreedom: number;
  /** Skewness of D: its third central moment in units of SE³. NaN where SE is 0. */
  readonly skewness: number;
  /** Observations with the node, and without it. */
  readonly inside: number;
  readonly outside: number;
}

/** A series: statistics of every node. */
export interface NodeSeries {
  /** How many nodes. */
  readonly size: number;
  /** @param row place of the node in U; statistics are NaN where a group is too small for a variance */
  statistics(row: number): NodeStatistics;
}

/** How observations become sums; which depends on what is independent of what. */
export interface SampleSums {
  /** How many observations. */
  readonly count: number;
  /**
   * One observation of every series.
   * @param rows the subset: places in U
   * @param pair the prompt pair it was observed on; needed where effects are oriented
   */
  add(rows: Uint32Array, values: readonly number[], pair?: number): void;
  statistics(series: number, row: number): NodeStatistics;
  /** Variance of all observations of a series. */
  variance(series: number): number;
}

/** Sums of one series over a group of observations. */
export interface GroupSums {
  readonly count: number;
  readonly sum: number;
  readonly squares: number;
  readonly cubes: number;
}

/** Variance of a group, from its sums; NaN for fewer than two. */
export function varianceOf({ count, sum, squares }: Omit<GroupSums, "cubes">): number {
  if (count < 2) return Number.NaN;
  // Rounding can leave a little less than 0 of numbers that are all the same.
  return Math.max(0, squares - (sum * sum) / count) / (count - 1);
}

/** Third central moment of a group: the mean of (y − ȳ)³. */
export function thirdMomentOf({ count, sum, squares, cubes }: GroupSums): number {
  const mean = sum / count;
  return cubes / count - (3 * mean * squares) / count + 2 * mean ** 3;
}
