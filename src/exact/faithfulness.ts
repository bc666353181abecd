/**
 * @file Faithfulness curves: how much of a behaviour the first k nodes of a ranking carry, for a grid of k.
 *
 *   keep(k):   the first k nodes are left alone, all other nodes of the space are patched with the source's values
 *   remove(k): the reverse: the first k nodes are patched, all others are left alone
 *
 *   f = (mean M_patched − mean M_source) / (mean M_base − mean M_source)        means over pairs
 *
 * f is 1 where the patched runs behave like the base runs and 0 where they behave like the source runs; it can lie
 * outside of 0 … 1. In a good ranking few nodes are enough: keep(k) rises early (area near 1), remove(k) falls early
 * (area near 0).
 *
 * "Left alone" is not "held at the base value": a node that is not patched is computed from what reaches it, patched or
 * not. A head's `z` that is kept is still the source's if the values it reads are patched. So a space of `q,k,v,z,mlpOut`
 * asks for whole paths, as circuits do. How far the space carries the behaviour at all is `allPatched`, the end of
 * both curves: f there is 0 if patching every node of the space gives the source run (all residual streams, say), and
 * well above 0 if the space misses positions or sites that matter.
 *
 * Where zeros or means are patched in (`source`), no source run is involved: M_source then is the metric with all nodes of
 * the space patched, and f is 0 there by definition.
 */

import { InputError } from "../errors.js";
import type { Model } from "../model/model.js";
import { formatNodeId, type NodePosition } from "../nodes/node-id.js";
import { type NodeSpace, nodeAt } from "../nodes/node-space.js";
import type { VerifiedNodes } from "../nodes/ranking.js";
import { gapAt } from "../nodes/recovered.js";
import { meanEffect } from "../nodes/score-table.js";
import type { Pair } from "../prompts/pair.js";
import { replacesValues } from "../sources/draws.js";
import { meanOf, ratioOfMeans, standardErrorOf } from "./pair-statistics.js";
import type { ExactOptions } from "./patch-sets.js";
import { metricOfSet, type PatchedSet, patchedMetrics } from "./patched-metrics.js";

/** A `Ranking` is one. */
export interface OrderedNodes {
  readonly space: NodeSpace;
  /** Nodes of the space, best first, each at most once. Need not be all of them: the rest counts as "all others". */
  readonly order: Uint32Array;
  /** Exact effects of some nodes, to tell the negative ones. */
  readonly verified?: VerifiedNodes;
}

export interface FaithfulnessOptions extends ExactOptions {
  /** Values of k, in any order. 0 and the number of ranked nodes are always there. Default: 1, 2, 5, 10, 20, 50, … */
  readonly grid?: readonly number[];
}

/** Patched runs of all pairs. */
export interface CurveValue {
  /** Mean metric over pairs. */
  readonly metric: number;
  /** Its standard error; absent for a single pair. */
  readonly se?: number;
  /** f; absent where base and source runs have the same mean metric. */
  readonly faithfulness?: number;
  /** Standard error of f as a ratio of two means. */
  readonly faithfulnessSe?: number;
}

export interface FaithfulnessPoint {
  readonly k: number;
  /** k ÷ number of ranked nodes. */
  readonly share: number;
  readonly keep: CurveValue;
  readonly remove: CurveValue;
  /** How many of the first k nodes are known to be negative; absent where none of the ranking is verified. */
  readonly negative?: number;
}

/** Area under f of one curve, by trapezoids between the points of the grid. */
export interface FaithfulnessArea {
  /** Over the share of nodes k/n, 0 … 1, with n ranked nodes. */
  readonly share: number;
  /** Over ln(1 + k)/ln(1 + n), 0 … 1: the first nodes count as much as the many behind them. */
  readonly logShare: number;
}

/** A node whose exact effect is known. */
export interface SignedNode {
  /** Node id. */
  readonly node: string;
  /** From 1. */
  readonly rank: number;
  /** Mean over pairs, as in the ranking. */
  readonly effectMean: number;
  /** See `isNegative`. */
  readonly negative: boolean;
}

export interface Faithfulness {
  /** By increasing k. */
  readonly points: readonly FaithfulnessPoint[];
  /** With every node of the space patched. */
  readonly allPatched: CurveValue;
  /** Mean metric of the base runs. */
  readonly baseMetric: number;
  /** M_source: mean metric of the source runs, or with all patched where zeros or means are. */
  readonly sourceMetric: number;
  /** Absent where f is. */
  readonly keepArea?: FaithfulnessArea;
  readonly removeArea?: FaithfulnessArea;
  readonly nodes: { readonly ranked: number; readonly space: number };
  /** The verified nodes in the order of the ranking; absent where there are none. */
  readonly verified?: readonly SignedNode[];
  /** In forward passes of one prompt. */
  readonly forwardEquivalents: number;
}

/**
 * Whether a node pushes against the behaviour: patching it moves the metric away from the source run instead of towards
 * it, sign(effect) = −sign(M_source − M_base). ("Negative name movers" in Wang et al. 2022.) A sign is all it is: whether
 * the effect is more than chance its standard error tells.
 * @param effect sum or mean over the pairs that have the node
 * @param gap of the same pairs
 */
export function isNegative(effect: number, gap: number): boolean {
  return effect * gap < 0;
}

/**
 * Faithfulness curves of a ranking.
 *
 * @param ranking a ranking, or an order of nodes of a space
 * @throws InputError for an order that is empty or has a node twice, a grid with something else than whole numbers from
 *   0 to the number of ranked nodes, no pairs, or pairs that lack the metric's tokens
 * @throws RunError if the metric of a run is not finite
 */
