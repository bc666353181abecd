/** @file Effects of paths over all pairs, as rows: best first. */

import { meanOf, standardErrorOf } from "../exact/pair-statistics.js";
import type { PathEffects } from "../exact/paths/path-effects.js";
import { orderByContribution } from "../nodes/order.js";
import { gapOfPairs, recoveredOf } from "../nodes/recovered.js";

/** One path; the columns of the CSV. Undefined means "not computed", never 0. */
export interface PathRow {
  /** Node id. */
  readonly sender: string;
  /** Receiver id; several that were patched together with spaces between them. */
  readonly receiver: string;
  /** Mean over pairs of the absolute effect. */
  readonly effectContribution: number;
  /** Signed mean over pairs, and its standard error. */
  readonly effectMean: number;
  readonly effectSe?: number;
  /** Mean effect ÷ (mean source metric − mean base metric), both over the pairs that have the path. */
  readonly recovered?: number;
  /** Pairs that have the path. */
  readonly pairs: number;
}

/**
 * Rows by decreasing contribution; paths that no pair has are left out.
 * @param paths what the second axis of `effects` counts
 */
export function pathRows(
  { effects, baseMetric, sourceMetric }: PathEffects,
  paths: readonly Pick<PathRow, "sender" | "receiver">[],
): PathRow[] {
  const unpatched = { base: baseMetric, source: sourceMetric };
  const rows = paths.flatMap((path, p): PathRow[] => {
    const ofPairs = Array.from(baseMetric, (_, pair) => effects[pair * paths.length + p]);
    const values = ofPairs.filter((effect) => !Number.isNaN(effect));
    if (values.length === 0) return [];
    const gap = gapOfPairs(unpatched, (pair) => !Number.isNaN(ofPairs[pair]));
    const effectMean = meanOf(values);
    const effectSe = standardErrorOf(values);
    return [
      {
        sender: path.sender,
        receiver: path.receiver,
        effectContribution: meanOf(values.map(Math.abs)),
        effectMean,
        ...(effectSe !== undefined && { effectSe }),
        ...recoveredOf(effectMean, gap),
        pairs: values.length,
      },
    ];
  });
  return Array.from(
    orderByContribution(rows.length, (row) => rows[row].effectContribution),
    (row) => rows[row],
  );
}
