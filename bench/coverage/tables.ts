/** @file Coverage for people. Numbers are percentages of the repetitions. */

import Table from "cli-table3";
import type { SeriesResult, SizeResult } from "./repeated-design.js";

/** α, nominal. */
export const LEVELS = [0.1, 0.05, 0.01] as const;

/** One series of one design on one system. */
export interface CoverageRow {
  readonly system: string;
  readonly design: string;
  readonly series: string;
  readonly result: SeriesResult;
}

/** How many of the repetitions have a p-value below α, in per cent. */
export function percentBelow(pValues: Float64Array, alpha: number): number {
  return (100 * pValues.filter((pValue) => pValue < alpha).length) / pValues.length;
}

const COMPACT = { head: [], border: [], compact: true };

/**
 * How often the bound of the node with the largest |m| was below it, by number of samples: by t alone -> by the rules; "–" where
 * the rules gave no bound. The last column is the bound of the maximum, at its worst size.
 */
export function violationTable(
  rows: readonly CoverageRow[],
  sizes: readonly number[],
  alpha: number,
): string {
  const table = new Table({
    head: ["system", "design", "series", ...sizes.map((size) => `${size} samples`), "maximum"],
    style: COMPACT,
    colAligns: ["left", "left", "left", ...sizes.map(() => "right" as const), "right"],
  });
  for (const { system, design, series, result } of rows) {
    const worst = Math.max(...result.bySize.map(({ ofMaximum }) => percentBelow(ofMaximum, alpha)));
    table.push([
      system,
      design,
      series,
      ...result.bySize.map((size) => violationCell(size, alpha)),
      worst.toFixed(1),
    ]);
  }
  return table.toString();
}

function violationCell({ byTAlone, ofNode }: SizeResult, alpha: number): string {
  const alone = percentBelow(byTAlone, alpha).toFixed(1);
  const hasBound = ofNode.some((pValue) => pValue < 1);
  return `${alone} -> ${hasBound ? percentBelow(ofNode, alpha).toFixed(1) : "–"}`;
}

/**
 * Repeated looks: how often any of them certified a θ just below the largest |m|, which is wrong, at each level; and at the last
 * level how often a θ a quarter above it was certified, and after how many samples on average.
 */
export function looksTable(rows: readonly CoverageRow[], sizes: readonly number[]): string {
  const strictest = LEVELS[LEVELS.length - 1];
  const table = new Table({
    head: [
      "system",
      "design",
      "series",
      "R²",
      ...LEVELS.map((level) => `wrong at ${100 * level} %`),
      `1.25 x certified at ${100 * strictest} %`,
      "samples then",
    ],
    style: COMPACT,
    colAligns: ["left", "left", "left", ...Array<"right">(LEVELS.length + 3).fill("right")],
  });
  for (const { system, design, series, result } of rows) {
    const stops = stoppingSizes(result, sizes, strictest);
    const mean = stops.reduce((sum, size) => sum + size, 0) / stops.length;
    table.push([
      system,
      design,
      series,
      Number.isFinite(result.rSquared) ? result.rSquared.toFixed(2) : "–",
      ...LEVELS.map((level) => percentBelow(result.ofLooks, level).toFixed(1)),
      ((100 * stops.length) / result.ofLooks.length).toFixed(1),
      stops.length > 0 ? mean.toFixed(0) : "–",
    ]);
  }
  return table.toString();
}

/** Samples at the first look that certifies the θ above, of the repetitions in which one does. */
export function stoppingSizes({ above }: SeriesResult, sizes: readonly number[], alpha: number): number[] {
  const stops: number[] = [];
  for (let first = 0; first < above.length; first += sizes.length) {
    const look = above.subarray(first, first + sizes.length).findIndex((pValue) => pValue < alpha);
    if (look >= 0) stops.push(sizes[look]);
  }
  return stops;
}
