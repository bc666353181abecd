/** @file What a baseline works on: nodes that may matter on some pairs, and what patching them does and costs. */

import type { NodeSets } from "../../src/exact/node-sets.js";
import { type PatchControl, patchSets } from "../../src/exact/patch-sets.js";
import { outlineOfSet, planBatch } from "../../src/exact/plan.js";
import { scoresOfRuns } from "../../src/exact/scores-of-runs.js";
import { sweepNodes } from "../../src/exact/sweep/sweep.js";
import { blockFlops, forwardFlops } from "../../src/model/flops.js";
import type { Model } from "../../src/model/model.js";
import type { NodeSet, NodeSpace } from "../../src/nodes/node-space.js";
import { orderByContribution } from "../../src/nodes/order.js";
import { contribution } from "../../src/nodes/score-table.js";
import { batchPairs } from "../../src/prompts/buckets.js";
import type { Metric } from "../../src/prompts/metrics/metric.js";
import type { Pair } from "../../src/prompts/pair.js";
import type { Cost } from "./cost-counter.js";
import { costsOfNodes } from "./node-cost.js";

/** Patching by the source prompt, a metric of the logits. */
export interface Task {
  readonly model: Model;
  readonly pairs: readonly Pair[];
  readonly space: NodeSpace;
  readonly control: Omit<PatchControl, "source"> & { readonly metric: Metric };
}

export interface Study extends Task {
  /**
   * The nodes of the space that can have an effect on some pair, ascending. The others are known to have none before
   * anything is run, and nobody has to look at them.
   */
  readonly candidates: NodeSet;
  /** Of verifying each candidate on all pairs. */
  readonly costs: readonly Cost[];
  /** True contribution of each candidate. */
  readonly truth: Float64Array;
}

export function candidatesOf({ model, pairs, space }: Task): { candidates: NodeSet; costs: Cost[] } {
  const all = Uint32Array.from({ length: space.size }, (_, node) => node);
  const costs = costsOfNodes(model.config, pairs, space, all);
  return {
    candidates: all.filter((node) => costs[node].patches > 0),
    costs: costs.filter(({ patches }) => patches > 0),
  };
}

/** Mean over pairs of the absolute effect of each node by itself. */
export async function contributionsOf(
  { model, pairs, space, control }: Task,
  nodes: NodeSet,
): Promise<Float64Array> {
  const { metric, ...options } = control;
  const { metrics } = await sweepNodes(model, pairs, space, nodes, { ...options, metrics: [metric] });
  const scores = scoresOfRuns(metrics[0], nodes.length);
  return Float64Array.from(nodes, (_, at) => contribution(scores, at));
}

/** Mean over pairs of the absolute effect of each set of nodes. */
export async function contributionsOfSets(
  { model, pairs, space, control }: Task,
  sets: NodeSets,
): Promise<Float64Array> {
  const { metric, ...options } = control;
  const { metrics } = await patchSets(model, pairs, space, sets, { ...options, metrics: [metric] });
  const scores = scoresOfRuns(metrics[0], sets.length);
  return Float64Array.from({ length: sets.length }, (_, set) => contribution(scores, set));
}

/**
 * Of patching each set on the pairs that it is asked for, as `patchSets` counts it: all layers from its lowest one on, all
 * positions from its first one on. Without the unpatched runs.
 */
export function costsOfSets({ model: { config }, pairs, space, control }: Task, sets: NodeSets): Cost[] {
  const costs = Array.from({ length: sets.length }, () => ({ run: 0, patches: 0 }));
  const outlines = costs.map((_, set) => outlineOfSet(space, sets.at(set) ?? new Uint32Array()));
  for (const batch of batchPairs(pairs, control.batchSize)) {
    const { length: T, indices } = batch;
    const isAsked = (set: number, b: number) => !sets.pairOf || sets.pairOf(set) === indices[b];
    const input = { space, batch, sets: outlines, fromPrompt: true, isAsked };
    const { runs } = planBatch(input, ({ position, pair }) => position <= pair.metricPosition);
    for (const { set, layer, position } of runs) {
      const flops = (config.layers - layer) * blockFlops(config, T - position, T);
      costs[set].run += flops / forwardFlops(config, T);
      costs[set].patches++;
    }
  }
  return costs;
}

export function sumOf(costs: Iterable<Cost>): Cost {
  let [run, patches] = [0, 0];
  for (const cost of costs) {
    run += cost.run;
    patches += cost.patches;
  }
  return { run, patches };
}

/** Places by decreasing value, equal ones in their order, NaN last. */
export function bestFirst(values: ArrayLike<number>): Uint32Array {
  return orderByContribution(values.length, (place) => values[place]);
}
