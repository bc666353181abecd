/**
 * @file From estimates of one site in one layer, for a batch of pairs, to the nodes they belong to.
 */

import { ALL_POSITIONS } from "../nodes/node-id.js";
import type { NodeGroup, NodeSpace } from "../nodes/node-space.js";
import { spanInPair } from "../nodes/positions.js";
import type { Pair } from "../prompts/pair.js";
import { isPerHead } from "./first-order.js";

/**
 * Calls `visit` for every node of the group and every pair that has it, pair by pair.
 *
 * @param T token length of the batch
 * @param visit gets the flat node and where its estimate lies: in the data of `SiteEstimates.everywhere` for a node at
 *   all positions, of `SiteEstimates.each` for any other (one stream of either)
 */
export function eachEstimate(
  space: NodeSpace,
  { site, indices, offset }: NodeGroup,
  pairs: readonly Pair[],
  T: number,
  visit: (node: number, at: number, everywhere: boolean) => void,
): void {
  const [perPosition, perIndex] = isPerHead(site) ? [1, T] : [indices, 1];
  pairs.forEach((pair, b) => {
    space.labels.forEach((label, p) => {
      const span = spanInPair(label, pair);
      if (!span) return;
      const row = offset + p * indices;
      const everywhere = label === ALL_POSITIONS;
      const start = everywhere ? b * indices : b * indices * T + span.first * perPosition;
      const step = everywhere ? 1 : perIndex;
      for (let i = 0; i < indices; i++) visit(row + i, start + i * step, everywhere);
    });
  });
}
