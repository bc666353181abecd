/**
 * @file Where a backward sweep begins: behind the last layer for a metric of the logits; for an internal one at its hook
 * point, with the metric's own weights as the gradient there. Nothing above can matter to it.
 */

import * as tf from "@tensorflow/tfjs-core";
import type { Model } from "../model/model.js";
import { readoutVjp } from "../model/transformer.js";
import type { Direction } from "../prompts/direction.js";
import { gradientOfInternal } from "../prompts/metrics/internal.js";
import type { UnpatchedReading } from "../prompts/metrics/internal-reader.js";
import {
  type InternalMetric,
  isInternal,
  type Metric,
  type OutputMetric,
} from "../prompts/metrics/metric.js";
import {
  internalOnRuns,
  type OnRunsInput,
  prepareOnRuns,
  type UnpatchedValues,
} from "../prompts/metrics/on-runs.js";
import type { Pair } from "../prompts/pair.js";
import type { RecordedRuns } from "./runs.js";
import type { SweepStart } from "./sweep.js";

/**
 * The metric on both runs, and its gradient.
 * @param reading what has seen the runs
 * @param budgetBytes what products with the whole unembedding may take
 * @returns tensors owned by the caller
 * @throws RunError if the metric of a run is not finite
 */
export async function startOfSweep(
  model: Model,
  metric: Metric,
  pairs: readonly Pair[],
  direction: Direction,
  runs: RecordedRuns,
  { readers }: UnpatchedReading,
  budgetBytes: number,
): Promise<SweepStart & UnpatchedValues> {
  const finals = { base: runs.base.final, source: runs.source.final };
  const input = { model, pairs, direction, finals, budgetBytes };
  if (!isInternal(metric)) return await startAtLogits(metric, input, runs);
  return { ...(await internalOnRuns(metric, input, readers)), ...startInside(model, metric, pairs) };
}

async function startAtLogits(
  metric: OutputMetric,
  input: OnRunsInput,
  runs: RecordedRuns,
): Promise<SweepStart & UnpatchedValues> {
  const { model, pairs } = input;
  const { metric: prepared, base, source } = await prepareOnRuns(metric, input);
  let dFinal: tf.Tensor2D;
  try {
    dFinal = prepared.gradient(runs.base.final);
  } finally {
    prepared.dispose();
  }
  try {
    const positions = pairs.map((pair) => pair.metricPosition);
    const gradient = await readoutVjp(model, runs.base, positions, pairs[0].clean.length, dFinal);
    return { from: model.config.layers - 1, gradient, base, source };
  } finally {
    dFinal.dispose();
  }
}

function startInside({ config }: Model, metric: InternalMetric, pairs: readonly Pair[]): SweepStart {
  const { point, layer } = metric.reads;
  const gradient = gradientOfInternal(metric, config, pairs);
  if (point === "residPost") return { from: layer, gradient: gradient as tf.Tensor4D };
  const nothing: tf.Tensor4D = tf.zeros([1, pairs.length, pairs[0].clean.length, config.width]);
  return { from: layer, gradient: nothing, seed: { point, gradient } };
}

/** How many layers lie wholly below what a metric reads. A layer that is read inside is part of the readout. */
export function layersBelow(metric: Metric, layers: number): number {
  if (!isInternal(metric)) return layers;
  const { point, layer } = metric.reads;
  return point === "residPost" ? layer + 1 : layer;
}
