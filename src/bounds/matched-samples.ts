/**
 * @file Complementary samples: S and U∖S on the same prompt pair. The two are dependent, the pairs of them are not, so an
 * observation is δ = Y(S) − Y(U∖S), and each tells of every node:
 *
 *   d(n) = δ if n ∈ S, −δ otherwise;   D = mean of d,   SE² = variance of d / observations,   observations − 1 degrees of freedom
 *
 * Σd² = Σδ² whatever the node, and Σd = 2·(Σδ over n ∈ S) − Σδ, Σd³ likewise: 16 bytes a node. E d(n) is the average marginal effect at
 * p = 1/2, as n is in either S or its complement, and the others are in the same set with probability 1/2.
 * Nothing needs centring: what prompt pairs differ in cancels in δ. That they are taken in turn, and not at random, makes the
 * true variance of D smaller than this one where they differ in the effect of n.
 */

import { type NodeStatistics, type SampleSums, thirdMomentOf, varianceOf } from "./sample-sums.js";

interface SeriesSums {
  /** Σδ and Σδ³ over the observations with the node in S. */
  readonly inside: Float64Array;
  readonly insideCubes: Float64Array;
  /** Over all. */
  sum: number;
  squares: number;
  cubes: number;
}

export class MatchedSamples implements SampleSums {
  readonly #series: readonly SeriesSums[];
  #count = 0;

  constructor(nodes: number, series: number) {
    this.#series = Array.from({ length: series }, () => ({
      inside: new Float64Array(nodes),
      insideCubes: new Float64Array(nodes),
      sum: 0,
      squares: 0,
      cubes: 0,
    }));
  }

  get count(): number {
    return this.#count;
  }

  /**
   * @param rows S
   * @param values δ of every series
   */
  add(rows: Uint32Array, values: readonly number[]): void {
    this.#count++;
    this.#series.forEach((sums, s) => {
      const value = values[s];
      const cube = value ** 3;
      sums.sum += value;
      sums.squares += value ** 2;
      sums.cubes += cube;
      const { inside, insideCubes } = sums;
      for (const row of rows) {
        inside[row] += value;
        insideCubes[row] += cube;
      }
    });
  }

  statistics(series: number, row: number): NodeStatistics {
    const { inside, insideCubes, sum, squares, cubes } = this.#series[series];
    const count = this.#count;
    const ofNode = { count, sum: 2 * inside[row] - sum, squares, cubes: 2 * insideCubes[row] - cubes };
    const variance = varianceOf(ofNode) / count;
    return {
      difference: ofNode.sum / count,
      standardError: Math.sqrt(variance),
      degreesOfFreedom: count - 1,
      skewness: thirdMomentOf(ofNode) / count ** 2 / variance ** 1.5,
      inside: count,
      outside: count,
    };
  }

  variance(series: number): number {
    return varianceOf({ ...this.#series[series], count: this.#count });
  }
}
