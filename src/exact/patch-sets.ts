/**
 * @file Exact activation patching: the effect of putting the source run's values at a set of nodes into the base run.
 *
 *   effect(S) = M(base run with a_n := a_n(source) for n ∈ S) − M(base run);  positive raises the metric
 *
 * A patched run starts at its lowest patched layer and first patched position, from the base run's residual stream, with
 * the base run's keys and values of the positions before. Runs that start together go through a block together,
 * whatever pair and set they belong to; an edit picks source or base value row by row by a mask. Several such chunks go up
 * through the layers side by side.
 */

import { DEFAULT_ACTIVATION_BUDGET_BYTES } from "../activation-budget.js";
import type { ModelConfig } from "../model/config.js";
import { blockFlops, forwardFlops } from "../model/flops.js";
import type { Model } from "../model/model.js";
import type { NodeSpace } from "../nodes/node-space.js";
import { batchPairs } from "../prompts/buckets.js";
import type { Direction } from "../prompts/direction.js";
import { checkModelForMetric } from "../prompts/metrics/internal.js";
import { readingOf } from "../prompts/metrics/internal-reader.js";
import type { Metric } from "../prompts/metrics/metric.js";
import { checkPairsForMetric } from "../prompts/metrics/on-runs.js";
import type { Pair } from "../prompts/pair.js";
import { nextBatch, type RunControl, StageProgress } from "../run-control.js";
import { type DrawnPairs, drawPairs } from "../sources/draws.js";
import type { ActivationSource, PatchSource } from "../sources/source.js";
import { runWave } from "../wave.js";
import { averageDraws } from "./average-draws.js";
import { type BaseAndSource, runBaseAndSource } from "./base-and-source.js";
import { type MetricsOfBatch, MetricsOfSets } from "./metrics-of-sets.js";
import {
  BLOCK_LIMITS,
  type BlockLimits,
  type BlockOfSets,
  blocksOfSets,
  type NodeSets,
} from "./node-sets.js";
import { checkPatched } from "./not-finite.js";
import { PatchedChunk } from "./patched-chunk.js";
import { MetricTable, type PatchedRuns } from "./patched-runs.js";
import { type BatchPlan, outlineOfSet, type PatchedRun, planBatch, wavesOfRuns } from "./plan.js";

/** How patched runs are made, whatever is read off them. */
export interface PatchControl extends RunControl {
  readonly direction: Direction;
  /** Most pairs in one pass of the unpatched runs. */
  readonly batchSize: number;
  /** What the activations of the patched runs in one pass may take, in bytes; default 1 GiB. */
  readonly activationBudgetBytes?: number;
  /**
   * Where patched values come from, if not from the pair's source prompt: zeros, means; or what is run in place of its
   * corrupted prompt: noised ones. Stays the caller's.
   */
  readonly source?: PatchSource;
  /** Told what was computed when the signal stops the runs, before the call rejects: NaN where a run is missing. See `partialRuns`. */
  readonly onStopped?: (soFar: PatchedRuns) => Promise<void> | void;
}

export interface PatchOptions extends PatchControl {
  /** What is read off every run; at least one, each once. */
  readonly metrics: readonly Metric[];
}

export interface ExactOptions extends PatchControl {
  readonly metric: Metric;
}

export interface ExactEffects {
  /**
   * [pairs, sets] row-major. NaN where a pair lacks a node of the set (no such role or position): not computed.
   */
  readonly effects: Float32Array;
  readonly baseMetric: Float64Array;
  readonly sourceMetric: Float64Array;
  /** What it cost, in forward passes of one prompt. */
  readonly forwardEquivalents: number;
}

/**
 * Exact effects of node sets on every pair. A set of one node is the effect of that node.
 *
 * @param sets the nodes patched together, per set, each once
 * @throws InputError for no pairs, pairs that lack the metric's tokens or positions, or that a noise source cannot noise;
 *   an internal metric that the model does not have
 * @throws RunError if the metric of a run is not finite
 */
export async function exactEffects(
  model: Model,
  pairs: readonly Pair[],
  space: NodeSpace,
  sets: NodeSets,
  { metric, ...control }: ExactOptions,
): Promise<ExactEffects> {
  const { metrics, forwardEquivalents } = await patchSets(model, pairs, space, sets, {
    ...control,
    metrics: [metric],
  });
  const [{ patched, base, source }] = metrics;
  const effects = patched.map((value, at) => value - base[Math.floor(at / sets.length)]);
  return { effects, baseMetric: base, sourceMetric: source, forwardEquivalents };
}

/**
 * Several metrics of every pair's run with each set patched.
 *
 * @param sets the nodes patched together, per set, each once; an empty set is the base run
 * @param limits how many sets are held at a time; the unpatched runs are made anew for every block
 * @returns the patched values lie in [pairs, sets]
 * @throws as `exactEffects` does
 */
