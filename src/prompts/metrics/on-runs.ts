/**
 * @file An output metric made ready for a batch, with its value on the base and on the source run: what an estimate and
 * an exact patch both start from. Internal metrics need nothing but the runs.
 */

import type * as tf from "@tensorflow/tfjs-core";
import { InputError, RunError } from "../../errors.js";
import type { Model } from "../../model/model.js";
import type { Direction } from "../direction.js";
import type { Pair } from "../pair.js";
import { checkPositions } from "./internal.js";
import type { InternalReader } from "./internal-reader.js";
import {
  type InternalMetric,
  isInternal,
  type Metric,
  type OutputMetric,
  type PreparedMetric,
} from "./metric.js";

/** A metric of the unpatched runs of a batch. */
export interface UnpatchedValues {
  /** Metric of each pair's base run. */
  readonly base: Float32Array;
  /** Metric of each pair's source run. */
  readonly source: Float32Array;
}

/** Owns tensors through `metric`: dispose that when the batch is done. */
export interface MetricOnRuns extends UnpatchedValues {
  readonly metric: PreparedMetric;
}

/**
 * @param finals `final` of the base and of the source run, [B, D] each
 * @throws RunError if the metric of a run is not a finite number, naming the pair
 */
export async function prepareOnRuns(
  model: Model,
  metric: OutputMetric,
  pairs: readonly Pair[],
  direction: Direction,
  finals: { readonly base: tf.Tensor2D; readonly source: tf.Tensor2D },
): Promise<MetricOnRuns> {
  const prepared = await metric.prepare({
    pairs,
    weights: model.weights,
    cleanFinal: direction === "noising" ? finals.base : finals.source,
  });
  try {
    const rows = pairs.map((_, b) => b);
    const values = { base: prepared.read(finals.base, rows), source: prepared.read(finals.source, rows) };
    checkFinite(metric, pairs, values);
    return { metric: prepared, ...values };
  } catch (error) {
    prepared.dispose();
    throw error;
  }
}

function checkFinite({ name }: Metric, pairs: readonly Pair[], { base, source }: UnpatchedValues): void {
  pairs.forEach(({ origin }, b) => {
    if (Number.isFinite(base[b]) && Number.isFinite(source[b])) return;
    throw new RunError(
      `prepareOnRuns: expected a finite ${name} on both runs of ${origin}, got ${base[b]} (base) and ${source[b]} (source)`,
    );
  });
}

/**
 * What `prepareOnRuns` says of an internal metric.
 * @param readers those that saw the base and the source run
 * @throws RunError as it does
 */
export function internalOnRuns(
  metric: InternalMetric,
  pairs: readonly Pair[],
  readers: { readonly base: InternalReader; readonly source: InternalReader },
): UnpatchedValues {
  const values = { base: readers.base.of(metric), source: readers.source.of(metric) };
  checkFinite(metric, pairs, values);
  return values;
}

/**
 * `prepareOnRuns` of several metrics.
 * @throws as it does
 */
export async function prepareAllOnRuns(
  model: Model,
  metrics: readonly OutputMetric[],
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
 * Checks that every pair gives the tokens the metric reads, and has the positions that an internal one does. `readPairs`
 * has checked the tokens already for the metric it was told of; pairs can be reused with another.
 * @throws InputError naming the pair, or for no pairs at all
 */
export function checkPairsForMetric(pairs: readonly Pair[], metric: Metric): void {
  const { name, needs } = metric;
  if (pairs.length === 0) throw new InputError("checkPairsForMetric: expected at least one pair, got none");
  for (const pair of pairs) {
    for (const field of ["answers", "wrong"] as const) {
      if (needs[field] && pair[field].length === 0) {
        throw new InputError(
          `checkPairsForMetric: ${pair.origin}: metric ${name} expected "${field}" tokens, got none`,
        );
      }
    }
    if (isInternal(metric)) checkPositions(metric, pair);
  }
}
