/**
 * @file Reading a ranked list back, row by row, with every row checked: a list that was edited or cut, or that is some
 * other CSV, is found out at the line and column where it goes wrong.
 */

import { InputError } from "../errors.js";
import { formatNodeId, type Node, parseNodeId } from "../nodes/node-id.js";
import type { RankedNode } from "../nodes/ranking.js";
import { shown } from "../shown-text.js";
import { csvRecords } from "./csv-records.js";
import { RANKED_COLUMNS, RANKED_HEADER } from "./ranked-csv.js";
import { RUN_COLUMN } from "./stream-csv.js";

export interface ReadRankedNode {
  /** Line of the file, from 1. */
  readonly line: number;
  readonly row: RankedNode;
  /** The run that wrote the list; undefined in one that does not say, of an earlier version or of nobody's folder. */
  readonly run?: string;
}

type Field = keyof typeof RANKED_COLUMNS;

/** A run is named by two hashes; see `runId`. */
const MAX_RUN_CHARACTERS = 80;

const FIELDS = new Map(Object.keys(RANKED_COLUMNS).map((field, column) => [field, column]));

/**
 * The rows of a ranked list.
 * @throws InputError with `file:line` and the column for anything that is not as `writeRankedCsv` writes it: columns,
 *   node ids, numbers, rows that are not in order of contribution; for a file without rows, or that cannot be read
 */
export async function* readRankedCsv(file: string): AsyncGenerator<ReadRankedNode> {
  let header: Header | undefined;
  let previous: ReadRankedNode | undefined;
  for await (const { line, cells } of records(file)) {
    const record = new RankedRecord(file, line, cells);
    if (!header) {
      header = checkedHeader(record);
      continue;
    }
    const row = rankedNode(record, header);
    const run = header.hasRun ? runOf(record, previous) : undefined;
    checkOrder(record, row, previous);
    previous = { line, row, ...(run !== undefined && { run }) };
    yield previous;
  }
  if (!previous) throw new InputError(`readRankedCsv: ${file}: expected at least one ranked node, got none`);
}

async function* records(file: string) {
  try {
    yield* csvRecords(file);
  } catch (error) {
    if (error instanceof InputError) throw new InputError(`readRankedCsv: ${error.message}`);
    throw error;
  }
}

/** One record, where it begins, and the error that names a place in it. */
class RankedRecord {
  constructor(
    readonly file: string,
    readonly line: number,
    readonly cells: readonly string[],
  ) {}

  cell(field: Field): string {
    return this.cells[FIELDS.get(field) ?? -1] ?? "";
  }

  error(field: Field, expected: string, got = shown(this.cell(field))): InputError {
    return this.fail(`column "${RANKED_COLUMNS[field]}": expected ${expected}, got ${got}`);
  }

  fail(message: string): InputError {
    return new InputError(`readRankedCsv: ${this.file}:${this.line}: ${message}`);
  }
}

interface Header {
  readonly columns: number;
  readonly hasRun: boolean;
}

function checkedHeader(record: RankedRecord): Header {
  const { cells } = record;
  const hasRun = cells.length > RANKED_HEADER.length;
  const expected = hasRun ? [...RANKED_HEADER, RUN_COLUMN] : RANKED_HEADER;
  if (cells.join() === expected.join()) return { columns: cells.length, hasRun };
  throw record.fail(
    `expected the columns ${RANKED_HEADER.join()} and ${RUN_COLUMN}, got ${shown(cells.join(), 200)}`,
  );
}

/** A list is one run's: lists that were put together would say of both that they are the other. */
function runOf(record: RankedRecord, previous: ReadRankedNode | undefined): string {
  const run = record.cells[RANKED_HEADER.length];
  if (run === "" || run.length > MAX_RUN_CHARACTERS || (previous && previous.run !== run)) {
    const expected = previous ? `${previous.run} as in line ${previous.line}: a list is one run's` : "a run";
    throw record.fail(`column "${RUN_COLUMN}": expected ${expected}, got ${shown(run)}`);
  }
  return run;
}

function rankedNode(record: RankedRecord, { columns }: Header): RankedNode {
  if (record.cells.length !== columns) {
    throw record.fail(`expected ${columns} columns, got ${record.cells.length}`);
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
function nodeOf(record: RankedRecord): Node {
  const node = parseNode(record);
  for (const part of ["site", "layer", "index", "position"] as const) {
    const expected = String(node[part] ?? "");
    if (record.cell(part) !== expected) {
      throw record.error(part, `"${expected}", as ${record.cell("node")} says`);
    }
  }
  return node;
}

function parseNode(record: RankedRecord): Node {
  try {
    return parseNodeId(record.cell("node"));
  } catch (error) {
    if (error instanceof InputError) throw record.fail(`column "node": ${error.message}`);
    throw error;
  }
}

const DECIMAL = /^(-?\d+(\.\d+)?(e[+-]?\d+)?|NaN|-?Infinity)$/i;

/** Undefined for an empty cell: not computed. */
function float(record: RankedRecord, field: Field): number | undefined {
  const text = record.cell(field);
  if (text === "") return undefined;
  if (!DECIMAL.test(text)) throw record.error(field, "a number or an empty cell");
  return Number(text);
}

function count(record: RankedRecord, field: Field): number {
  const text = record.cell(field);
  if (!/^[1-9]\d*$/.test(text)) throw record.error(field, "a positive integer");
  return Number(text);
}

/** The order is what lets new values be merged into a list of any length without holding it in memory. */
function checkOrder(record: RankedRecord, row: RankedNode, previous: ReadRankedNode | undefined): void {
  if (!previous) return;
  const { contribution } = previous.row;
  if (Number.isNaN(row.contribution) || row.contribution <= contribution) return;
  throw record.error(
    "contribution",
    `rows in order of contribution, at most ${contribution} as in line ${previous.line}`,
    String(row.contribution),
  );
}
