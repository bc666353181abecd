/** @file Effects of windows as CSV: one row per window, best first, an empty cell for what was not computed. */

import type { RankedWindow, WindowParts } from "../sweep-windows.js";
import { float32Text } from "./float32-text.js";
import { type CsvOptions, streamCsv } from "./stream-csv.js";

/** The columns that say which window it is. */
export const WINDOW_COLUMNS = [
  "window",
  "site",
  "first_layer",
  "last_layer",
  "index",
  "first_position",
  "last_position",
] as const;

export const WINDOWS_HEADER: readonly string[] = [
  "rank",
  ...WINDOW_COLUMNS,
  "effect_contribution",
  "effect_mean",
  "effect_se",
  "recovered",
  "pairs",
];

/** The cells of `WINDOW_COLUMNS`. */
export function windowCells(row: WindowParts): string[] {
  return [
    row.window,
    row.site,
    String(row.firstLayer),
    String(row.lastLayer),
    String(row.index ?? ""),
    String(row.firstPosition),
    String(row.lastPosition),
  ];
}

function cellsOf(row: RankedWindow): string[] {
  const float = (value: number | undefined) => (value === undefined ? "" : float32Text(value));
  return [
    String(row.rank),
    ...windowCells(row),
    float(row.effectContribution),
    float(row.effectMean),
    float(row.effectSe),
    float(row.recovered),
    String(row.pairs),
  ];
}

/**
 * Writes windows, best first. The file appears under its name when it is complete; until then an older one stays.
 * @throws RunError if the disk refuses
 */
export async function writeWindowsCsv(
  path: string,
  rows: Iterable<RankedWindow>,
  options: CsvOptions = {},
): Promise<void> {
  await streamCsv(path, { header: WINDOWS_HEADER, rows, cellsOf }, options);
}
