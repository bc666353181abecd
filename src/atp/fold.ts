/**
 * @file Adds the estimates of one site in one layer, for a batch of pairs, to the score table.
 */

import type { NodeGroup, NodeSpace } from "../nodes/node-space.js";
import { spanInPair } from "../nodes/positions.js";
import { addScore, type ScoreTable } from "../nodes/score-table.js";
import type { Pair } from "../prompts/pair.js";

/**
 * How the estimates of a batch lie in memory. Head sites come as [B, I, T], neurons and residual sites as [B, T, I].
 */
export interface EstimateLayout {
  readonly pair: number;
  readonly position: number;
  readonly index: number;
}

/**
 * For every node of the group and every pair that has it, adds the pair's estimate; at all positions that is the sum
 * over positions, taken before the absolute value.
 *
 * @param estimates one number per pair, position and index, at `layout`'s strides
 */
export function foldEstimates(
  table: ScoreTable,
  space: NodeSpace,
  group: NodeGroup,
  pairs: readonly Pair[],
  estimates: Float32Array,
  layout: EstimateLayout,
): void {
  const { indices, offset } = group;
  for (let b = 0; b < pairs.length; b++) {
    space.labels.forEach((label, p) => {
      const span = spanInPair(label, pairs[b]);
      if (!span) return;
      const start = b * layout.pair + span.first * layout.position;
      const end = b * layout.pair + span.end * layout.position;
      const row = offset + p * indices;
      for (let i = 0; i < indices; i++) {
        let estimate = 0;
        for (let at = start; at < end; at += layout.position) estimate += estimates[at + i * layout.index];
        addScore(table, row + i, estimate);
      }
    });
  }
}
