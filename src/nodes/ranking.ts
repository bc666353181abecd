/**
 * @file A ranked list: estimates of all nodes, exact effects of the verified ones, and their order. Rows are made one
 * at a time, because a list may have millions of them.
 */

import type { Tokenizer } from "../model/model.js";
import type { Site } from "../model/sites.js";
import type { Pair } from "../prompts/pair.js";
import { formatNodeId, type NodePosition } from "./node-id.js";
import { type NodeSpace, nodeAt } from "./node-space.js";
import { orderByContribution } from "./order.js";
import { spanInPair } from "./positions.js";
import { gapAt, recoveredOf } from "./recovered.js";
import {
  cancellationRatio,
  contribution,
  makeScoreTable,
  meanEffect,
  type ScoreTable,
  saturationGap,
  standardError,
} from "./score-table.js";

/** Exact effects: row r of `scores` belongs to `nodes[r]`. */
export interface VerifiedNodes {
  readonly nodes: Uint32Array;
  readonly scores: ScoreTable;
}

/** Both; a node that is in either is there once, with its first scores. */
export function joinVerified(first: VerifiedNodes, second: VerifiedNodes): VerifiedNodes {
  const known = new Set(first.nodes);
  const added = Uint32Array.from(second.nodes.keys()).filter((row) => !known.has(second.nodes[row]));
  const scores = makeScoreTable(first.nodes.length + added.length);
  const copy = (from: ScoreTable, row: number, to: number) => {
    scores.sumAbs[to] = from.sumAbs[row];
    scores.sum[to] = from.sum[row];
    scores.sumSquares[to] = from.sumSquares[row];
    scores.count[to] = from.count[row];
  };
  first.nodes.forEach((_, row) => {
    copy(first.scores, row, row);
  });
  added.forEach((row, place) => {
    copy(second.scores, row, first.nodes.length + place);
  });
  return { nodes: Uint32Array.from([...first.nodes, ...added.map((row) => second.nodes[row])]), scores };
}

export interface Ranking {
  readonly space: NodeSpace;
  readonly pairs: readonly Pair[];
  /** Metric of each pair's base and source run, in the order of the pairs. */
  readonly baseMetric: Float64Array;
  readonly sourceMetric: Float64Array;
  /** Estimates of every node of the space; absent when nothing was estimated. */
  readonly estimates?: ScoreTable;
  /** Absent when nothing was verified. */
  readonly verified?: VerifiedNodes;
  /** The ranked nodes, best first. */
  readonly order: Uint32Array;
  /** What each stage cost, in forward passes of one prompt; `verify` with the samples of a certificate. */
  readonly forwardEquivalents: { readonly estimate: number; readonly verify: number };
}

/**
 * A ranking with more exact effects.
 * @param forwardEquivalents what they cost, beside what was verified before
 */
export function withVerified(
  ranking: Ranking,
  { verified, forwardEquivalents }: { readonly verified: VerifiedNodes; readonly forwardEquivalents: number },
): Ranking {
  const all = ranking.verified ? joinVerified(ranking.verified, verified) : verified;
  return {
    ...ranking,
    verified: all,
    order: rankNodes(ranking.space, ranking.estimates, all),
    forwardEquivalents: {
      ...ranking.forwardEquivalents,
      verify: ranking.forwardEquivalents.verify + forwardEquivalents,
    },
  };
}

/** One node of a ranked list; the columns of the CSV. Undefined means "not computed", never 0. */
export interface RankedNode {
  /** From 1. */
  readonly rank: number;
  /** Node id. */
  readonly node: string;
  readonly site: Site;
  readonly layer: number;
  /** Head, kv-head or neuron. */
  readonly index?: number;
  readonly position: NodePosition;
  /** The token at the node's position where it is the same in both prompts of every pair. */
  readonly token?: string;
  /** The ranking key: the verified contribution where there is one, otherwise the estimated one. */
  readonly contribution: number;
  readonly estimateContribution?: number;
  readonly estimateMean?: number;
  readonly estimateSe?: number;
  readonly effectContribution?: number;
  readonly effectMean?: number;
  readonly effectSe?: number;
  /** Mean effect (verified where there is one) ÷ (mean source metric − mean base metric), both over the pairs that have the node. */
  readonly recovered?: number;
  readonly verified: boolean;
  /** Pairs that have the node. */
  readonly pairs: number;
  /** How far plain AtP is off because the attention softmax is not linear; with the QK fix. See `saturationGap`. */
  readonly saturationGap?: number;
  /** By how much effects cancel between paths in plain AtP; with GradDrop. See `cancellationRatio`. */
  readonly cancellationRatio?: number;
}

/**
 * Nodes by decreasing contribution, verified values before estimates of the same node. Without estimates only the
 * verified nodes are ranked.
 */
