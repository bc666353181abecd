/** @file Effects of windows as a table for a terminal. */

import type { RankedWindow } from "../sweep-windows.js";
import { type Alignment, type Column, tableOf } from "./plain-table.js";
import { decimalsFor, fixed, pairsCell, withSign } from "./ranked-table.js";

/**
 * One line per window, in the metric's unit. A column without any value is left out.
 * @param pairs of the run, if a row that has fewer of them is to be told from the others
 */
export function windowsTable(rows: readonly RankedWindow[], pairs?: number): string {
  const decimals = decimalsFor(rows.map(({ effectContribution }) => effectContribution));
  const columns = [
    column("rank", "right", ({ rank }) => String(rank)),
    column("window", "left", ({ window }) => window),
    column("contribution", "right", (row) => fixed(row.effectContribution, decimals)),
    column("effect", "right", (row) => withSign(row.effectMean, decimals)),
    column("± se", "right", ({ effectSe }) =>
      effectSe === undefined ? undefined : fixed(effectSe, decimals),
    ),
    column("recovered", "right", ({ recovered }) =>
      recovered === undefined ? undefined : `${withSign(recovered * 100, 1)} %`,
    ),
    column("pairs", "right", pairsCell(rows, pairs)),
  ];
  return tableOf(columns, rows);
}

function column(heading: string, align: Alignment, cell: Column<RankedWindow>["cell"]): Column<RankedWindow> {
  return { heading, align, cell };
}
