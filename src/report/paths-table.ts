/** @file Effects of paths as a table for a terminal. */

import type { PathRow } from "./path-rows.js";
import { type Alignment, type Column, tableOf } from "./plain-table.js";
import { decimalsFor, fixed, pairsCell, withSign } from "./ranked-table.js";

/**
 * One line per path, in the metric's unit. A column without any value is left out.
 * @param pairs of the run, if a row that has fewer of them is to be told from the others
 */
export function pathsTable(rows: readonly PathRow[], pairs?: number): string {
  const decimals = decimalsFor(rows.map(({ effectContribution }) => effectContribution));
  const columns = [
    column("sender", "left", ({ sender }) => sender),
    column("receiver", "left", ({ receiver }) => receiver),
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

function column(heading: string, align: Alignment, cell: Column<PathRow>["cell"]): Column<PathRow> {
  return { heading, align, cell };
}
