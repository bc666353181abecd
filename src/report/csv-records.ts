/**
 * @file The records of a CSV file, one by one, for files that may have been cut, edited or made by somebody else: what is wrong is
 * found at its line, and takes neither time nor memory that grow with what follows it.
 */

import { type Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { parse, parseString } from "fast-csv";
import { asError, codeOf, InputError } from "../errors.js";
import { textLines } from "../prompts/text-lines.js";
import { shown } from "../shown-text.js";
import { openPlainFile } from "../text-file.js";

/** Bytes of a record. One cell in it is a token or a path; a longer one is a quote that nobody closed, which the parser would search for its end again with every chunk. */
const MAX_RECORD_BYTES = 2 ** 16;

const NEWLINE = 0x0a;
const QUOTE = 0x22;

export interface CsvRecord {
  /** Line of the file where it begins, from 1. */
  readonly line: number;
  readonly cells: readonly string[];
}

/**
 * The records of a file that are not blank.
 * @throws InputError, beginning with `file:line`, for quotes that do not pair up and records above 64 KiB; for a file that cannot be
 *   read
 */
export async function* csvRecords(file: string): AsyncGenerator<CsvRecord> {
  const source = await openedStream(file);
  const parser = parse();
  const failed = pipeline(source, recordsWithin(file), parser).then(
    () => undefined,
    (error: unknown) => error,
  );
  const records: AsyncIterable<string[]> = parser;
  let line = 1;
  try {
    for await (const cells of records) {
      if (cells.length > 0) yield { line, cells };
      line += 1 + lineBreaks(cells);
    }
  } catch (error) {
    if (error instanceof InputError) throw error;
    if (codeOf(error) === undefined) throw (await findBrokenRecord(file)) ?? unreadable(file, error);
    throw unreadable(file, error);
  } finally {
    source.destroy();
    parser.destroy();
    await failed;
  }
}

async function openedStream(file: string): Promise<Readable> {
  try {
    return (await openPlainFile(file)).createReadStream();
  } catch (error) {
    throw error instanceof InputError ? error : unreadable(file, error);
  }
}

/** Passes bytes on, up to a record that cannot be one. */
function recordsWithin(file: string): Transform {
  let line = 1;
  let record = { line: 1, bytes: 0, open: false };
  const check = () => {
    if (record.bytes <= MAX_RECORD_BYTES) return;
    const found = record.open ? "quotes that do not pair up" : "more";
    throw new InputError(
      `${file}:${record.line}: expected a CSV record of at most ${MAX_RECORD_BYTES} bytes, got ${found}`,
    );
  };
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      try {
        for (let at = 0; at < chunk.length; at++) {
          if (chunk[at] === QUOTE) record.open = !record.open;
          record.bytes++;
          if (chunk[at] !== NEWLINE) continue;
          line++;
          if (record.open) check();
          else record = { line, bytes: 0, open: false };
        }
        check();
        done(null, chunk);
      } catch (error) {
        done(error instanceof Error ? error : new Error(String(error)));
      }
    },
    flush(done) {
      done(
        record.open
          ? new InputError(
              `${file}:${record.line}: expected a CSV record, got quotes that do not pair up before the file ends`,
            )
          : null,
      );
    },
  });
}

function lineBreaks(cells: readonly string[]): number {
  let breaks = 0;
  for (const cell of cells) {
    for (let at = cell.indexOf("\n"); at >= 0; at = cell.indexOf("\n", at + 1)) breaks++;
  }
  return breaks;
}

/**
 * The parser does not say where quotes went wrong, so on an error the file is read once more, record by record: lines
 * are put together until their quotes are even.
 */
async function findBrokenRecord(file: string): Promise<InputError | undefined> {
  let record = "";
  let first = 1;
  for await (const { number, text } of textLines(file)) {
    if (record === "") first = number;
    record += `${text}\n`;
    if (record.split('"').length % 2 === 0) continue;
    if (record.includes('"') && !(await isCsv(record))) {
      return new InputError(
        `${file}:${first}: expected a CSV record, got quotes that do not pair up in: ${record.slice(0, 80).trimEnd()}`,
      );
    }
    record = "";
  }
  return undefined;
}

function isCsv(record: string): Promise<boolean> {
  return new Promise((resolve) => {
    parseString(record)
      .on("error", () => resolve(false))
      .on("end", () => resolve(true))
      .resume();
  });
}

function unreadable(file: string, error: unknown): InputError {
  const reason = asError(error).message;
  return new InputError(`${file}: expected a readable CSV file, got: ${shown(reason)}`);
}
