/**
 * @file Subset sampling as it goes: effects of samples in, statistics of nodes out.
 *
 *   Y_r = M(base run of prompt pair x_r with S_r patched) − M(base run of x_r)
 *   Y'_r = Y_r − Σ_{n ∈ S_r} Î(n)      (the control variate: what the estimates got wrong)
 *
 * D(n) of Y and D'(n) + Î(n), with D' of Y', both estimate the average marginal effect of n without bias, whatever the numbers
 * Î are, so long as they were fixed before sampling. They may be those of the sample's own prompt pair; then the mean over
 * pairs is added back, and for that to be the same mean as that of the samples, look when every pair has as many. The second has 1 − R² of the variance, R² = 1 − var(Y')/var(Y).
 *
 * Of the samples only sums per node are kept. Subsets are made from the design, so a record of the R effects is a record of
 * everything: adding them again, in their order, gives the same statistics to the bit. Centring makes the order matter, and it
 * is why sums of shards are not merged: shards keep their effects, and one process adds those up (Kramár et al. 2024, AtP*,
 * give the estimator).
 */

import { InputError, RunError } from "../errors.js";
import { PairCentres } from "./centre.js";
import { checkDesign, pairOfSample, type SubsetDesign, subsetRows } from "./design.js";
import { IndependentSamples } from "./independent-samples.js";
import { MatchedSamples } from "./matched-samples.js";
import { orientationOf } from "./orientation.js";
import type { NodeSeries, SampleSums } from "./sample-sums.js";

export interface ControlledSeries extends NodeSeries {
  /** Share of the variance of the effects that the estimates explain; less than 0 where they do harm. NaN without variance. */
  readonly rSquared: number;
}

export class SubsetMoments {
  readonly design: SubsetDesign;
  readonly #pairs: number;
  /** By pair, or one list for all pairs; and their mean. */
  readonly #estimates: readonly ArrayLike<number>[] | undefined;
  readonly #mean: Float64Array;
  readonly #centres: readonly PairCentres[];
  readonly #sums: SampleSums;
  #samples = 0;
  /** The first of two complementary samples. */
  #waiting: { readonly rows: Uint32Array; readonly values: readonly number[] } | undefined;

  /**
   * @param pairs how many prompt pairs there are
   * @param estimates Î by place in `design.nodes`: a list for each prompt pair, or one for all of them; left out, there is no
   *   control variate
   * @param oriented whether effects count with the sign of the pair's estimate (orientation.ts); default: as they are
   * @throws InputError as `checkDesign` does; for estimates that are not one finite number per node; for orientation without
   *   estimates of each pair, or of complementary samples
   */
  constructor(
    design: SubsetDesign,
    pairs: number,
    estimates?: readonly ArrayLike<number>[],
    { oriented = false }: { readonly oriented?: boolean } = {},
  ) {
    checkDesign(design);
    if (oriented && (estimates?.length !== pairs || design.complementary)) {
      throw new InputError(
        `SubsetMoments: expected estimates of all ${pairs} prompt pairs and independent samples for an orientation, got ${estimates?.length ?? 0} lists and ${design.complementary ? "complementary" : "independent"} samples`,
      );
    }
    const nodes = design.nodes.length;
    if (estimates) checkEstimates(design, pairs, estimates);
    const series = estimates ? 2 : 1;
    this.design = design;
    this.#pairs = pairs;
    this.#estimates = estimates;
    this.#mean = meanOfLists(estimates ?? [], nodes, oriented ? Math.abs : (estimate) => estimate);
    const orientation = oriented && estimates ? orientationOf(estimates) : undefined;
    this.#centres = Array.from({ length: series }, () => new PairCentres(pairs));
    this.#sums = design.complementary
      ? new MatchedSamples(nodes, series)
      : new IndependentSamples(nodes, series, orientation);
  }

  /** How many samples were added. */
  get samples(): number {
    return this.#samples;
  }

  /**
   * How many observations the statistics are made of: all samples but the first of every prompt pair; of complementary ones,
   * pairs of samples.
   */
  get observations(): number {
    return this.#sums.count;
  }

  /**
   * Adds the next sample: effects are given in the order of the samples' numbers, from 0.
   * @throws RunError for an effect that is not finite
   */
  add(effect: number): void {
    const sample = this.#samples;
    if (!Number.isFinite(effect)) {
      throw new RunError(`SubsetMoments: expected a finite effect of sample ${sample}, got ${effect}`);
    }
    const rows = subsetRows(this.design, sample);
    const pair = pairOfSample(this.design, sample, this.#pairs);
    const estimates = this.#estimates?.[this.#estimates.length === 1 ? 0 : pair];
    const values = estimates ? [effect, effect - sumAt(estimates, rows)] : [effect];
    this.#samples++;
    if (this.design.complementary) this.#addComplementary(rows, values);
    else this.#addCentred(rows, values, pair);
  }

  #addCentred(rows: Uint32Array, values: readonly number[], pair: number): void {
    const centred: number[] = [];
    values.forEach((value, s) => {
      const deviation = this.#centres[s].centred(pair, value);
      if (deviation !== undefined) centred.push(deviation);
    });
    if (centred.length > 0) this.#sums.add(rows, centred, pair);
  }

  #addComplementary(rows: Uint32Array, values: readonly number[]): void {
    const first = this.#waiting;
    this.#waiting = first ? undefined : { rows, values };
    if (!first) return;
    this.#sums.add(
      first.rows,
      first.values.map((value, s) => value - values[s]),
    );
  }

  /** Statistics of Y. */
  get plain(): NodeSeries {
    return { size: this.design.nodes.length, statistics: (row) => this.#sums.statistics(0, row) };
  }

  /** Statistics of Y', estimates added back; undefined without estimates. */
  get controlled(): ControlledSeries | undefined {
    if (!this.#estimates) return undefined;
    const mean = this.#mean;
    const variance = this.#sums.variance(0);
    return {
      size: mean.length,
      rSquared: variance === 0 ? Number.NaN : 1 - this.#sums.variance(1) / variance,
      statistics: (row) => {
        const rest = this.#sums.statistics(1, row);
        return { ...rest, difference: rest.difference + mean[row] };
      },
    };
  }
}

function checkEstimates(
  { nodes }: SubsetDesign,
  pairs: number,
  estimates: readonly ArrayLike<number>[],
): void {
  if (estimates.length !== 1 && estimates.length !== pairs) {
    throw new InputError(
      `SubsetMoments: expected estimates of all ${pairs} prompt pairs, or one list for them, got ${estimates.length} lists`,
    );
  }
  for (const list of estimates) {
    if (list.length !== nodes.length) {
      throw new InputError(
        `SubsetMoments: expected ${nodes.length} estimates, one per node, got ${list.length}`,
      );
    }
    for (let row = 0; row < list.length; row++) {
      if (Number.isFinite(list[row])) continue;
      throw new InputError(
        `SubsetMoments: expected a finite estimate of every node, got ${list[row]} for node ${nodes[row]}`,
      );
    }
  }
}

/** Zeros for no lists. */
function meanOfLists(
  lists: readonly ArrayLike<number>[],
  length: number,
  of: (estimate: number) => number,
): Float64Array {
  const mean = new Float64Array(length);
  for (const list of lists) {
    for (let row = 0; row < length; row++) mean[row] += of(list[row]) / lists.length;
  }
  return mean;
}

function sumAt(values: ArrayLike<number>, rows: Uint32Array): number {
  let sum = 0;
  for (const row of rows) sum += values[row];
  return sum;
}
