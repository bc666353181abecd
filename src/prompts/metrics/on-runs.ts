/**
 * @file A metric made ready for a batch, with its value on the base and on the source run: what an estimate and an
 * exact patch both start from.
 */

import type * as tf from "@tensorflow/tfjs-core";
import { InputError, RunError } from "../../errors.js";
import type { Model } from "../../model/model.js";
import type { Direction } from "../direction.js";
import type { Pair } from "../pair.js";
import type { Metric, PreparedMetric } from "./metric.js";

/** Owns tensors through `metric`: dispose that when the batch is done. */
export interface MetricOnRuns {
  readonly metric: PreparedMetric;
  /** Metric of each pair's base run. */
  readonly base: Float32Array;
  /** Metric of each pair's source run. */
  readonly source: Float32Array;
}

/**
 * @param finals `final` of the base and of the source run, [B, D] each
 * @throws RunError if the metric of a run is not a finite number, naming the pair
 */
export async function prepareOnRuns(
  model: Model,
  metric: Metric,
  pairs: readonly Pair[],
  direction: Direction,
  finals: { readonly base: tf.Tensor2D; readonly source: tf.Tensor2D },
): Promise<MetricOnRuns> {
  const prepared = metric.prepare({
    pairs,
    unembedding: await model.weights.unembedding(),
    cleanFinal: direction === "noising" ? finals.base : finals.source,
  });
  const rows = pairs.map((_, b) => b);
  const base = prepared.read(finals.base, rows);
  const source = prepared.read(finals.source, rows);
  for (const b of rows) {
    if (Number.isFinite(base[b]) && Number.isFinite(source[b])) continue;
    prepared.dispose();
    throw new RunError(
      `prepareOnRuns: expected a finite ${metric.name} on both runs of ${pairs[b].origin}, got ${base[b]} (base) and ${source[b]} (source)`,
    );
  }
  return { metric: prepared, base, source };
}

/**
 * `prepareOnRuns` of several metrics.
 * @throws as it does
 */
export async function prepareAllOnRuns(
  model: Model,
  metrics: readonly Metric[],
  pairs: readonly Pair[],
  direction: Direction,
  finals: { readonly base: tf.Tensor2D; readonly source: tf.Tensor2D },
): Promise<MetricOnRuns[]> {
  const prepared: MetricOnRuns[] = [];
  try {
    for (const metric of metrics) prepared.push(await prepareOnRuns(model, metric, pairs, direction, finals));
    return prepared;
  } catch (error) {
    for (const { metric } of prepared) metric.dispose();
    throw error;
  }
}

/**
 * Checks that every pair gives the tokens the metric reads. `readPairs` has checked this already for the metric it was
 * told of; pairs can be reused with another.
 * @throws InputError naming the pair, or for no pairs at all
 */
export function checkPairsForMetric(pairs: readonly Pair[], { name, needs }: Metric): void {
  if (pairs.length === 0) throw new InputError("checkPairsForMetric: expected at least one pair, got none");
  for (const pair of pairs) {
    for (const field of ["answers", "wrong"] as const) {
      if (needs[field] && pair[field].length === 0) {
        throw new InputError(
          `checkPairsForMetric: ${pair.origin}: metric ${name} expected "${field}" tokens, got none`,
        );
      }
    }
  }
}
