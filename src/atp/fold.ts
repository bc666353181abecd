/**
 * @file From estimates of one site in one layer, for a batch of pairs, to the nodes they belong to.
 */

import { isPerHead } from "../model/sites.js";
import { ALL_POSITIONS } from "../nodes/node-id.js";
import type { NodeGroup, NodeSpace } from "../nodes/node-space.js";
import { spanInPair } from "../nodes/positions.js";
import { addZeros, type NodeRow, type ScoreTable } from "../nodes/score-table.js";
import type { Pair } from "../prompts/pair.js";

/** The estimates of all I nodes of a group at one position label, for all pairs that have the label. */
export interface EstimateRow extends NodeRow {
  /**
   * Where the numbers lie: in the data of `SiteEstimates.everywhere` for nodes at all positions, of `SiteEstimates.each` for
   * any other (one stream of either).
   */
  readonly everywhere: boolean;
  /** Places of these pairs in the batch, in the order of `starts`. */
  readonly pairs: readonly number[];
}

/**
 * The rows of a group, one per position label.
 * @param T token length of the batch
 */
export function* estimateRows(
  space: NodeSpace,
  { site, indices, offset }: NodeGroup,
  pairs: readonly Pair[],
  T: number,
): Generator<EstimateRow> {
  const [perPosition, perIndex] = isPerHead(site) ? [1, T] : [indices, 1];
  for (const [p, label] of space.labels.entries()) {
    const everywhere = label === ALL_POSITIONS;
    const present: number[] = [];
    const starts: number[] = [];
    for (const [b, pair] of pairs.entries()) {
      const span = spanInPair(label, pair);
      if (!span) continue;
      present.push(b);
      starts.push(everywhere ? b * indices : b * indices * T + span.first * perPosition);
    }
    const step = everywhere ? 1 : perIndex;
    yield { node: offset + p * indices, count: indices, starts, step, everywhere, pairs: present };
  }
}

/** Where estimates go. */
export interface EstimateSinks {
  /** Sums over pairs. */
  readonly scores: ScoreTable;
  /** The signed estimates of every pair of the batch, a number per node of the space; absent where they are not wanted. */
  readonly byPair?: readonly Float32Array[];
}

/** Keeps a row of signed estimates by pair, if they are wanted. */
export function keepByPair(
  { byPair }: EstimateSinks,
  { node, count, starts, step, pairs }: EstimateRow,
  values: Float32Array,
): void {
  if (!byPair) return;
  for (let p = 0; p < starts.length; p++) {
    const own = byPair[pairs[p]];
    for (let i = 0; i < count; i++) own[node + i] = values[starts[p] + i * step];
  }
}

/** Takes down that the estimates of a row are 0: nothing there can have an effect. */
export function addNone({ scores, byPair }: EstimateSinks, row: EstimateRow): void {
  addZeros(scores, row);
  if (byPair) for (const pair of row.pairs) byPair[pair].fill(0, row.node, row.node + row.count);
}
