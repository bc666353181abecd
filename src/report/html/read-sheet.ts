/** @file CSV files that a report shows as they are: metrics.csv, windows.csv. */

import { createReadStream } from "node:fs";
import { pipeline } from "node:stream";
import { parse } from "fast-csv";
import { InputError } from "../../errors.js";
import { cellOf, isNumberText } from "./cells.js";
import type { Sheet } from "./page-data.js";

/**
 * Reads a CSV file with a header.
 * @param textColumns those whose cells are text, whatever they look like; the others are numbers where all cells are
 * @param limit rows to keep; the others are counted
 * @throws InputError with the row for one that does not have as many cells as the header, for no header, and for a file
 *   that is not CSV
 */
export async function readSheet(
  id: string,
  file: string,
  { textColumns, limit }: { readonly textColumns: ReadonlySet<string>; readonly limit: number },
): Promise<Sheet> {
  let header: string[] | undefined;
  const rows: string[][] = [];
  let total = 0;
  const records: AsyncIterable<string[]> = pipeline(createReadStream(file), parse(), () => undefined);
  try {
    for await (const cells of records) {
      if (!header) {
        header = cells;
        continue;
      }
      if (cells.length !== header.length) {
        throw new InputError(
          `readSheet: ${file}: row ${total + 1}: expected ${header.length} cells, got ${cells.length}`,
        );
      }
      if (total++ < limit) rows.push(cells);
    }
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError(
      `readSheet: ${file}: expected a readable CSV file, got: ${String(error).slice(0, 200)}`,
    );
  }
  if (!header) throw new InputError(`readSheet: ${file}: expected a header, got an empty file`);
  const columns = header.map((name, column) => ({
    name,
    isNumber: !textColumns.has(name) && rows.every((row) => isNumberText(row[column])),
  }));
  return {
    id,
    file,
    columns,
    rows: rows.map((row) => row.map((text, column) => (columns[column].isNumber ? cellOf(text) : text))),
    total,
  };
}
