/**
 * @file Exact activation patching: the effect of putting the source run's values at a set of nodes into the base run.
 *
 *   effect(S) = M(base run with a_n := a_n(source) for n ∈ S) − M(base run);  positive raises the metric
 *
 * A patched run starts at its lowest patched layer and first patched position, from the base run's residual stream, with
 * the base run's keys and values of the positions before. Runs that start together go through the layers together,
 * whatever pair and set they belong to; an edit picks source or base value row by row with a 0/1 mask.
 */

import * as tf from "@tensorflow/tfjs-core";
import { RunError } from "../errors.js";
import { disposeBlockContext, makeBlockContext } from "../model/block.js";
import type { Model } from "../model/model.js";
import { readout, runBlocks } from "../model/transformer.js";
import type { NodeSet, NodeSpace } from "../nodes/node-space.js";
import { batchPairs } from "../prompts/buckets.js";
import type { Direction } from "../prompts/direction.js";
import type { Metric } from "../prompts/metrics/metric.js";
import { checkPairsForMetric, type MetricOnRuns, prepareOnRuns } from "../prompts/metrics/on-runs.js";
import type { Pair } from "../prompts/pair.js";
import { nextBatch, type RunControl } from "../run-control.js";
import type { ActivationSource } from "../sources/source.js";
import { type BaseAndSource, runBaseAndSource } from "./base-and-source.js";
import { patchEdit } from "./patch-masks.js";
import { type BatchPlan, chunksOfOneStart, type PatchedRun, planBatch } from "./plan.js";

export interface ExactOptions extends RunControl {
  readonly metric: Metric;
  readonly direction: Direction;
  /** Most pairs in one pass, and most patched prompts, counted by their tokens: short runs go in larger batches. */
  readonly batchSize: number;
  /** Where patched values come from, if not from the pair's source prompt: zeros, means. Stays the caller's. */
  readonly source?: ActivationSource;
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
 * @param sets the nodes patched together, per set; not empty
 * @throws InputError for no pairs, or pairs that lack the metric's tokens
 * @throws RunError if the metric of a run is not finite
 */
export async function exactEffects(
  model: Model,
  pairs: readonly Pair[],
  space: NodeSpace,
  sets: readonly NodeSet[],
  options: ExactOptions,
): Promise<ExactEffects> {
  checkPairsForMetric(pairs, options.metric);
  const plans = batchPairs(pairs, options.batchSize).map((batch) => planBatch(space, batch, sets));
  const total = plans.reduce((sum, plan) => sum + plan.runs.length, 0);
  const result = {
    effects: new Float32Array(pairs.length * sets.length).fill(Number.NaN),
    baseMetric: new Float64Array(pairs.length),
    sourceMetric: new Float64Array(pairs.length),
    forwardEquivalents: 0,
  };
  let done = 0;
  for (const plan of plans) {
    const { indices, length: T } = plan.batch;
    const unpatched = await runUnpatched(model, plan, options);
    try {
      indices.forEach((index, b) => {
        result.baseMetric[index] = unpatched.metric.base[b];
        result.sourceMetric[index] = unpatched.metric.source[b];
      });
      result.forwardEquivalents += 2 * indices.length;
      for (const { pairIndex, set } of plan.idle) result.effects[indices[pairIndex] * sets.length + set] = 0;
      for (const chunk of chunksOfOneStart(plan.runs, T, options.batchSize)) {
        await nextBatch(options.signal);
        const values = await runPatched(model, space, plan, chunk, unpatched);
        chunk.forEach(({ pair, pairIndex, set }, r) => {
          if (!Number.isFinite(values[r])) {
            throw new RunError(
              `exactEffects: expected a finite ${options.metric.name} of every patched run, got ${values[r]} for set ${set} on ${pair.origin}`,
            );
          }
          result.effects[indices[pairIndex] * sets.length + set] =
            values[r] - unpatched.metric.base[pairIndex];
        });
        const [{ layer, position }] = chunk;
        result.forwardEquivalents += chunk.length * (1 - layer / model.config.layers) * (1 - position / T);
        done += chunk.length;
        options.onProgress?.({ stage: "verify", done, total });
      }
    } finally {
      unpatched.metric.metric.dispose();
      unpatched.runs.dispose();
    }
  }
  return result;
}

interface Unpatched {
  readonly runs: BaseAndSource;
  readonly metric: MetricOnRuns;
}

async function runUnpatched(model: Model, plan: BatchPlan, options: ExactOptions): Promise<Unpatched> {
  const { pairs } = plan.batch;
  const runs = await runBaseAndSource(model, pairs, options.direction, plan, options.source);
  try {
    const finals = { base: runs.baseFinal, source: runs.sourceFinal };
    return { runs, metric: await prepareOnRuns(model, options.metric, pairs, options.direction, finals) };
  } catch (error) {
    runs.dispose();
    throw error;
  }
}

/** Metric of each run of a chunk; all of them start at the same layer and position. */
async function runPatched(
  model: Model,
  space: NodeSpace,
  { batch: { length: T } }: BatchPlan,
  chunk: readonly PatchedRun[],
  { runs, metric }: Unpatched,
): Promise<Float32Array> {
  const [{ layer: from, position }] = chunk;
  const baseResidual = runs.baseResiduals.get(from);
  if (!baseResidual) throw new Error(`runPatched: expected the base residual of layer ${from}, got none`);
  const pairOfRow = chunk.map((run) => run.pairIndex);
  const rows = tf.tensor1d(Int32Array.from(pairOfRow), "int32");
  const context = makeBlockContext(model.config, T, position);
  const edit = patchEdit(space, chunk, { from: position, T }, runs.sourceValues);
  const resid: tf.Tensor3D = tf.tidy(() => tf.gather(tf.slice(baseResidual, [0, position, 0]), rows));
  const past = (layer: number) => runs.baseKeysAndValues.before(position, layer, rows);
  const last = await runBlocks(model, context, resid, { from, edit, ...(position > 0 && { past }) });
  const { final, saved } = await readout(
    model,
    last,
    chunk.map((run) => run.pair.metricPosition - position),
  );
  const values = metric.metric.read(final, pairOfRow);
  tf.dispose([rows, resid, last, final, saved]);
  disposeBlockContext(context);
  return values;
}
