/** @file Internal metrics of one run, read as it goes by. */

import type * as tf from "@tensorflow/tfjs-core";
import type { HookPoint } from "../../model/sites.js";
import type { Pair } from "../pair.js";
import { readInternal } from "./internal.js";
import { type InternalMetric, isInternal, type Metric } from "./metric.js";

/** Holds numbers only: nothing to dispose. */
export class InternalReader {
  readonly #metrics: readonly InternalMetric[];
  readonly #pairs: readonly Pair[];
  readonly #values = new Map<InternalMetric, Float32Array>();

  /** @param pairs the pair of each row of the run */
  constructor(metrics: readonly InternalMetric[], pairs: readonly Pair[]) {
    this.#metrics = metrics;
    this.#pairs = pairs;
  }

  /** To be called by the run's edit with what the run goes on with at every hook point. */
  see(point: HookPoint, layer: number, value: tf.Tensor): void {
    for (const metric of this.#metrics) {
      const { reads } = metric;
      if (reads.point !== point || reads.layer !== layer) continue;
      this.#values.set(metric, readInternal(metric, value, this.#pairs));
    }
  }

  /** Whether the run has come by the metric's hook point. */
  has(metric: InternalMetric): boolean {
    return this.#values.has(metric);
  }

  /** The metric of each row; NaN where the run covers only positions behind it. */
  of(metric: InternalMetric): Float32Array {
    const values = this.#values.get(metric);
    if (!values) throw new Error(`of: expected a run that comes by ${metric.name}, got one that does not`);
    return values;
  }
}

/** How the unpatched runs of a batch are read. */
export interface UnpatchedReading {
  readonly readers: { readonly base: InternalReader; readonly source: InternalReader };
  /** How many layers they go through. */
  readonly layers: number;
}

/**
 * What reads metrics off the base and the source run of pairs.
 * @param layers of the model
 */
export function readingOf(
  metrics: readonly Metric[],
  pairs: readonly Pair[],
  layers: number,
): UnpatchedReading {
  const reader = () => new InternalReader(metrics.filter(isInternal), pairs);
  return { readers: { base: reader(), source: reader() }, layers: layersRead(metrics, layers) };
}

/** How many layers a run must go through for these metrics to be read; all of them for the logits. */
export function layersRead(metrics: readonly Metric[], layers: number): number {
  return Math.max(...metrics.map((metric) => (isInternal(metric) ? metric.reads.layer + 1 : layers)));
}
