/** @file Effects of patched runs, summed over pairs. */

import { addScore, makeScoreTable, type ScoreTable } from "../nodes/score-table.js";
import type { MetricOfRuns } from "./patched-runs.js";

/**
 * Sums of the change of a metric, per patch; a pair that lacks what is patched is not counted.
 * @param patches second axis of `patched`
 */
export function scoresOfRuns(
  { patched, base }: Pick<MetricOfRuns, "patched" | "base">,
  patches: number,
): ScoreTable {
  const scores = makeScoreTable(patches);
  for (let pair = 0; pair < base.length; pair++) {
    for (let patch = 0; patch < patches; patch++) {
      const value = patched[pair * patches + patch];
      if (!Number.isNaN(value)) addScore(scores, patch, value - base[pair]);
    }
  }
  return scores;
}