export async function faithfulness(
  model: Model,
  pairs: readonly Pair[],
  ranking: OrderedNodes,
  { grid, ...options }: FaithfulnessOptions,
): Promise<Faithfulness> {
  const { space, order, verified } = ranking;
  checkNodes("faithfulness", space, order);
  const ks = checkGrid(grid ?? defaultGrid(order.length), order.length);
  const sets: PatchedSet[] = ks.flatMap((k) => {
    const nodes = order.subarray(0, k);
    return [{ nodes, complement: true }, { nodes }];
  });
  // Where all nodes are ranked, removing all of them is the same run as keeping none.
  const complete = order.length === space.size;
  if (complete) sets.pop();
  const metrics = await patchedMetrics(model, pairs, space, sets, options);
  const { baseMetric, forwardEquivalents } = metrics;
  const zero = replacesValues(options.source) ? metricOfSet(metrics, 0) : metrics.sourceMetric;
  const valueOfSet = (set: number) => curveValue(metricOfSet(metrics, set), baseMetric, zero);
  const allPatched = valueOfSet(0);
  const unpatched = { base: baseMetric, source: zero };
  const gapOf = (label: NodePosition) => gapAt(unpatched, pairs, label);
  const signed =
    verified && verified.nodes.length > 0 ? signedNodes(space, order, verified, gapOf) : undefined;
  const points = ks.map((k, at) => ({
    k,
    share: k / order.length,
    keep: valueOfSet(2 * at),
    remove: complete && k === order.length ? allPatched : valueOfSet(2 * at + 1),
    ...(signed && { negative: signed.filter(({ rank, negative }) => negative && rank <= k).length }),
  }));
  const [keepArea, removeArea] = [areaOf(points, "keep"), areaOf(points, "remove")];
  return {
    points,
    allPatched,
    baseMetric: meanOf(baseMetric),
    sourceMetric: meanOf(zero),
    ...(keepArea && { keepArea }),
    ...(removeArea && { removeArea }),
    nodes: { ranked: order.length, space: space.size },
    ...(signed && { verified: signed }),
    forwardEquivalents,
  };
}

/**
 * A grid made ready: in order, each value once, with 0 and `ranked`.
 * @throws InputError
 */
export function checkGrid(grid: readonly number[], ranked: number): number[] {
  const wrong = grid.find((k) => !Number.isInteger(k) || k < 0 || k > ranked);
  if (wrong !== undefined) {
    throw new InputError(
      `faithfulness: expected a grid of whole numbers from 0 to ${ranked}, the number of ranked nodes, got ${wrong}`,
    );
  }
  return [...new Set([0, ...grid, ranked])].sort((a, b) => a - b);
}

/** 1, 2, 5, 10, 20, 50, … below `ranked`. */
function defaultGrid(ranked: number): number[] {
  const grid: number[] = [];
  for (let decade = 1; decade < ranked; decade *= 10) {
    grid.push(...[decade, 2 * decade, 5 * decade].filter((k) => k < ranked));
  }
  return grid;
}

/**
 * @param caller whose message it is
 * @throws InputError for no nodes, one that the space does not have, or one that is there twice
 */
export function checkNodes(caller: string, space: NodeSpace, nodes: Uint32Array): void {
  if (nodes.length === 0) throw new InputError(`${caller}: expected at least one node, got none`);
  const seen = new Uint8Array(space.size);
  for (const node of nodes) {
    if (node >= space.size) {
      throw new InputError(`${caller}: expected nodes from 0 to ${space.size - 1}, got ${node}`);
    }
    if (seen[node]) {
      throw new InputError(
        `${caller}: expected each node once, got ${formatNodeId(nodeAt(space, node))} twice`,
      );
    }
    seen[node] = 1;
  }
}

function curveValue(metric: Float64Array, base: Float64Array, zero: Float64Array): CurveValue {
  const se = standardErrorOf(metric);
  const f = ratioOfMeans(
    metric.map((value, pair) => value - zero[pair]),
    base.map((value, pair) => value - zero[pair]),
  );
  return {
    metric: meanOf(metric),
    ...(se !== undefined && { se }),
    ...(f && { faithfulness: f.ratio }),
    ...(f?.se !== undefined && { faithfulnessSe: f.se }),
  };
}

function signedNodes(
  space: NodeSpace,
  order: Uint32Array,
  { nodes, scores }: VerifiedNodes,
  gapOf: (label: NodePosition) => number,
): SignedNode[] {
  const rowOf = new Map(Array.from(nodes, (node, row) => [node, row]));
  const gaps = new Map(space.labels.map((label) => [label, gapOf(label)]));
  const signed: SignedNode[] = [];
  order.forEach((node, place) => {
    const row = rowOf.get(node);
    if (row === undefined) return;
    const effectMean = meanEffect(scores, row);
    const named = nodeAt(space, node);
    signed.push({
      node: formatNodeId(named),
      rank: place + 1,
      effectMean,
      negative: isNegative(effectMean, gaps.get(named.position) ?? Number.NaN),
    });
  });
  return signed;
}

function areaOf(
  points: readonly FaithfulnessPoint[],
  curve: "keep" | "remove",
): FaithfulnessArea | undefined {
  const n = points[points.length - 1].k;
  const f = points.map((point) => point[curve].faithfulness ?? Number.NaN);
  if (f.some(Number.isNaN)) return undefined;
  const under = (x: (k: number) => number) =>
    points
      .slice(1)
      .reduce((area, { k }, at) => area + ((x(k) - x(points[at].k)) * (f[at] + f[at + 1])) / 2, 0);
  return { share: under((k) => k / n), logShare: under((k) => Math.log1p(k) / Math.log1p(n)) };
}
