/**
 * @file The sums behind a ranked list as a Parquet file, one row per node of the space in the order of their numbers: what pandas and
 * DuckDB read at once, where a CSV of ten million rows takes minutes. Null is "not computed". Files of disjoint sets of pairs add up.
 */

import type { FileHandle } from "node:fs/promises";
import { ByteWriter, type ColumnSource, ParquetWriter, schemaFromColumnData } from "hyparquet-writer";
import { writeAll, writeAtomically } from "../atomic-file.js";
import { formatNodeId, type Node } from "../nodes/node-id.js";
import { type NodeSpace, nodeAt } from "../nodes/node-space.js";
import type { VerifiedNodes } from "../nodes/ranking.js";
import type { ScoreTable } from "../nodes/score-table.js";
import { nextBatch } from "../run-control.js";

/** Rows that are in memory as objects; readers skip and read in parallel by such groups. */
const ROWS_PER_GROUP = 2 ** 16;

export interface Scores {
  readonly space: NodeSpace;
  readonly estimates?: ScoreTable;
  readonly verified?: VerifiedNodes;
}

/** A node with the tables that have a value for it. */
interface Row {
  readonly node: Node;
  /** Its number in the space, and its place among the verified ones. */
  readonly flat: number;
  readonly place: number;
  readonly estimates?: ScoreTable;
  readonly effects?: ScoreTable;
}

interface Column extends Pick<ColumnSource, "name" | "type" | "nullable"> {
  readonly cell: (row: Row) => string | number | null;
}

function ofEstimate(name: string, sums: (table: ScoreTable) => Float64Array | undefined): Column {
  const cell = ({ estimates, flat }: Row) => (estimates && sums(estimates)?.[flat]) ?? null;
  return { name, type: "DOUBLE", nullable: true, cell };
}

function ofEffect(name: string, sums: (table: ScoreTable) => Float64Array): Column {
  const cell = ({ effects, place }: Row) => (effects ? sums(effects)[place] : null);
  return { name, type: "DOUBLE", nullable: true, cell };
}

const COLUMNS: readonly Column[] = [
  { name: "node", type: "STRING", nullable: false, cell: ({ node }) => formatNodeId(node) },
  { name: "site", type: "STRING", nullable: false, cell: ({ node }) => node.site },
  { name: "layer", type: "INT32", nullable: false, cell: ({ node }) => node.layer },
  { name: "index", type: "INT32", nullable: true, cell: ({ node }) => node.index ?? null },
  { name: "position", type: "STRING", nullable: false, cell: ({ node }) => String(node.position) },
  {
    name: "pairs",
    type: "INT32",
    nullable: true,
    cell: ({ estimates, effects, flat, place }) => estimates?.count[flat] ?? effects?.count[place] ?? null,
  },
  ofEstimate("estimate_sum_abs", ({ sumAbs }) => sumAbs),
  ofEstimate("estimate_sum", ({ sum }) => sum),
  ofEstimate("estimate_sum_squares", ({ sumSquares }) => sumSquares),
  ofEstimate("saturation_sum_abs", ({ flags }) => flags?.saturation),
  ofEstimate("plain_sum_abs", ({ flags }) => flags?.cancellation?.plain),
  ofEstimate("dropped_sum_abs", ({ flags }) => flags?.cancellation?.dropped),
  ofEffect("effect_sum_abs", ({ sumAbs }) => sumAbs),
  ofEffect("effect_sum", ({ sum }) => sum),
  ofEffect("effect_sum_squares", ({ sumSquares }) => sumSquares),
];

/**
 * Writes the scores of all nodes; a `Ranking` has them.
 *
 * Columns: `node`, `site`, `layer`, `index`, `position` (text, as in node ids), `pairs`; Σ|x|, Σx and Σx² over pairs of the
 * estimates and of the exact effects; Σ|QK-fixed − plain estimate|, and Σ|estimate| plain and under GradDrop.
 * @param run the run that they are of: the file's metadata have it under `atpkit.run`
 * @throws RunError if the disk refuses; the signal's reason
 */
export async function writeScoresParquet(
  file: string,
  scores: Scores,
  { signal, run }: { readonly signal?: AbortSignal; readonly run?: string } = {},
): Promise<void> {
  const { size } = scores.space;
  const places = new Map(Array.from(scores.verified?.nodes ?? [], (node, place) => [node, place]));
  await writeAtomically(file, async (handle) => {
    const writer = new ByteWriter();
    const parquet = new ParquetWriter({
      writer,
      schema: schemaFromColumnData({ columnData: columnsOf([]) }),
      ...(run !== undefined && { kvMetadata: [{ key: "atpkit.run", value: run }] }),
    });
    for (let first = 0; first < size; first += ROWS_PER_GROUP) {
      await nextBatch(signal);
      const count = Math.min(ROWS_PER_GROUP, size - first);
      const rows = Array.from({ length: count }, (_, r) => rowOf(scores, first + r, places.get(first + r)));
      parquet.write({ columnData: columnsOf(rows), rowGroupSize: count });
      await drain(writer, handle);
    }
    parquet.finish();
    await drain(writer, handle);
  });
}

function columnsOf(rows: readonly Row[]): ColumnSource[] {
  return COLUMNS.map(({ cell, ...column }) => ({ ...column, data: rows.map(cell) }));
}

function rowOf({ space, estimates, verified }: Scores, flat: number, place = -1): Row {
  return {
    node: nodeAt(space, flat),
    flat,
    place,
    ...(estimates && estimates.count[flat] > 0 && { estimates }),
    ...(verified && verified.scores.count[place] > 0 && { effects: verified.scores }),
  };
}

/** Hands what is written so far to the disk. */
async function drain(writer: ByteWriter, handle: FileHandle): Promise<void> {
  await writeAll(handle, writer.getBytes());
  writer.index = 0;
}
