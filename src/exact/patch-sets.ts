/**
 * @file Exact activation patching: the effect of putting the source run's values at a set of nodes into the base run.
 *
 *   effect(S) = M(base run with a_n := a_n(source) for n ∈ S) − M(base run);  positive raises the metric
 *
 * A patched run starts at the lowest patched layer, from the base run's residual stream. Patched runs with the same
 * start go through the layers together, whatever pair and set they belong to; an edit picks source or base value row
 * by row with a 0/1 mask.
 */

import * as tf from "@tensorflow/tfjs-core";
import { RunError } from "../errors.js";
import type { Model } from "../model/model.js";
import { readout, runBlocks } from "../model/transformer.js";
import { groupOf, locate, type NodeGroup, type NodeSet, type NodeSpace } from "../nodes/node-space.js";
import { spanInPair } from "../nodes/positions.js";
import { batchPairs, type PairBatch } from "../prompts/buckets.js";
import type { Direction } from "../prompts/direction.js";
import type { Metric } from "../prompts/metrics/metric.js";
import { checkPairsForMetric, type MetricOnRuns, prepareOnRuns } from "../prompts/metrics/on-runs.js";
import type { Pair } from "../prompts/pair.js";
import { nextBatch, type RunControl } from "../run-control.js";
import { type BaseAndSource, runBaseAndSource } from "./base-and-source.js";
import { type PatchedRow, patchEdit } from "./patch-masks.js";

export interface ExactOptions extends RunControl {
  readonly metric: Metric;
  readonly direction: Direction;
  /** Most pairs, and most patched prompts, in one pass. */
  readonly batchSize: number;
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
    const { indices } = plan.batch;
    const unpatched = await runUnpatched(model, plan, options);
    try {
      indices.forEach((index, b) => {
        result.baseMetric[index] = unpatched.metric.base[b];
        result.sourceMetric[index] = unpatched.metric.source[b];
      });
      result.forwardEquivalents += 2 * indices.length;
      for (const chunk of chunksOfOneStart(plan.runs, options.batchSize)) {
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
        result.forwardEquivalents += chunk.length * (1 - chunk[0].start / model.config.layers);
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

/** One patched run: a pair of the batch with a set patched in. */
interface PatchedRun extends PatchedRow {
  readonly set: number;
  /** The lowest patched layer. */
  readonly start: number;
}

interface BatchPlan {
  readonly batch: PairBatch;
  /** In order of start layer. */
  readonly runs: readonly PatchedRun[];
  /** Where the runs are patched. */
  readonly groups: ReadonlySet<NodeGroup>;
}

function planBatch(space: NodeSpace, batch: PairBatch, sets: readonly NodeSet[]): BatchPlan {
  const groups = new Set<NodeGroup>();
  const runs = sets.flatMap((nodes, set) => {
    if (nodes.length === 0)
      throw new Error("exactEffects: expected sets of at least one node, got an empty one");
    const ofSet = new Set(Array.from(nodes, (node) => groupOf(space, node)));
    for (const group of ofSet) groups.add(group);
    const start = Math.min(...[...ofSet].map((group) => group.layer));
    return batch.pairs.flatMap((pair, pairIndex) =>
      hasAllNodes(space, pair, nodes) ? [{ pair, pairIndex, set, nodes, start }] : [],
    );
  });
  return { batch, runs: runs.sort((a, b) => a.start - b.start), groups };
}

function hasAllNodes(space: NodeSpace, pair: Pair, nodes: NodeSet): boolean {
  const present = space.labels.map((label) => spanInPair(label, pair) !== undefined);
  return nodes.every((node) => present[locate(space, node).p]);
}

function* chunksOfOneStart(runs: readonly PatchedRun[], size: number): Generator<readonly PatchedRun[]> {
  for (let first = 0; first < runs.length; ) {
    let end = first + 1;
    while (end < runs.length && end - first < size && runs[end].start === runs[first].start) end++;
    yield runs.slice(first, end);
    first = end;
  }
}

interface Unpatched {
  readonly runs: BaseAndSource;
  readonly metric: MetricOnRuns;
}

async function runUnpatched(model: Model, plan: BatchPlan, options: ExactOptions): Promise<Unpatched> {
  const { pairs } = plan.batch;
  const starts = new Set(plan.runs.map((run) => run.start));
  const runs = await runBaseAndSource(model, pairs, options.direction, starts, plan.groups);
  try {
    const finals = { base: runs.baseFinal, source: runs.sourceFinal };
    return { runs, metric: await prepareOnRuns(model, options.metric, pairs, options.direction, finals) };
  } catch (error) {
    runs.dispose();
    throw error;
  }
}

/** Metric of each run of a chunk; all of them start at the same layer. */
async function runPatched(
  model: Model,
  space: NodeSpace,
  { batch }: BatchPlan,
  chunk: readonly PatchedRun[],
  { runs, metric }: Unpatched,
): Promise<Float32Array> {
  const [{ start }] = chunk;
  const pairOfRow = chunk.map((run) => run.pairIndex);
  const baseResidual = runs.baseResiduals.get(start);
  if (!baseResidual) throw new Error(`runPatched: expected the base residual of layer ${start}, got none`);
  const edit = patchEdit(space, chunk, batch.length, runs.sourceValues);
  const resid = tf.tidy(() => tf.gather(baseResidual, tf.tensor1d(Int32Array.from(pairOfRow), "int32")));
  const last = await runBlocks(model, runs.context, resid, { from: start, edit });
  const { final, saved } = await readout(
    model,
    last,
    chunk.map((run) => run.pair.metricPosition),
  );
  const values = metric.metric.read(final, pairOfRow);
  tf.dispose([resid, last, final, saved]);
  return values;
}