export function rankNodes(
  space: NodeSpace,
  estimates: ScoreTable | undefined,
  verified: VerifiedNodes | undefined,
): Uint32Array {
  if (!estimates) {
    const { nodes, scores } = verified ?? { nodes: new Uint32Array(), scores: undefined };
    return orderByContribution(nodes.length, (row) => (scores ? contribution(scores, row) : Number.NaN)).map(
      (row) => nodes[row],
    );
  }
  const keys = Float64Array.from({ length: space.size }, (_, node) => contribution(estimates, node));
  verified?.nodes.forEach((node, row) => {
    keys[node] = contribution(verified.scores, row);
  });
  return orderByContribution(space.size, (node) => keys[node]);
}

/**
 * The rows of a ranked list, best first.
 * @param tokenizer for the `token` field; without it the token's id is shown
 * @param limit at most so many rows
 */
export function* rankedNodes(
  { space, pairs, estimates, verified, order, baseMetric, sourceMetric }: Ranking,
  { tokenizer, limit = order.length }: { tokenizer?: Tokenizer; limit?: number } = {},
): Generator<RankedNode> {
  const verifiedRow = new Map(Array.from(verified?.nodes ?? [], (node, row) => [node, row]));
  const tokens = new Map(space.labels.map((label) => [label, sharedToken(label, pairs, tokenizer)]));
  const unpatched = { base: baseMetric, source: sourceMetric };
  const gaps = new Map(space.labels.map((label) => [label, gapAt(unpatched, pairs, label)]));
  const having = new Map(
    space.labels.map((label) => [label, pairs.filter((pair) => spanInPair(label, pair)).length]),
  );
  for (let place = 0; place < Math.min(limit, order.length); place++) {
    const flat = order[place];
    const node = nodeAt(space, flat);
    const row = verifiedRow.get(flat);
    const estimate = estimates && statistics(estimates, flat);
    const effect = verified && row !== undefined ? statistics(verified.scores, row) : undefined;
    const best = effect ?? estimate;
    if (!best) throw new Error(`rankedNodes: expected a value for ${formatNodeId(node)}, got none`);
    const token = tokens.get(node.position);
    yield {
      rank: place + 1,
      node: formatNodeId(node),
      site: node.site,
      layer: node.layer,
      ...(node.index !== undefined && { index: node.index }),
      position: node.position,
      ...(token !== undefined && { token }),
      contribution: best.contribution,
      ...(estimate && {
        estimateContribution: estimate.contribution,
        estimateMean: estimate.mean,
        ...(estimate.se !== undefined && { estimateSe: estimate.se }),
      }),
      ...(effect && {
        effectContribution: effect.contribution,
        effectMean: effect.mean,
        ...(effect.se !== undefined && { effectSe: effect.se }),
      }),
      // Effects that were interrupted are over fewer pairs than the gap.
      ...(best.pairs === having.get(node.position) &&
        recoveredOf(best.mean, gaps.get(node.position) ?? Number.NaN)),
      verified: effect !== undefined,
      pairs: best.pairs,
      ...(estimates && flagsOf(estimates, flat)),
    };
  }
}

function flagsOf(
  estimates: ScoreTable,
  node: number,
): Pick<RankedNode, "saturationGap" | "cancellationRatio"> {
  const [gap, ratio] = [saturationGap(estimates, node), cancellationRatio(estimates, node)];
  return {
    ...(!Number.isNaN(gap) && { saturationGap: gap }),
    ...(!Number.isNaN(ratio) && { cancellationRatio: ratio }),
  };
}

/** What the sums over pairs say of one node, or of whatever a row stands for. */
export interface Statistics {
  readonly contribution: number;
  readonly mean: number;
  readonly se?: number;
  readonly pairs: number;
}

/** Undefined where no pair has a value. */
export function statistics(scores: ScoreTable, row: number): Statistics | undefined {
  const pairs = scores.count[row];
  if (pairs === 0) return undefined;
  return {
    contribution: contribution(scores, row),
    mean: meanEffect(scores, row),
    ...(pairs > 1 && { se: standardError(scores, row) }),
    pairs,
  };
}

function sharedToken(label: NodePosition, pairs: readonly Pair[], tokenizer?: Tokenizer): string | undefined {
  const ids = new Set<number>();
  for (const pair of pairs) {
    const span = spanInPair(label, pair);
    if (!span) continue;
    if (span.end - span.first > 1) return undefined;
    ids.add(pair.clean[span.first]).add(pair.corrupted[span.first]);
  }
  const [id] = ids;
  if (ids.size !== 1) return undefined;
  return tokenizer ? tokenizer.tokenText(id) : String(id);
}
