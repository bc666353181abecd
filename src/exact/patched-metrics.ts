/**
 * @file The metric with whole sets of nodes patched, or with all nodes of a space but a set: what faithfulness curves and
 * tests of circuits are made of.
 *
 * A node that a pair does not have (no such role or position) is passed over on that pair, so that every pair has a
 * value for every set: "all other nodes" are those that the pair has. A set that is empty on a pair is the base run.
 */

import type { Model } from "../model/model.js";
import { locate, type NodeSet, type NodeSpace } from "../nodes/node-space.js";
import { spanInPair } from "../nodes/positions.js";
import { checkModelForMetric } from "../prompts/metrics/internal.js";
import { checkPairsForMetric } from "../prompts/metrics/on-runs.js";
import type { Pair } from "../prompts/pair.js";
import { type ExactOptions, patchSets } from "./patch-sets.js";

/** The nodes that a run has patched. */
export interface PatchedSet {
  readonly nodes: NodeSet;
  /** All nodes of the space but these. */
  readonly complement?: boolean;
}

export interface PatchedMetrics {
  /** [pairs, sets] row-major: metric of the patched run. */
  readonly metric: Float64Array;
  readonly baseMetric: Float64Array;
  readonly sourceMetric: Float64Array;
  /** In forward passes of one prompt. */
  readonly forwardEquivalents: number;
}

/**
 * Metric of every pair with each set patched.
 * @throws InputError for no pairs, or pairs that lack the metric's tokens
 * @throws RunError if the metric of a run is not finite
 */
export async function patchedMetrics(
  model: Model,
  pairs: readonly Pair[],
  space: NodeSpace,
  sets: readonly PatchedSet[],
  { metric, ...control }: ExactOptions,
): Promise<PatchedMetrics> {
  checkModelForMetric(model.config, metric);
  checkPairsForMetric(pairs, metric);
  const result = {
    metric: new Float64Array(pairs.length * sets.length),
    baseMetric: new Float64Array(pairs.length),
    sourceMetric: new Float64Array(pairs.length),
    forwardEquivalents: 0,
  };
  const total = pairs.length * sets.length;
  let finished = 0;
  for (const { has, indices } of pairsByLabels(space, pairs)) {
    const nodes = { length: sets.length, at: (set: number) => nodesOnPair(space, sets[set], has) };
    const onPairs = indices.map((index) => pairs[index]);
    const { metrics, forwardEquivalents } = await patchSets(model, onPairs, space, nodes, {
      ...control,
      metrics: [metric],
      // With noise every draw is a run of its own.
      onProgress: ({ done, total: runs }) =>
        control.onProgress?.({
          stage: "patch",
          done: finished + Math.floor((done * indices.length * sets.length) / runs),
          total,
        }),
    });
    const [{ patched, base, source }] = metrics;
    indices.forEach((index, p) => {
      result.baseMetric[index] = base[p];
      result.sourceMetric[index] = source[p];
      result.metric.set(patched.subarray(p * sets.length, (p + 1) * sets.length), index * sets.length);
    });
    result.forwardEquivalents += forwardEquivalents;
    finished += indices.length * sets.length;
  }
  return result;
}

/** One set's metric of every pair. */
export function metricOfSet({ metric, baseMetric }: PatchedMetrics, set: number): Float64Array {
  const sets = metric.length / baseMetric.length;
  return baseMetric.map((_, pair) => metric[pair * sets + set]);
}

interface PairsOfLabels {
  /** Whether the pairs have each label of the space. */
  readonly has: readonly boolean[];
  readonly indices: readonly number[];
}

/** Pairs that have the same nodes, as indices into `pairs`. */
function pairsByLabels({ labels }: NodeSpace, pairs: readonly Pair[]): Iterable<PairsOfLabels> {
  const byLabels = new Map<string, { has: boolean[]; indices: number[] }>();
  pairs.forEach((pair, index) => {
    const has = labels.map((label) => spanInPair(label, pair) !== undefined);
    const key = has.join();
    const same = byLabels.get(key);
    if (same) same.indices.push(index);
    else byLabels.set(key, { has, indices: [index] });
  });
  return byLabels.values();
}

/** The patched nodes that a pair with these labels has. */
function nodesOnPair(
  space: NodeSpace,
  { nodes, complement = false }: PatchedSet,
  has: readonly boolean[],
): NodeSet {
  if (!complement) {
    return has.every(Boolean) ? nodes : nodes.filter((node) => has[locate(space, node).p]);
  }
  const left = new Uint8Array(space.size);
  for (const node of nodes) left[node] = 1;
  const others = new Uint32Array(space.size);
  let count = 0;
  for (const { offset, indices } of space.groups) {
    has.forEach((present, p) => {
      if (!present) return;
      const first = offset + p * indices;
      for (let node = first; node < first + indices; node++) if (!left[node]) others[count++] = node;
    });
  }
  return others.subarray(0, count);
}
