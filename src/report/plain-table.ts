/** @file Tables without frames: columns that are lined up, and nothing to copy along with them. */

import Table from "cli-table3";

export type Alignment = "left" | "right";

const NO_FRAME = {
  top: "",
  "top-mid": "",
  "top-left": "",
  "top-right": "",
  bottom: "",
  "bottom-mid": "",
  "bottom-left": "",
  "bottom-right": "",
  left: "",
  "left-mid": "",
  mid: "",
  "mid-mid": "",
  right: "",
  "right-mid": "",
  middle: " ",
};

/** A column of rows of some kind. */
export interface Column<Row> {
  readonly heading: string;
  readonly align: Alignment;
  /** Undefined leaves the cell empty. */
  readonly cell: (row: Row) => string | undefined;
}

/** One line per row. A column without any value is left out. */
export function tableOf<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const filled = columns
    .map(({ cell, ...column }) => ({ ...column, cells: rows.map(cell) }))
    .filter(({ cells }) => cells.some((cell) => cell !== undefined));
  return plainTable(
    filled,
    rows.map((_, row) => filled.map(({ cells }) => cells[row] ?? "")),
  );
}

/** One line per row under a line of headings. */
export function plainTable(
  columns: readonly { readonly heading: string; readonly align: Alignment }[],
  rows: readonly (readonly string[])[],
): string {
  const table = new Table({
    head: columns.map(({ heading }) => heading),
    colAligns: columns.map(({ align }) => align),
    chars: NO_FRAME,
    style: { head: [], border: [], "padding-left": 0, "padding-right": 1 },
  });
  for (const row of rows) table.push([...row]);
  return table.toString().replaceAll(/ +$/gm, "");
}
