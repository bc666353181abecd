/** @file Estimates that are not finite: an error that says where that begins, never a number in a list. */

import { RunError } from "../errors.js";
import type { Model } from "../model/model.js";
import { SITES } from "../model/sites.js";
import { formatNodeId } from "../nodes/node-id.js";
import { type NodeSpace, nodeAt } from "../nodes/node-space.js";
import type { ScoreTable } from "../nodes/score-table.js";
import type { Direction } from "../prompts/direction.js";
import { beginsAt, firstOfPair } from "../prompts/not-finite.js";
import type { Pair } from "../prompts/pair.js";

/**
 * Looks at the sums so far, once per batch: sums of what is finite are finite.
 * @param pairs of the batch that was added last
 * @throws RunError for an estimate that is not finite, naming layer and site where that begins: in a run, or on the way back
 */
export async function checkEstimates(
  model: Model,
  space: NodeSpace,
  scores: ScoreTable,
  pairs: readonly Pair[],
  direction: Direction,
): Promise<void> {
  let total = 0;
  for (let node = 0; node < scores.size; node++) total += scores.sumAbs[node];
  if (Number.isFinite(total)) return;
  const node = lastOfWayBack(space, scores);
  for (const pair of pairs) {
    const first = await firstOfPair(model, pair, direction);
    if (!first) continue;
    throw new RunError(
      `estimate: expected finite estimates, got one of ${node} that is not, on ${pair.origin}: ${beginsAt(first)}`,
    );
  }
  throw new RunError(
    `estimate: expected finite estimates, got one of ${node} that is not: the runs are finite, its gradient or what is patched in is not`,
  );
}

/** Gradients go down through the layers, so the highest node is the one where it began. */
function lastOfWayBack(space: NodeSpace, { sumAbs }: ScoreTable): string {
  let last: { readonly time: number; readonly id: string } | undefined;
  for (let flat = 0; flat < sumAbs.length; flat++) {
    if (Number.isFinite(sumAbs[flat])) continue;
    const node = nodeAt(space, flat);
    const time = node.layer * SITES.length + SITES.indexOf(node.site);
    if (!last || time > last.time) last = { time, id: formatNodeId(node) };
  }
  return last?.id ?? "a node";
}