export async function patchSets(
  model: Model,
  pairs: readonly Pair[],
  space: NodeSpace,
  sets: NodeSets,
  options: PatchOptions,
  limits: BlockLimits = BLOCK_LIMITS,
): Promise<PatchedRuns> {
  for (const metric of options.metrics) {
    checkModelForMetric(model.config, metric);
    checkPairsForMetric(pairs, metric);
  }
  const drawn = drawPairs(pairs, options.source);
  const runs = drawn.pairs.length;
  const table = new MetricTable(options.metrics, runs, sets.length);
  const runsOfSet = sets.pairOf ? drawn.draws : runs;
  const progress = new StageProgress(options, "verify", runsOfSet * sets.length);
  const results = () => averageDraws(table.runs(), drawn.draws);
  try {
    for (const block of blocksOfSets(sets, runs, limits)) {
      await patchBlock(model, drawn, space, block, options, table, progress);
    }
  } catch (error) {
    if (options.signal?.aborted) await options.onStopped?.(results());
    throw error;
  }
  return results();
}

/** @param progress counts sets × pairs, those that need no run among them */
async function patchBlock(
  model: Model,
  { pairs, draws, values: replacement }: DrawnPairs,
  space: NodeSpace,
  { first, sets, pairOf }: BlockOfSets,
  options: PatchOptions,
  table: MetricTable,
  progress: StageProgress,
): Promise<void> {
  const { batchSize, activationBudgetBytes = DEFAULT_ACTIVATION_BUDGET_BYTES } = options;
  const outlines = sets.map((nodes) => outlineOfSet(space, nodes));
  const metrics = new MetricsOfSets(model.config, options.metrics, outlines);
  for (const batch of batchPairs(pairs, batchSize)) {
    const { indices, length: T } = batch;
    const plan = planBatch(
      {
        space,
        batch,
        sets: outlines,
        fromPrompt: replacement === undefined,
        ...(pairOf && { isAsked: (set, b) => Math.floor(indices[b] / draws) === pairOf[set] }),
      },
      metrics.changesAny,
    );
    await nextBatch(options.signal);
    const unpatched = await runUnpatched(
      model,
      plan,
      metrics,
      { ...options, activationBudgetBytes },
      replacement,
    );
    try {
      table.setUnpatched(indices, unpatched.values.unpatched, metrics.layers / model.config.layers);
      for (const { pairIndex, set } of plan.idle) table.setUnchanged(indices[pairIndex], first + set);
      progress.add(plan.asked - plan.runs.length);
      const shared = { model, space, T, metrics, ...unpatched };
      for (const wave of wavesOfRuns(model.config, plan.runs, T, activationBudgetBytes)) {
        const patched = wave.map((runs) => new PatchedChunk(shared, runs));
        await runWave(model.weights, patched, {
          to: metrics.layers,
          signal: options.signal,
          onShare: progress.share(wave.flat().length),
          async finish(chunk) {
            const values = await chunk.read();
            for (const [r, { pair, pairIndex, set, nodes }] of chunk.runs.entries()) {
              const ofRun = values.map((ofMetric) => ofMetric[r]);
              if (!ofRun.every(Number.isFinite)) {
                const suspect = { pair, direction: options.direction, space, nodes, replacement };
                await checkPatched(model, options.metrics, ofRun, `set ${first + set}`, suspect);
              }
              table.set(indices[pairIndex], first + set, ofRun);
            }
            table.addCost(costOfChunk(model.config, metrics.layers, T, chunk.runs));
          },
        });
      }
    } finally {
      for (const { metric } of unpatched.values.outputs) metric.dispose();
      unpatched.runs.dispose();
    }
  }
}

interface Unpatched {
  readonly runs: BaseAndSource;
  readonly values: MetricsOfBatch;
}

async function runUnpatched(
  model: Model,
  plan: BatchPlan,
  metrics: MetricsOfSets,
  {
    direction,
    activationBudgetBytes: budgetBytes,
  }: PatchOptions & { readonly activationBudgetBytes: number },
  replacement?: ActivationSource,
): Promise<Unpatched> {
  const { pairs } = plan.batch;
  const reading = readingOf(metrics.metrics, pairs, model.config.layers);
  const runs = await runBaseAndSource(model, pairs, direction, plan, replacement, reading);
  try {
    const finals = { base: runs.baseFinal, source: runs.sourceFinal };
    const input = { model, pairs, direction, finals, budgetBytes };
    return { runs, values: await metrics.onRuns(input, reading) };
  } catch (error) {
    runs.dispose();
    throw error;
  }
}

/** In forward passes of one prompt. */
function costOfChunk(
  config: ModelConfig,
  layers: number,
  T: number,
  { length, 0: { layer, position } }: readonly PatchedRun[],
): number {
  const flops = length * (layers - layer) * blockFlops(config, T - position, T);
  return flops / forwardFlops(config, T);
}
