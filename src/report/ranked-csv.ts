/**
 * @file The ranked list as CSV: one row per node, best first, an empty cell for what was not computed. Rows are written
 * as a stream, because a list may have millions of them.
 */

import type { RankedNode } from "../nodes/ranking.js";
import { float32Text } from "./float32-text.js";
import { type CsvOptions, streamCsv } from "./stream-csv.js";

/** The columns in their order, by the field that each one holds. */
export const RANKED_COLUMNS = {
  rank: "rank",
  node: "node",
  site: "site",
  layer: "layer",
  index: "index",
  position: "position",
  token: "token",
  contribution: "contribution",
  estimateContribution: "estimate_contribution",
  estimateMean: "estimate_mean",
  estimateSe: "estimate_se",
  effectContribution: "effect_contribution",
  effectMean: "effect_mean",
  effectSe: "effect_se",
  recovered: "recovered",
  verified: "verified",
  pairs: "pairs",
  saturationGap: "saturation_gap",
  cancellationRatio: "cancellation_ratio",
} as const satisfies Record<keyof RankedNode, string>;

export const RANKED_HEADER: readonly string[] = Object.values(RANKED_COLUMNS);

function cellsOf(row: RankedNode): string[] {
  const text = (value: string | number | undefined) => (value === undefined ? "" : String(value));
  const float = (value: number | undefined) => (value === undefined ? "" : float32Text(value));
  const cells: Record<keyof RankedNode, string> = {
    rank: text(row.rank),
    node: row.node,
    site: row.site,
    layer: text(row.layer),
    index: text(row.index),
    position: text(row.position),
    token: text(row.token),
    contribution: float(row.contribution),
    estimateContribution: float(row.estimateContribution),
    estimateMean: float(row.estimateMean),
    estimateSe: float(row.estimateSe),
    effectContribution: float(row.effectContribution),
    effectMean: float(row.effectMean),
    effectSe: float(row.effectSe),
    recovered: float(row.recovered),
    verified: String(row.verified),
    pairs: text(row.pairs),
    saturationGap: float(row.saturationGap),
    cancellationRatio: float(row.cancellationRatio),
  };
  return Object.values(cells);
}

/**
 * Writes a ranked list. The file appears under its name when it is complete; until then an older one stays.
 *
 * @param rows best first; read one at a time, as fast as the disk takes them
 * @throws RunError if the disk refuses
 */
export async function writeRankedCsv(
  path: string,
  rows: Iterable<RankedNode> | AsyncIterable<RankedNode>,
  options: CsvOptions = {},
): Promise<void> {
  await streamCsv(path, { header: RANKED_HEADER, rows, cellsOf }, options);
}
