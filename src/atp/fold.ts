/**
 * @file From estimates of one site in one layer, for a batch of pairs, to the nodes they belong to.
 */

import { ALL_POSITIONS } from "../nodes/node-id.js";
import type { NodeGroup, NodeSpace } from "../nodes/node-space.js";
import { spanInPair } from "../nodes/positions.js";
import type { Pair } from "../prompts/pair.js";
import { isPerHead } from "./first-order.js";

/** The estimates of one pair for all I nodes of a group at one position label: `count` numbers, `step` apart. */
export interface EstimateRow {
  /** The flat node of the first number; the others follow it. */
  readonly node: number;
  readonly count: number;
  /**
   * Where the first number lies: in the data of `SiteEstimates.everywhere` for nodes at all positions, of
   * `SiteEstimates.each` for any other (one stream of either).
   */
  readonly start: number;
  readonly step: number;
  readonly everywhere: boolean;
}

/**
 * Every row of a group; labels that a pair does not have are left out. All pairs of a label come together, so that the
 * sums they are added to stay in the processor's cache.
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
    for (const [b, pair] of pairs.entries()) {
      const span = spanInPair(label, pair);
      if (!span) continue;
      const everywhere = label === ALL_POSITIONS;
      yield {
        node: offset + p * indices,
        count: indices,
        start: everywhere ? b * indices : b * indices * T + span.first * perPosition,
        step: everywhere ? 1 : perIndex,
        everywhere,
      };
    }
  }
}
