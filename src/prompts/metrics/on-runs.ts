/**
 * @file An output metric made ready for a batch, with its value on the base and on the source run: what an estimate and
 * an exact patch both start from. Internal metrics need nothing but the runs.
 */

import type * as tf from "@tensorflow/tfjs-core";
import { InputError, RunError } from "../../errors.js";
import type { Model } from "../../model/model.js";
import type { Direction } from "../direction.js";
import { beginsAt, firstOfPair } from "../not-finite.js";
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

/** What metrics of unpatched runs are read with. */
export interface OnRunsInput {
  readonly model: Model;
  readonly pairs: readonly Pair[];
  readonly direction: Direction;
  /** `final` of the base and of the source run, [B, D] each; needed until the prepared metrics are disposed. */
  readonly finals: { readonly base: tf.Tensor2D; readonly source: tf.Tensor2D };
  /** What products with the whole unembedding may take, in bytes. */
  readonly budgetBytes: number;
}

/**
 * An output metric of a batch, made ready and read off its unpatched runs.
 * @throws RunError if the metric of a run is not a finite number, naming the pair, and layer and site where that begins
 */
export async function prepareOnRuns(metric: OutputMetric, input: OnRunsInput): Promise<MetricOnRuns> {
  const { model, pairs, direction, finals, budgetBytes } = input;
  const prepared = await metric.prepare({
    pairs,
    weights: model.weights,
    cleanFinal: direction === "noising" ? finals.base : finals.source,
    budgetBytes,
  });
  try {
    const rows = pairs.map((_, b) => b);
    const values = { base: prepared.read(finals.base, rows), source: prepared.read(finals.source, rows) };
    await checkFinite(metric, values, input);
    return { metric: prepared, ...values };
  } catch (error) {
    prepared.dispose();
    throw error;
  }
}

async function checkFinite(
  metric: Metric,
  { base, source }: UnpatchedValues,
  { model, pairs, direction }: Pick<OnRunsInput, "model" | "pairs" | "direction">,
): Promise<void> {
  const wrong = pairs.findIndex((_, b) => !Number.isFinite(base[b]) || !Number.isFinite(source[b]));
  if (wrong < 0) return;
  const first = await firstOfPair(model, pairs[wrong], direction);
  throw new RunError(
    `prepareOnRuns: expected a finite ${metric.name} on both runs of ${pairs[wrong].origin}, got ${base[wrong]} (base) and ${source[wrong]} (source): ${beginsAt(first, isInternal(metric) ? "projections" : "logits")}`,
  );
}

/**
 * What `prepareOnRuns` says of an internal metric.
 * @param readers those that saw the base and the source run
 * @throws RunError as it does
 */
export async function internalOnRuns(
  metric: InternalMetric,
  input: Pick<OnRunsInput, "model" | "pairs" | "direction">,
  readers: { readonly base: InternalReader; readonly source: InternalReader },
): Promise<UnpatchedValues> {
  const values = { base: readers.base.of(metric), source: readers.source.of(metric) };
  await checkFinite(metric, values, input);
  return values;
}

/**
 * `prepareOnRuns` of several metrics.
 * @throws as it does
 */
export async function prepareAllOnRuns(
  metrics: readonly OutputMetric[],
  input: OnRunsInput,
): Promise<MetricOnRuns[]> {
  const prepared: MetricOnRuns[] = [];
  try {
    for (const metric of metrics) prepared.push(await prepareOnRuns(metric, input));
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
