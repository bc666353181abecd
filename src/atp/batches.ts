/**
 * @file What every gradient method does: bucket the pairs into batches, run base and source, read the metric, and hand
 * the metric's gradient to a backward sweep.
 */

import * as tf from "@tensorflow/tfjs-core";
import { DEFAULT_ACTIVATION_BUDGET_BYTES } from "../activation-budget.js";
import { InputError } from "../errors.js";
import type { Model } from "../model/model.js";
import type { NodeSpace } from "../nodes/node-space.js";
import { makeScoreTable, type ScoreTable } from "../nodes/score-table.js";
import { batchPairs, checkBatchSize, type PairBatch } from "../prompts/buckets.js";
import type { Direction } from "../prompts/direction.js";
import { checkModelForMetric } from "../prompts/metrics/internal.js";
import { readingOf } from "../prompts/metrics/internal-reader.js";
import type { Metric } from "../prompts/metrics/metric.js";
import { checkPairsForMetric } from "../prompts/metrics/on-runs.js";
import type { Pair } from "../prompts/pair.js";
import { nextBatch, type RunControl } from "../run-control.js";
import { drawPairs, meanOverDraws } from "../sources/draws.js";
import type { PatchSource } from "../sources/source.js";
import { addNone, type EstimateSinks, estimateRows } from "./fold.js";
import { checkEstimates } from "./not-finite.js";
import { type RecordedRuns, recordRuns } from "./runs.js";
import { layersBelow, startOfSweep } from "./start.js";
import type { SweepStart } from "./sweep.js";

export interface EstimateOptions extends RunControl {
  readonly metric: Metric;
  readonly direction: Direction;
  /** The nodes to estimate. */
  readonly space: NodeSpace;
  /** Most pairs in one pass. */
  readonly batchSize: number;
  /** What the activations of a batch may take, in bytes; default 1 GiB. Beyond it layers are computed twice. */
  readonly activationBudgetBytes?: number;
  /**
   * Where patched values come from, if not from the pair's source prompt: zeros, means; or what is run in place of its
   * corrupted prompt: noised ones. Stays the caller's.
   */
  readonly source?: PatchSource;
  /** Whether the signed estimates of every pair are kept too, 4 bytes per node and pair; default false. */
  readonly byPair?: boolean;
}

export interface Estimates {
  /** Estimated effects of all nodes of the space. */
  readonly scores: ScoreTable;
  /**
   * By pair: the signed estimates of all nodes, whose sums over pairs are `scores.sum`. NaN where the pair lacks the node's
   * position or role. Present where it was asked for.
   */
  readonly byPair?: readonly Float32Array[];
  /** Metric of each pair's base run, in the order of the pairs. */
  readonly baseMetric: Float64Array;
  /** Metric of each pair's source run. */
  readonly sourceMetric: Float64Array;
  /** What it cost, in forward passes of one prompt. */
  readonly forwardEquivalents: number;
}

/** One batch, ready for the backward sweep. */
export interface SweepInput extends SweepStart, EstimateSinks {
  readonly model: Model;
  /** Of all draws of every pair, B·draws rows; so have the gradients. */
  readonly runs: RecordedRuns;
  /** B pairs of one token length T. */
  readonly pairs: readonly Pair[];
  /** How many draws of the source an estimate is averaged over; 1 where there is nothing to draw. */
  readonly draws: number;
  readonly T: number;
  /** How many layers lie wholly below what the metric reads: the ones that GradDrop drops. */
  readonly below: number;
  readonly space: NodeSpace;
}

/** Adds a batch's estimates to the scores; resolves to the layer-backwards that it took. */
export type Sweep = (input: SweepInput) => Promise<number>;

/**
 * Runs a sweep over all pairs.
 *
 * @param flags which flags the sweep adds to the scores
 * @throws InputError for a metric without a gradient, or without one on the clean run when noising; for no pairs, or
 *   pairs that lack the metric's tokens or that a noise source cannot noise
 * @throws RunError if the metric of a run or an estimate is not finite, naming layer and site where that begins
 */
export async function estimateInBatches(
  model: Model,
  pairs: readonly Pair[],
  options: EstimateOptions,
  sweep: Sweep,
  flags: Parameters<typeof makeScoreTable>[1] = {},
): Promise<Estimates> {
  const { metric, direction, space, batchSize, onProgress, signal } = options;
  checkModelForMetric(model.config, metric);
  checkPairsForMetric(pairs, metric);
  checkGradient(metric, direction);
  const { draws } = drawPairs(pairs, options.source);
  const byPair = options.byPair && pairs.map(() => new Float32Array(space.size).fill(Number.NaN));
  const result = {
    scores: makeScoreTable(space.size, flags),
    baseMetric: new Float64Array(pairs.length),
    sourceMetric: new Float64Array(pairs.length),
    forwardEquivalents: 0,
  };
  let done = 0;
  // All draws of a pair go together: they are averaged before anything is taken absolute.
  checkBatchSize(batchSize);
  for (const batch of batchPairs(pairs, Math.max(1, Math.floor(batchSize / draws)))) {
    await nextBatch(signal);
    const sinks = {
      scores: result.scores,
      ...(byPair && { byPair: batch.indices.map((index) => byPair[index]) }),
    };
    const { base, source, forwardEquivalents } = await estimateBatch(model, batch, options, sinks, sweep);
    await checkEstimates(model, space, result.scores, batch.pairs, direction);
    batch.indices.forEach((index, b) => {
      result.baseMetric[index] = base[b];
      result.sourceMetric[index] = source[b];
    });
    result.forwardEquivalents += forwardEquivalents;
    done += batch.pairs.length;
    onProgress?.({ stage: "estimate", done, total: pairs.length });
  }
  return { ...result, ...(byPair && { byPair }) };
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
  { pairs: ofBatch, length: T }: PairBatch,
  {
    metric,
    direction,
    space,
    activationBudgetBytes = DEFAULT_ACTIVATION_BUDGET_BYTES,
    source: patchSource,
  }: EstimateOptions,
  sinks: EstimateSinks,
  sweep: Sweep,
): Promise<{ base: Float64Array; source: Float64Array; forwardEquivalents: number }> {
  const { pairs, draws, values: replacement } = drawPairs(ofBatch, patchSource);
  const sites = [...new Set(space.groups.map((group) => group.site))];
  const { layers } = model.config;
  const reading = readingOf([metric], pairs, layers);
  const runs = await recordRuns(model, pairs, direction, sites, activationBudgetBytes, reading, replacement);
  try {
    const { base, source, ...start } = await startOfSweep(
      model,
      metric,
      pairs,
      direction,
      runs,
      reading,
      activationBudgetBytes,
    );
    const below = layersBelow(metric, layers);
    const batch = { model, runs, pairs: ofBatch, draws, T, below, space, ...sinks };
    const layerBackwards = await sweep({ ...batch, ...start }).finally(() => tf.dispose({ ...start.seed }));
    for (const group of space.groups) {
      if (group.layer <= start.from) continue;
      for (const row of estimateRows(space, group, ofBatch, T)) addNone(sinks, row);
    }
    // A backward pass without weight gradients costs as much as a forward pass.
    const layersRun = 2 * reading.layers + layerBackwards + 2 * runs.recomputedLayers();
    return {
      base: meanOverDraws(base, draws),
      source: meanOverDraws(source, draws),
      forwardEquivalents: (pairs.length * layersRun) / layers,
    };
  } finally {
    runs.dispose();
  }
}
