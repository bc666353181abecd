/** @file A faithfulness curve as CSV: one row per k, an empty cell for what was not computed. */

import type { CurveValue, FaithfulnessPoint } from "../exact/faithfulness.js";
import { float32Text } from "./float32-text.js";
import { type CsvOptions, streamCsv } from "./stream-csv.js";

const VALUE_COLUMNS = ["metric", "se", "faithfulness", "faithfulness_se"];

export const FAITHFULNESS_HEADER: readonly string[] = [
  "k",
  "share",
  ...VALUE_COLUMNS.map((column) => `keep_${column}`),
  ...VALUE_COLUMNS.map((column) => `remove_${column}`),
  "negative",
];

function cellsOf({ k, share, keep, remove, negative }: FaithfulnessPoint): string[] {
  const float = (value: number | undefined) => (value === undefined ? "" : float32Text(value));
  const values = ({ metric, se, faithfulness, faithfulnessSe }: CurveValue) =>
    [metric, se, faithfulness, faithfulnessSe].map(float);
  return [String(k), float(share), ...values(keep), ...values(remove), String(negative ?? "")];
}

/**
 * Writes the points of a curve. The file appears under its name when it is complete; until then an older one stays.
 * @throws RunError if the disk refuses
 */
export async function writeFaithfulnessCsv(
  path: string,
  points: readonly FaithfulnessPoint[],
  options: CsvOptions = {},
): Promise<void> {
  await streamCsv(path, { header: FAITHFULNESS_HEADER, rows: points, cellsOf }, options);
}
