/** @file CSV files that a report shows as they are: metrics.csv, windows.csv. */

import { InputError } from "../../errors.js";
import { csvRecords } from "../csv-records.js";
import { RUN_COLUMN } from "../stream-csv.js";
import { cellOf, isNumberText } from "./cells.js";
import type { Sheet } from "./page-data.js";

/**
 * Reads a CSV file with a header, and the run that it names, which is no column of the table.
 * @param textColumns those whose cells are text, whatever they look like; the others are numbers where all cells are
 * @param limit rows to keep; the others are counted
 * @throws InputError with the row for one that does not have as many cells as the header, for no header, and for a file
 *   that is not CSV
 */
export async function readSheet(
  id: string,
  file: string,
  { textColumns, limit }: { readonly textColumns: ReadonlySet<string>; readonly limit: number },
): Promise<{ readonly sheet: Sheet; readonly run?: string }> {
  let header: readonly string[] | undefined;
  const rows: (readonly string[])[] = [];
  let total = 0;
  try {
    for await (const { cells } of csvRecords(file)) {
      if (!header) {
        header = cells;
        continue;
      }
      if (cells.length !== header.length) {
        throw new InputError(
          `${file}: row ${total + 1}: expected ${header.length} cells, got ${cells.length}`,
        );
      }
      if (total++ < limit) rows.push(cells);
    }
  } catch (error) {
    throw error instanceof InputError ? new InputError(`readSheet: ${error.message}`) : error;
  }
  if (!header) throw new InputError(`readSheet: ${file}: expected a header, got an empty file`);
  const runColumn = header.at(-1) === RUN_COLUMN ? header.length - 1 : undefined;
  const run = runColumn === undefined ? undefined : rows[0]?.[runColumn];
  const shownColumns = header.slice(0, runColumn);
  const columns = shownColumns.map((name, column) => ({
    name,
    isNumber: !textColumns.has(name) && rows.every((row) => isNumberText(row[column])),
  }));
  const sheet = {
    id,
    file,
    columns,
    rows: rows.map((row) =>
      row.slice(0, runColumn).map((text, column) => (columns[column].isNumber ? cellOf(text) : text)),
    ),
    total,
  };
  return { sheet, ...(run !== undefined && { run }) };
}
