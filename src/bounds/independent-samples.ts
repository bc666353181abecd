/**
 * @file Samples that are independent of each other. Of a node, count n, Σy, Σy² and Σy³ over the samples it is in; over those
 * it is not in they are the totals minus that. A sample costs the size of its subset.
 *
 *   D = ȳ_in − ȳ_out,   SE² = v_in/n_in + v_out/n_out   (Welch; groups differ in variance where the node interacts)
 *   degrees of freedom = SE⁴ / ((v_in/n_in)²/(n_in − 1) + (v_out/n_out)²/(n_out − 1))
 *   skewness of D = (μ3_in/n_in² − μ3_out/n_out²) / SE³
 *
 * Layout [nodes, 1 + 3·series]: n, then the three sums of each series. All of a node lies together because a sparse subset
 * touches another line of memory with every number that does not.
 */

import {
  type GroupSums,
  type NodeStatistics,
  type SampleSums,
  thirdMomentOf,
  varianceOf,
} from "./sample-sums.js";

export class IndependentSamples implements SampleSums {
  readonly #width: number;
  readonly #inside: Float64Array;
  /** Over all samples, in the same layout. */
  readonly #total: Float64Array;

  constructor(nodes: number, series: number) {
    this.#width = 1 + 3 * series;
    this.#inside = new Float64Array(nodes * this.#width);
    this.#total = new Float64Array(this.#width);
  }

  get count(): number {
    return this.#total[0];
  }

  add(rows: Uint32Array, values: readonly number[]): void {
    const width = this.#width;
    const addends = Float64Array.from([1, ...values.flatMap((value) => [value, value ** 2, value ** 3])]);
    for (let c = 0; c < width; c++) this.#total[c] += addends[c];
    const inside = this.#inside;
    for (const row of rows) {
      const at = row * width;
      for (let c = 0; c < width; c++) inside[at + c] += addends[c];
    }
  }

  statistics(series: number, row: number): NodeStatistics {
    const all = sumsAt(this.#total, 0, series);
    const inside = sumsAt(this.#inside, row * this.#width, series);
    const outside = {
      count: all.count - inside.count,
      sum: all.sum - inside.sum,
      squares: all.squares - inside.squares,
      cubes: all.cubes - inside.cubes,
    };
    const [nIn, nOut] = [inside.count, outside.count];
    const ofMeanIn = varianceOf(inside) / nIn;
    const ofMeanOut = varianceOf(outside) / nOut;
    const variance = ofMeanIn + ofMeanOut;
    const third = thirdMomentOf(inside) / nIn ** 2 - thirdMomentOf(outside) / nOut ** 2;
    return {
      difference: inside.sum / nIn - outside.sum / nOut,
      standardError: Math.sqrt(variance),
      degreesOfFreedom: variance ** 2 / (ofMeanIn ** 2 / (nIn - 1) + ofMeanOut ** 2 / (nOut - 1)),
      skewness: third / variance ** 1.5,
      inside: nIn,
      outside: nOut,
    };
  }

  variance(series: number): number {
    return varianceOf(sumsAt(this.#total, 0, series));
  }
}

function sumsAt(sums: Float64Array, at: number, series: number): GroupSums {
  const column = at + 1 + 3 * series;
  return { count: sums[at], sum: sums[column], squares: sums[column + 1], cubes: sums[column + 2] };
}
