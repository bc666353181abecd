/** @file The top of a ranked list as a table for a terminal. */

import type { RankedNode } from "../nodes/ranking.js";
import { visibleText } from "../shown-text.js";
import { type Column, tableOf } from "./plain-table.js";

/** Digits of the largest number of the table that are shown; the others are lined up with it. */
const SIGNIFICANT_DIGITS = 4;

/** Beyond so many decimals, powers of ten are easier to read. */
const MAX_DECIMALS = 8;

interface NumberColumn extends Omit<Column<RankedNode>, "cell"> {
  readonly cell: (row: RankedNode, format: Format) => string | undefined;
}

interface Format {
  /** Behind the rank: "?" for a row that others could displace, and as wide for the other ones of such a table. */
  mark(row: RankedNode): string;
  /** "+1.234", "-0.012" */
  signed(value: number | undefined): string | undefined;
  /** "1.234" */
  plain(value: number | undefined): string | undefined;
  /** How many pairs a row is the mean of, in a table with a row that is not of all of them. */
  pairs(row: RankedNode): string | undefined;
}

const COLUMNS: readonly NumberColumn[] = [
  { heading: "rank", align: "right", cell: (row, { mark }) => `${row.rank}${mark(row)}` },
  { heading: "node", align: "left", cell: (row) => row.node },
  {
    heading: "token",
    align: "left",
    cell: ({ token }) => (token === undefined ? undefined : visibleText(token)),
  },
  { heading: "contribution", align: "right", cell: (row, number) => number.plain(row.contribution) },
  { heading: "effect", align: "right", cell: (row, number) => number.signed(row.effectMean) },
  { heading: "± se", align: "right", cell: (row, number) => number.plain(row.effectSe) },
  { heading: "estimate", align: "right", cell: (row, number) => number.signed(row.estimateMean) },
  { heading: "± se", align: "right", cell: (row, number) => number.plain(row.estimateSe) },
  {
    heading: "recovered",
    align: "right",
    cell: ({ recovered }) => (recovered === undefined ? undefined : `${withSign(recovered * 100, 1)} %`),
  },
  { heading: "pairs", align: "right", cell: (row, { pairs }) => pairs(row) },
];

/**
 * A table of ranked nodes: exact effect beside estimate, signed means and their standard errors over pairs, in the
 * metric's unit and all with the same number of decimals.
 * @param isOpen the rows whose rank is marked with a question mark
 * @param pairs of the run, if a row that has fewer of them is to be told from the others
 */
export function rankedTable(
  rows: readonly RankedNode[],
  isOpen: (row: RankedNode) => boolean = () => false,
  pairs?: number,
): string {
  const blank = rows.some(isOpen) ? " " : "";
  const format = {
    ...numberFormat(rows),
    mark: (row: RankedNode) => (isOpen(row) ? "?" : blank),
    pairs: pairsCell(rows, pairs),
  };
  const columns = COLUMNS.map(({ cell, ...column }) => ({
    ...column,
    cell: (row: RankedNode) => cell(row, format),
  }));
  return tableOf(columns, rows);
}

/** The cell of a column `pairs`, which is there only where some row is a mean over fewer pairs than the run has. */
export function pairsCell(
  rows: readonly { readonly pairs: number }[],
  pairs: number | undefined,
): (row: { readonly pairs: number }) => string | undefined {
  const someLack = rows.some((row) => pairs !== undefined && row.pairs < pairs);
  return (row) => (someLack ? String(row.pairs) : undefined);
}

function numberFormat(rows: readonly RankedNode[]): Omit<Format, "mark" | "pairs"> {
  const shown = rows.flatMap((row) => [row.contribution, row.effectMean ?? 0, row.estimateMean ?? 0]);
  const decimals = decimalsFor(shown);
  return {
    signed: (value) => (value === undefined ? undefined : withSign(value, decimals)),
    plain: (value) => (value === undefined ? undefined : fixed(value, decimals)),
  };
}

/** How many decimals show the largest of the numbers with four digits. */
export function decimalsFor(numbers: readonly number[]): number {
  const largest = Math.max(0, ...numbers.filter(Number.isFinite).map(Math.abs));
  const magnitude = largest === 0 ? 0 : Math.floor(Math.log10(largest));
  return Math.max(0, SIGNIFICANT_DIGITS - 1 - magnitude);
}

/** Without a plus sign. */
export function fixed(value: number, decimals: number): string {
  return decimals > MAX_DECIMALS ? value.toExponential(SIGNIFICANT_DIGITS - 1) : value.toFixed(decimals);
}

/** With its sign; a value that rounds to zero keeps it, because the sign is part of the result. */
export function withSign(value: number, decimals: number): string {
  return `${value > 0 ? "+" : ""}${fixed(value, decimals)}`;
}
