/**
 * @file First-order attribution patching (AtP): every node of every site from one forward pass of each run and one
 * backward pass.
 *
 *   Î(n) = (a_source − a_base) · ∂M/∂a,  gradient taken on the base run; positive raises the metric
 *
 * Cost: 3 forward equivalents per pair (two forward passes, and a backward pass without weight gradients costs as
 * much as one), plus 2/L for each layer that did not fit the memory budget. Source: Nanda 2023, "Attribution
 * Patching"; Kramár et al. 2024, "AtP*", section 2.
 */

import * as tf from "@tensorflow/tfjs-core";
import { InputError } from "../errors.js";
import { blockVjp } from "../model/block.js";
import type { Model } from "../model/model.js";
import { type Site, siteIndex } from "../model/sites.js";
import { readoutVjp } from "../model/transformer.js";
import type { NodeGroup, NodeSpace } from "../nodes/node-space.js";
import { makeScoreTable, type ScoreTable } from "../nodes/score-table.js";
import { batchPairs, type PairBatch } from "../prompts/buckets.js";
import type { Direction } from "../prompts/direction.js";
import type { Metric } from "../prompts/metrics/metric.js";
import { checkPairsForMetric, prepareOnRuns } from "../prompts/metrics/on-runs.js";
import type { Pair } from "../prompts/pair.js";
import type { RunControl } from "../run-control.js";
import { foldEstimates } from "./fold.js";
import { type RecordedRuns, recordRuns } from "./runs.js";

/**
 * What the records of a batch may hold before layers are recomputed instead: room for 8 pairs of 64 tokens of a
 * GPT-2-small-sized model twice over, and a quarter of the embedded engine's 4 GiB heap.
 */
export const DEFAULT_ACTIVATION_BUDGET_BYTES = 2 ** 30;

export interface EstimateOptions extends RunControl {
  readonly metric: Metric;
  readonly direction: Direction;
  /** The nodes to estimate. */
  readonly space: NodeSpace;
  /** Most pairs in one pass. */
  readonly batchSize: number;
  readonly activationBudgetBytes?: number;
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

/**
 * AtP estimates of every node of the space, over all pairs.
 *
 * @throws InputError for a metric without a gradient, or without one on the clean run when noising; for no pairs, or
 *   pairs that lack the metric's tokens
 * @throws RunError if the metric of a run is not finite
 */
export async function estimateAtp(
  model: Model,
  pairs: readonly Pair[],
  options: EstimateOptions,
): Promise<Estimates> {
  const { metric, direction, space, batchSize, onProgress, signal } = options;
  checkPairsForMetric(pairs, metric);
  checkGradient(metric, direction);
  const result = {
    scores: makeScoreTable(space.size),
    baseMetric: new Float64Array(pairs.length),
    sourceMetric: new Float64Array(pairs.length),
    forwardEquivalents: 0,
  };
  let done = 0;
  for (const batch of batchPairs(pairs, batchSize)) {
    signal?.throwIfAborted();
    const { base, source, forwardEquivalents } = await estimateBatch(model, batch, options, result.scores);
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

function checkGradient({ name, differentiable, flatOnClean }: Metric, direction: Direction): void {
  if (!differentiable) {
    throw new InputError(
      `estimateAtp: expected a metric with a gradient, got ${name}: use it with exact runs, and estimate with another`,
    );
  }
  if (flatOnClean && direction === "noising") {
    throw new InputError(
      `estimateAtp: expected direction denoising for metric ${name}, got noising: its gradient on the clean run is 0`,
    );
  }
}

async function estimateBatch(
  model: Model,
  { pairs, length }: PairBatch,
  { metric, direction, space, activationBudgetBytes = DEFAULT_ACTIVATION_BUDGET_BYTES }: EstimateOptions,
  scores: ScoreTable,
): Promise<{ base: Float32Array; source: Float32Array; forwardEquivalents: number }> {
  const sites = [...new Set(space.groups.map((group) => group.site))];
  const runs = await recordRuns(model, pairs, direction, sites, activationBudgetBytes);
  try {
    const prepared = await prepareOnRuns(model, metric, pairs, direction, {
      base: runs.base.final,
      source: runs.source.final,
    });
    const dFinal = prepared.metric.gradient(runs.base.final);
    prepared.metric.dispose();
    const positions = pairs.map((pair) => pair.metricPosition);
    const gradient = await readoutVjp(model, runs.base, positions, length, dFinal);
    dFinal.dispose();
    await sweepBack(model, runs, gradient, (site, layer, difference, siteGradient) => {
      const group = space.groups.find((candidate) => candidate.site === site && candidate.layer === layer);
      if (group) foldSite(scores, space, group, pairs, length, difference, siteGradient);
    });
    const { base, source } = prepared;
    return {
      base,
      source,
      forwardEquivalents: pairs.length * (3 + (2 * runs.dropped) / model.config.layers),
    };
  } finally {
    runs.dispose();
  }
}

/**
 * The backward pass: from the last layer to the first, each layer's record and weights are asked for once.
 *
 * @param gradient at residPost of the last layer, [1, B, T, D]; disposed here
 * @param meet sees the difference and the gradient of every site under study
 */
async function sweepBack(
  { config, weights }: Model,
  runs: RecordedRuns,
  gradient: tf.Tensor4D,
  meet: (site: Site, layer: number, difference: tf.Tensor, gradient: tf.Tensor) => void,
): Promise<void> {
  let current = gradient;
  for (let layer = config.layers - 1; layer >= 0; layer--) {
    const block = await weights.layer(layer);
    const record = runs.take(layer, block);
    const next = blockVjp(runs.context, block, layer, record.saved, current, (site, _layer, siteGradient) => {
      const difference = record.differences[site];
      if (difference) meet(site, layer, difference, siteGradient);
    });
    weights.release(layer);
    tf.dispose([record, current]);
    current = next;
  }
  current.dispose();
}

/** Estimates of one site in one layer: the dot product over whatever a node of this site is a vector of. */
function foldSite(
  scores: ScoreTable,
  space: NodeSpace,
  group: NodeGroup,
  pairs: readonly Pair[],
  T: number,
  difference: tf.Tensor,
  gradient: tf.Tensor,
): void {
  const kind = siteIndex(group.site);
  const I = group.indices;
  const product = tf.tidy(() => {
    const elementwise = tf.mul(gradient, difference);
    return kind === "neuron" ? elementwise : tf.sum(elementwise, -1);
  });
  const perHead = kind === "head" || kind === "kvHead"; // [1, B, I, T]; the others are [1, B, T, I]
  const layout = perHead ? { pair: I * T, position: 1, index: T } : { pair: I * T, position: I, index: 1 };
  foldEstimates(scores, space, group, pairs, product.dataSync() as Float32Array, layout);
  product.dispose();
}
