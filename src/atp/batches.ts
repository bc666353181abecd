/**
 * @file What every gradient method does: bucket the pairs into batches, run base and source, read the metric, and hand
 * the metric's gradient at the last residual stream to a backward sweep.
 */

import type * as tf from "@tensorflow/tfjs-core";
import { DEFAULT_ACTIVATION_BUDGET_BYTES } from "../activation-budget.js";
import { InputError } from "../errors.js";
import type { Model } from "../model/model.js";
import { readoutVjp } from "../model/transformer.js";
import type { NodeSpace } from "../nodes/node-space.js";
import { makeScoreTable, type ScoreTable } from "../nodes/score-table.js";
import { batchPairs, type PairBatch } from "../prompts/buckets.js";
import type { Direction } from "../prompts/direction.js";
import type { Metric } from "../prompts/metrics/metric.js";
import { checkPairsForMetric, prepareOnRuns } from "../prompts/metrics/on-runs.js";
import type { Pair } from "../prompts/pair.js";
import { nextBatch, type RunControl } from "../run-control.js";
import type { ActivationSource } from "../sources/source.js";
import { type RecordedRuns, recordRuns } from "./runs.js";

export interface EstimateOptions extends RunControl {
  readonly metric: Metric;
  readonly direction: Direction;
  /** The nodes to estimate. */
  readonly space: NodeSpace;
  /** Most pairs in one pass. */
  readonly batchSize: number;
  /** What the activations of a batch may take, in bytes; default 1 GiB. Beyond it layers are computed twice. */
  readonly activationBudgetBytes?: number;
  /** Where patched values come from, if not from the pair's source prompt: zeros, means. Stays the caller's. */
  readonly source?: ActivationSource;
}

export interface Estimates {
  /** Estimated effects of all nodes of the space. */
  readonly scores: ScoreTable;
  /** Metric of each pair's base run, in the order of the pairs. */
  readonly baseMetric: Float64Array;
  /** Metric of each pair's source run. */
  readonly sourceMetric: Float64Array;
  /** What it cost, in forward passes of one prompt. */
  readonly forwardEquivalents: number;
}

/** One batch, ready for the backward sweep. */
export interface SweepInput {
  readonly model: Model;
  readonly runs: RecordedRuns;
  /** B pairs of one token length T. */
  readonly pairs: readonly Pair[];
  readonly T: number;
  /** ∂M/∂residPost of the last layer, [1, B, T, D]; the sweep disposes it. */
  readonly gradient: tf.Tensor4D;
  readonly space: NodeSpace;
  /** Where the sweep adds the estimates. */
  readonly scores: ScoreTable;
}

/** Adds a batch's estimates to the scores; resolves to the layer-backwards that it took. */
export type Sweep = (input: SweepInput) => Promise<number>;

/**
 * Runs a sweep over all pairs.
 *
 * @param flags which flags the sweep adds to the scores
 * @throws InputError for a metric without a gradient, or without one on the clean run when noising; for no pairs, or
 *   pairs that lack the metric's tokens
 * @throws RunError if the metric of a run is not finite
 */
export async function estimateInBatches(
  model: Model,
  pairs: readonly Pair[],
  options: EstimateOptions,
  sweep: Sweep,
  flags: Parameters<typeof makeScoreTable>[1] = {},
): Promise<Estimates> {
  const { metric, direction, space, batchSize, onProgress, signal } = options;
  checkPairsForMetric(pairs, metric);
  checkGradient(metric, direction);
  const result = {
    scores: makeScoreTable(space.size, flags),
    baseMetric: new Float64Array(pairs.length),
    sourceMetric: new Float64Array(pairs.length),
    forwardEquivalents: 0,
  };
  let done = 0;
  for (const batch of batchPairs(pairs, batchSize)) {
    await nextBatch(signal);
    const { base, source, forwardEquivalents } = await estimateBatch(
      model,
      batch,
      options,
      result.scores,
      sweep,
    );
    batch.indices.forEach((index, b) => {
      result.baseMetric[index] = base[b];
      result.sourceMetric[index] = source[b];
    });
    result.forwardEquivalents += forwardEquivalents;
    done += batch.pairs.length;
    onProgress?.({ stage: "estimate", done, total: pairs.length });
  }
  return result;
}

/**
 * Whether the metric can be estimated in this direction.
 * @throws InputError for a metric without a gradient, or without one on the clean run when noising
 */
export function checkGradient({ name, differentiable, flatOnClean }: Metric, direction: Direction): void {
  if (!differentiable) {
    throw new InputError(
      `estimate: expected a metric with a gradient, got ${name}: use it with exact runs, and estimate with another`,
    );
  }
  if (flatOnClean && direction === "noising") {
    throw new InputError(
      `estimate: expected direction denoising for metric ${name}, got noising: its gradient on the clean run is 0`,
    );
  }
}

async function estimateBatch(
  model: Model,
  { pairs, length: T }: PairBatch,
  {
    metric,
    direction,
    space,
    activationBudgetBytes = DEFAULT_ACTIVATION_BUDGET_BYTES,
    source: replacement,
  }: EstimateOptions,
  scores: ScoreTable,
  sweep: Sweep,
): Promise<{ base: Float32Array; source: Float32Array; forwardEquivalents: number }> {
  const sites = [...new Set(space.groups.map((group) => group.site))];
  const runs = await recordRuns(model, pairs, direction, sites, activationBudgetBytes, replacement);
  try {
    const finals = { base: runs.base.final, source: runs.source.final };
    const prepared = await prepareOnRuns(model, metric, pairs, direction, finals);
    const dFinal = prepared.metric.gradient(runs.base.final);
    prepared.metric.dispose();
    const positions = pairs.map((pair) => pair.metricPosition);
    const gradient = await readoutVjp(model, runs.base, positions, T, dFinal);
    dFinal.dispose();
    const layerBackwards = await sweep({ model, runs, pairs, T, gradient, space, scores });
    // A backward pass without weight gradients costs as much as a forward pass.
    const layers = layerBackwards + 2 * runs.recomputedLayers();
    const { base, source } = prepared;
    return { base, source, forwardEquivalents: pairs.length * (2 + layers / model.config.layers) };
  } finally {
    runs.dispose();
  }
}
