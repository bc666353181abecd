/** @file Effects of paths as CSV: one row per path, best first, an empty cell for what was not computed. */

import { float32Text } from "./float32-text.js";
import type { PathRow } from "./path-rows.js";
import { type CsvOptions, streamCsv } from "./stream-csv.js";

export const PATHS_HEADER: readonly string[] = [
  "sender",
  "receiver",
  "effect_contribution",
  "effect_mean",
  "effect_se",
  "recovered",
  "pairs",
];

function cellsOf(row: PathRow): string[] {
  const float = (value: number | undefined) => (value === undefined ? "" : float32Text(value));
  return [
    row.sender,
    row.receiver,
    float(row.effectContribution),
    float(row.effectMean),
    float(row.effectSe),
    float(row.recovered),
    String(row.pairs),
  ];
}

/**
 * Writes the rows. The file appears under its name when it is complete; until then an older one stays.
 * @throws RunError if the disk refuses
 */
export async function writePathsCsv(
  path: string,
  rows: readonly PathRow[],
  options: CsvOptions = {},
): Promise<void> {
  await streamCsv(path, { header: PATHS_HEADER, rows, cellsOf }, options);
}
