/**
 * @file Many metrics of the same patched runs as CSV, so that the choice of metric can be examined afterwards: one row per
 * patch, one column per metric, as Heimersheim & Nanda 2024 (arXiv 2404.15255) recommend. The first two rows are the
 * unpatched runs.
 *
 * A value is the metric itself, a mean over the pairs that have what is patched. Behind the metrics stands each one's mean
 * over the base runs of the same pairs, so that in every row the change is `metric − metric_base`, whichever pairs it has.
 */

import type { MetricOfRuns } from "../exact/patched-runs.js";
import type { VerifiedRanking } from "../localize.js";
import { formatNodeId } from "../nodes/node-id.js";
import { nodeAt } from "../nodes/node-space.js";
import { partsOfWindow, type WindowRanking } from "../sweep-windows.js";
import { float32Text } from "./float32-text.js";
import { streamCsv } from "./stream-csv.js";
import { WINDOW_COLUMNS, windowCells } from "./windows-csv.js";

/** The columns that say which node it is, as in a ranked list. */
export const NODE_COLUMNS = ["node", "site", "layer", "index", "position"] as const;

/** Patches in the order of their rows. */
export interface MetricsTable {
  /** What the cells of a patch say; the first is its id. */
  readonly columns: readonly string[];
  /** Places of the patches on the second axis of every `patched`. */
  readonly order: Uint32Array;
  readonly cellsOf: (place: number) => string[];
  /** At least one. */
  readonly metrics: readonly MetricOfRuns[];
}

/** The nodes of a ranking, best first. */
export function nodeMetrics({ space, verified: { nodes }, order, metrics }: VerifiedRanking): MetricsTable {
  const placeOf = new Uint32Array(space.size);
  nodes.forEach((node, place) => {
    placeOf[node] = place;
  });
  return {
    columns: NODE_COLUMNS,
    order: order.map((node) => placeOf[node]),
    cellsOf(place) {
      const node = nodeAt(space, nodes[place]);
      const { site, layer, index = "", position } = node;
      return [formatNodeId(node), site, String(layer), String(index), String(position)];
    },
    metrics,
  };
}

/** Windows, best first. */
export function windowMetrics({ space, shape, starts, order, metrics }: WindowRanking): MetricsTable {
  return {
    columns: WINDOW_COLUMNS,
    order,
    cellsOf: (place) => windowCells(partsOfWindow(space, shape, starts[place])),
    metrics,
  };
}

export function metricsHeader({ columns, metrics }: Pick<MetricsTable, "columns" | "metrics">): string[] {
  const names = metrics.map(({ name }) => name);
  return [...columns, "pairs", ...names, ...names.map((name) => `${name}_base`)];
}

/**
 * Writes the metrics of patches. The file appears under its name when it is complete; until then an older one stays.
 * @param signal aborting it ends the writing and leaves no file of its own behind
 * @throws RunError if the disk refuses
 */
export async function writeMetricsCsv(
  path: string,
  table: MetricsTable,
  options: { readonly signal?: AbortSignal } = {},
): Promise<void> {
  const content = {
    header: metricsHeader(table),
    rows: rowsOf(table),
    cellsOf: (cells: string[]) => cells,
  };
  await streamCsv(path, content, options);
}

function* rowsOf({ columns, order, cellsOf, metrics }: MetricsTable): Generator<string[]> {
  const [{ base, patched }] = metrics;
  const pairs = base.length;
  const patches = patched.length / pairs;
  const all = Array.from(base.keys());
  const unpatched = columns.slice(1).map(() => "");
  const baseMeans = metrics.map((metric) => meanOver(all, (pair) => metric.base[pair]));
  const sourceMeans = metrics.map((metric) => meanOver(all, (pair) => metric.source[pair]));
  yield ["base", ...unpatched, String(pairs), ...baseMeans, ...baseMeans];
  yield ["source", ...unpatched, String(pairs), ...sourceMeans, ...baseMeans];
  for (const place of order) {
    const having = all.filter((pair) => !Number.isNaN(patched[pair * patches + place]));
    yield [
      ...cellsOf(place),
      String(having.length),
      ...metrics.map((metric) => meanOver(having, (pair) => metric.patched[pair * patches + place])),
      ...metrics.map((metric) => meanOver(having, (pair) => metric.base[pair])),
    ];
  }
}

/** An empty cell where no pair has it. */
function meanOver(pairs: readonly number[], read: (pair: number) => number): string {
  if (pairs.length === 0) return "";
  let sum = 0;
  for (const pair of pairs) sum += read(pair);
  return float32Text(sum / pairs.length);
}
