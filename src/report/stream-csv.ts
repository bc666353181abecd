/**
 * @file CSV files of any length: rows go to the disk as a stream, one at a time, and the file is complete or not there.
 */

import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type FormatterRow, format } from "fast-csv";
import { writeAtomically } from "../atomic-file.js";

/** Bytes per write: a system call for every row would cost more than making the row. */
const WRITE_BYTES = 2 ** 16;

/** The last column of a file in a folder of results: the run that its rows are of, the same in every row. */
export const RUN_COLUMN = "run";

/** What a CSV file holds. */
export interface CsvContent<Row extends FormatterRow> {
  readonly header: readonly string[];
  /** Read one at a time, as fast as the disk takes them. */
  readonly rows: Iterable<Row> | AsyncIterable<Row>;
  /** One cell per column. */
  readonly cellsOf: (row: Row) => string[];
}

export interface CsvOptions {
  /** Aborting it ends the writing and leaves no file of its own behind. */
  readonly signal?: AbortSignal;
  /** The run that the rows are of: written in a last column, `run`. Left out, there is no such column. */
  readonly run?: string;
}

/**
 * Writes a CSV file. It appears under its name when it is complete; until then an older one stays.
 *
 * @throws RunError if the disk refuses; whatever `rows` throws
 */
export async function streamCsv<Row extends FormatterRow>(
  path: string,
  { header, rows, cellsOf }: CsvContent<Row>,
  { signal, run }: CsvOptions = {},
): Promise<void> {
  const ofRun = run === undefined ? [] : [run];
  await writeAtomically(path, async (handle) => {
    const text = format<Row, string[]>({
      headers: run === undefined ? [...header] : [...header, RUN_COLUMN],
      alwaysWriteHeaders: true,
      includeEndRowDelimiter: true,
      transform: (row: Row) => [...cellsOf(row), ...ofRun],
    });
    let refused: unknown;
    const write = async (lines: AsyncIterable<Buffer>) => {
      let pending: Buffer[] = [];
      let bytes = 0;
      const flush = async () => {
        try {
          await handle.writeFile(Buffer.concat(pending));
        } catch (error) {
          refused = error;
          throw error;
        }
        pending = [];
        bytes = 0;
      };
      for await (const line of lines) {
        pending.push(line);
        bytes += line.length;
        if (bytes >= WRITE_BYTES) await flush();
      }
      await flush();
    };
    try {
      await pipeline(Readable.from(rows), text, write, { ...(signal && { signal }) });
    } catch (error) {
      // The pipeline calls its own tidying up an abort, whatever began it.
      throw refused ?? error;
    }
  });
}
