/**
 * @file Blocks of neighbouring nodes patched jointly; then single nodes, block by block in the order of the blocks'
 * contributions. Finds what neighbours do together, and wastes little where most blocks do nothing. Source: Kramár et al. 2024.
 */

import { CostCounter } from "./cost-counter.js";
import type { JointPlan } from "./joint-plan.js";
import { type Along, neighbours } from "./neighbours.js";
import { bestFirst, type Study, sumOf } from "./study.js";

export interface BlockOptions {
  readonly along: Along;
  /** Nodes in a block; the last one may have fewer. */
  readonly size: number;
}

export function planBlocks(
  { space, candidates, pairs, costs }: Omit<Study, "truth">,
  { along, size }: BlockOptions,
): JointPlan {
  const order = neighbours(space, candidates, along);
  const parts = Array.from({ length: Math.ceil(order.length / size) }, (_, block) =>
    order.subarray(block * size, (block + 1) * size),
  );
  return {
    sets: parts.map((places) => places.map((place) => candidates[place])),
    verify: (contributions, costsOfBlocks) => {
      const counter = new CostCounter();
      counter.addUnpatched(pairs.length);
      counter.addPatches(sumOf(costsOfBlocks));
      counter.addUnpatched(pairs.length);
      for (const block of bestFirst(contributions)) counter.verifyAll(parts[block], costs);
      return counter;
    },
  };
}
