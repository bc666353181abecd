/**
 * @file Reading a ranked list back, row by row, with every row checked: a list that was edited or cut, or that is some
 * other CSV, is found out at the line and column where it goes wrong.
 */

import { createReadStream } from "node:fs";
import { parse, parseString } from "fast-csv";
import { InputError } from "../errors.js";
import { formatNodeId, type Node, parseNodeId } from "../nodes/node-id.js";
import type { RankedNode } from "../nodes/ranking.js";
import { textLines } from "../prompts/text-lines.js";
import { RANKED_COLUMNS, RANKED_HEADER } from "./ranked-csv.js";

export interface ReadRankedNode {
  /** Line of the file, from 1. */
  readonly line: number;
  readonly row: RankedNode;
}

type Field = keyof typeof RANKED_COLUMNS;

const FIELDS = new Map(Object.keys(RANKED_COLUMNS).map((field, column) => [field, column]));

/**
 * The rows of a ranked list.
 * @throws InputError with `file:line` and the column for anything that is not as `writeRankedCsv` writes it: columns,
 *   node ids, numbers, rows that are not in order of contribution; for a file without rows, or that cannot be read
 */
export async function* readRankedCsv(file: string): AsyncGenerator<ReadRankedNode> {
  let header = true;
  let previous: ReadRankedNode | undefined;
  for await (const record of csvRecords(file)) {
    if (header) checkHeader(record);
    else {
      const row = rankedNode(record);
      checkOrder(record, row, previous);
      previous = { line: record.line, row };
      yield previous;
    }
    header = false;
  }
  if (!previous) throw new InputError(`readRankedCsv: ${file}: expected at least one ranked node, got none`);
}

/** One record of a CSV file, where it begins, and the error that names a place in it. */
class CsvRecord {
  constructor(
    readonly file: string,
    readonly line: number,
    readonly cells: readonly string[],
  ) {}

  cell(field: Field): string {
    return this.cells[FIELDS.get(field) ?? -1] ?? "";
  }

  error(field: Field, expected: string, got = `"${this.cell(field)}"`): InputError {
    return this.fail(`column "${RANKED_COLUMNS[field]}": expected ${expected}, got ${got}`);
  }

  fail(message: string): InputError {
    return new InputError(`readRankedCsv: ${this.file}:${this.line}: ${message}`);
  }
}

function checkHeader(record: CsvRecord): void {
  if (record.cells.join() === RANKED_HEADER.join()) return;
  throw record.fail(`expected the columns ${RANKED_HEADER.join()}, got ${record.cells.join().slice(0, 200)}`);
}

function rankedNode(record: CsvRecord): RankedNode {
  if (record.cells.length !== RANKED_HEADER.length) {
    throw record.fail(`expected ${RANKED_HEADER.length} columns, got ${record.cells.length}`);
  }
  const node = nodeOf(record);
  const contribution = float(record, "contribution");
  if (contribution === undefined || contribution < 0) {
    throw record.error("contribution", "a number of 0 or more");
  }
  const token = record.cell("token");
  const verified = record.cell("verified");
  if (verified !== "true" && verified !== "false") throw record.error("verified", "true or false");
  const floats = (
    [
      "estimateContribution",
      "estimateMean",
      "estimateSe",
      "effectContribution",
      "effectMean",
      "effectSe",
      "recovered",
      "saturationGap",
      "cancellationRatio",
    ] as const
  ).flatMap((field) => {
    const value = float(record, field);
    return value === undefined ? [] : [[field, value] as const];
  });
  return {
    rank: count(record, "rank"),
    node: formatNodeId(node),
    ...node,
    ...(token !== "" && { token }),
    contribution,
    ...Object.fromEntries(floats),
    verified: verified === "true",
    pairs: count(record, "pairs"),
  };
}

/** The node of the row's id. The columns after it repeat its parts, so they must agree. */
function nodeOf(record: CsvRecord): Node {
  const node = parseNode(record);
  for (const part of ["site", "layer", "index", "position"] as const) {
    const expected = String(node[part] ?? "");
    if (record.cell(part) !== expected) {
      throw record.error(part, `"${expected}", as ${record.cell("node")} says`);
    }
  }
  return node;
}

function parseNode(record: CsvRecord): Node {
  try {
    return parseNodeId(record.cell("node"));
  } catch (error) {
    if (error instanceof InputError) throw record.fail(`column "node": ${error.message}`);
    throw error;
  }
}

const DECIMAL = /^(-?\d+(\.\d+)?(e[+-]?\d+)?|NaN|-?Infinity)$/i;

/** Undefined for an empty cell: not computed. */
function float(record: CsvRecord, field: Field): number | undefined {
  const text = record.cell(field);
  if (text === "") return undefined;
  if (!DECIMAL.test(text)) throw record.error(field, "a number or an empty cell");
  return Number(text);
}

function count(record: CsvRecord, field: Field): number {
  const text = record.cell(field);
  if (!/^[1-9]\d*$/.test(text)) throw record.error(field, "a positive integer");
  return Number(text);
}

/** The order is what lets new values be merged into a list of any length without holding it in memory. */
function checkOrder(record: CsvRecord, row: RankedNode, previous: ReadRankedNode | undefined): void {
  if (!previous) return;
  const { contribution } = previous.row;
  if (Number.isNaN(row.contribution) || row.contribution <= contribution) return;
  throw record.error(
    "contribution",
    `rows in order of contribution, at most ${contribution} as in line ${previous.line}`,
    String(row.contribution),
  );
}

/** The records of a CSV file that are not blank. */
async function* csvRecords(file: string): AsyncGenerator<CsvRecord> {
  const source = createReadStream(file);
  const parser = parse();
  source.on("error", (error) => parser.destroy(error));
  const records: AsyncIterable<string[]> = source.pipe(parser);
  let line = 1;
  try {
    for await (const cells of records) {
      if (cells.length > 0) yield new CsvRecord(file, line, cells);
      line += 1 + lineBreaks(cells);
    }
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw (await findBrokenRecord(file)) ?? unreadable(file, error);
  } finally {
    source.destroy();
  }
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
  const broken = () =>
    new InputError(
      `readRankedCsv: ${file}:${first}: expected a CSV record, got quotes that do not pair up in: ${record.slice(0, 80).trimEnd()}`,
    );
  for await (const { number, text } of textLines(file)) {
    if (record === "") first = number;
    record += `${text}\n`;
    if (record.split('"').length % 2 === 0) continue;
    if (record.includes('"') && !(await isCsv(record))) return broken();
    record = "";
  }
  return record === "" ? undefined : broken();
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
  const reason = error instanceof Error ? error.message : String(error);
  return new InputError(`readRankedCsv: ${file}: expected a readable CSV file, got: ${reason.slice(0, 200)}`);
}
