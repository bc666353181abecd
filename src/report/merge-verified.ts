/** @file New verified values in an old ranked list of any length: two lists in order of contribution become one. */

import type { RankedNode } from "../nodes/ranking.js";

/**
 * A list with some of its rows replaced, ranked anew.
 *
 * @param list in order of contribution
 * @param verified rows that replace those of the same node, or are added; in order of contribution
 * @returns all rows in order of contribution, ranks from 1; of equal ones the verified first
 */
export async function* mergeVerified(
  list: AsyncIterable<RankedNode>,
  verified: readonly RankedNode[],
): AsyncGenerator<RankedNode> {
  const replaced = new Set(verified.map((row) => row.node));
  let next = 0;
  let rank = 1;
  for await (const row of list) {
    if (replaced.has(row.node)) continue;
    while (next < verified.length && isAhead(verified[next], row))
      yield { ...verified[next++], rank: rank++ };
    yield { ...row, rank: rank++ };
  }
  while (next < verified.length) yield { ...verified[next++], rank: rank++ };
}

/** Not-a-number comes last in a ranking. */
function isAhead(a: RankedNode, b: RankedNode): boolean {
  return a.contribution >= b.contribution || (Number.isNaN(b.contribution) && !Number.isNaN(a.contribution));
}

/** What an estimate leaves in a row; a verified row takes it over. */
const ESTIMATED = [
  "estimateContribution",
  "estimateMean",
  "estimateSe",
  "saturationGap",
  "cancellationRatio",
] as const satisfies readonly (keyof RankedNode)[];

/** A verified row with the estimate that an older row has of the same node. */
export function withEstimateOf(row: RankedNode, older: RankedNode): RankedNode {
  const estimated = ESTIMATED.flatMap((field) =>
    older[field] === undefined ? [] : [[field, older[field]] as const],
  );
  return { ...row, ...Object.fromEntries(estimated) };
}
