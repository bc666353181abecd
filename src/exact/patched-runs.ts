/** @file Metrics of many patched runs: what every way of patching exactly gives back, and the table it is gathered in. */

import type { Metric } from "../prompts/metrics/metric.js";
import type { UnpatchedValues } from "../prompts/metrics/on-runs.js";

/** One metric of all runs. */
export interface MetricOfRuns {
  readonly name: string;
  /** [pairs, patches] row-major, the metric itself, not its change. NaN where a pair lacks what is patched: not computed. */
  readonly patched: Float32Array;
  /** [pairs], of the unpatched runs. */
  readonly base: Float64Array;
  readonly source: Float64Array;
}

export interface PatchedRuns {
  /** In the order in which they were asked for. */
  readonly metrics: readonly MetricOfRuns[];
  /** What it cost, in forward passes of one prompt. */
  readonly forwardEquivalents: number;
}

/** Filled run by run. */
export class MetricTable {
  readonly #metrics: readonly MetricOfRuns[];
  readonly #patches: number;
  #forwardEquivalents = 0;

  constructor(metrics: readonly Metric[], pairs: number, patches: number) {
    this.#patches = patches;
    this.#metrics = metrics.map(({ name }) => ({
      name,
      patched: new Float32Array(pairs * patches).fill(Number.NaN),
      base: new Float64Array(pairs),
      source: new Float64Array(pairs),
    }));
  }

  /**
   * The unpatched runs of a batch, whose two forward passes per pair are counted.
   * @param indices where the batch's pairs stand among all
   * @param share of a forward pass that each of them was
   */
  setUnpatched(indices: readonly number[], metrics: readonly UnpatchedValues[], share = 1): void {
    this.#metrics.forEach(({ base, source }, m) => {
      indices.forEach((pair, b) => {
        base[pair] = metrics[m].base[b];
        source[pair] = metrics[m].source[b];
      });
    });
    this.#forwardEquivalents += 2 * indices.length * share;
  }

  /** A patch that changes nothing: no run needed. */
  setUnchanged(pair: number, patch: number): void {
    for (const { patched, base } of this.#metrics) patched[pair * this.#patches + patch] = base[pair];
  }

  /** @param values one per metric, finite */
  set(pair: number, patch: number, values: readonly number[]): void {
    this.#metrics.forEach(({ patched }, m) => {
      patched[pair * this.#patches + patch] = values[m];
    });
  }

  /** @param forwardEquivalents of patched runs */
  addCost(forwardEquivalents: number): void {
    this.#forwardEquivalents += forwardEquivalents;
  }

  runs(): PatchedRuns {
    return { metrics: this.#metrics, forwardEquivalents: this.#forwardEquivalents };
  }
}
