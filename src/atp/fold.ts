/**
 * @file From estimates of one site in one layer, for a batch of pairs, to the nodes they belong to.
 */

import { isPerHead } from "../model/sites.js";
import { ALL_POSITIONS } from "../nodes/node-id.js";
import type { NodeGroup, NodeSpace } from "../nodes/node-space.js";
import { spanInPair } from "../nodes/positions.js";
import type { NodeRow } from "../nodes/score-table.js";
import type { Pair } from "../prompts/pair.js";

/** The estimates of all I nodes of a group at one position label, for all pairs that have the label. */
export interface EstimateRow extends NodeRow {
  /**
   * Where the numbers lie: in the data of `SiteEstimates.everywhere` for nodes at all positions, of `SiteEstimates.each` for
   * any other (one stream of either).
   */
  readonly everywhere: boolean;
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
    const starts = pairs.flatMap((pair, b) => {
      const span = spanInPair(label, pair);
      if (!span) return [];
      return [everywhere ? b * indices : b * indices * T + span.first * perPosition];
    });
    yield { node: offset + p * indices, count: indices, starts, step: everywhere ? 1 : perIndex, everywhere };
  }
}
