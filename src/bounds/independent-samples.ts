/**
 * @file Samples that are independent of each other. Of a node, count n, Σy, Σy² and Σy³ over the samples it is in; over those
 * it is not in they are the totals minus that. A sample costs the size of its subset.
 *
 *   D = ȳ_in − ȳ_out,   SE² = v_in/n_in + v_out/n_out   (Welch; groups differ in variance where the node interacts)
 *   degrees of freedom = SE⁴ / ((v_in/n_in)²/(n_in − 1) + (v_out/n_out)²/(n_out − 1))
 *   skewness of D = (μ3_in/n_in² − μ3_out/n_out²) / SE³
 *
 * Oriented, a node's y are those of the pair times its sign there: odd sums change sign with it. What all samples sum up to then
 * differs from node to node, and is put together from the sums of each pair.
 *
 * Layout [nodes, 1 + 3·series]: n, then the three sums of each series. All of a node lies together because a sparse subset
 * touches another line of memory with every number that does not.
 */

import type { Orientation } from "./orientation.js";
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
  readonly #orientation: Orientation | undefined;
  /** Oriented only: over the samples of each pair. */
  readonly #totalOfPair: readonly Float64Array[];

  constructor(nodes: number, series: number, orientation?: Orientation) {
    this.#width = 1 + 3 * series;
    this.#inside = new Float64Array(nodes * this.#width);
    this.#total = new Float64Array(this.#width);
    this.#orientation = orientation;
    this.#totalOfPair = orientation?.map(() => new Float64Array(this.#width)) ?? [];
  }

  get count(): number {
    return this.#total[0];
  }

  add(rows: Uint32Array, values: readonly number[], pair = 0): void {
    const width = this.#width;
    const addends = addendsOf(values);
    const turned = addendsOf(values.map((value) => -value));
    addTo(this.#total, addends);
    if (this.#orientation) addTo(this.#totalOfPair[pair], addends);
    const signs = this.#orientation?.[pair];
    const inside = this.#inside;
    for (const row of rows) {
      const added = signs && signs[row] < 0 ? turned : addends;
      const at = row * width;
      for (let c = 0; c < width; c++) inside[at + c] += added[c];
    }
  }

  statistics(series: number, row: number): NodeStatistics {
    const all = this.#all(series, row);
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

  /** Sums over all samples, as the node counts them. */
  #all(series: number, row: number): GroupSums {
    const total = sumsAt(this.#total, 0, series);
    if (!this.#orientation) return total;
    let [sum, cubes] = [0, 0];
    this.#orientation.forEach((signs, pair) => {
      const ofPair = sumsAt(this.#totalOfPair[pair], 0, series);
      sum += signs[row] * ofPair.sum;
      cubes += signs[row] * ofPair.cubes;
    });
    return { ...total, sum, cubes };
  }

  variance(series: number): number {
    return varianceOf(sumsAt(this.#total, 0, series));
  }
}

/** 1, then y, y² and y³ of every series. */
function addendsOf(values: readonly number[]): Float64Array {
  return Float64Array.from([1, ...values.flatMap((value) => [value, value ** 2, value ** 3])]);
}

function addTo(sums: Float64Array, addends: Float64Array): void {
  for (let c = 0; c < sums.length; c++) sums[c] += addends[c];
}

function sumsAt(sums: Float64Array, at: number, series: number): GroupSums {
  const column = at + 1 + 3 * series;
  return { count: sums[at], sum: sums[column], squares: sums[column + 1], cubes: sums[column + 2] };
}
