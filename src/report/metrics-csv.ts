/**
 * @file Many metrics of the same patched runs as CSV, so that the choice of metric can be examined afterwards: one row per
 * patch, one column per metric, as Heimersheim & Nanda 2024 (arXiv 2404.15255) recommend. The first two rows are the
 * unpatched runs.
 *
 * A value is the metric itself, a mean over the pairs that have what is patched. Behind the metrics stands each one's mean
 * over the base runs of the same pairs, so that in every row the change is `metric − metric_base`, whichever pairs it has.
 */

import { type MetricSums, sumMetric } from "../exact/metric-sums.js";
import type { VerifiedRanking } from "../localize.js";
import { formatNodeId } from "../nodes/node-id.js";
import { nodeAt } from "../nodes/node-space.js";
import { partsOfWindow, type WindowRanking } from "../sweep-windows.js";
import { float32Text } from "./float32-text.js";
import { type CsvOptions, streamCsv } from "./stream-csv.js";
import { WINDOW_COLUMNS, windowCells } from "./windows-csv.js";

/** The columns that say which node it is, as in a ranked list. */
export const NODE_COLUMNS = ["node", "site", "layer", "index", "position"] as const;

/** Patches in the order of their rows. */
export interface MetricsTable {
  /** What the cells of a patch say; the first is its id. */
  readonly columns: readonly string[];
  /** Places of the patches in the sums of every metric. */
  readonly order: Uint32Array;
  readonly cellsOf: (place: number) => string[];
  /** At least one. */
  readonly metrics: readonly MetricSums[];
}

/** The nodes of a ranking, best first. */
export function nodeMetrics({ metrics, ...ranking }: VerifiedRanking): MetricsTable {
  return nodeMetricSums(ranking, metrics.map(sumMetric));
}

/**
 * The same from sums over pairs, of runs that are not all held.
 * @param metrics their patches in the order of the verified nodes
 */
export function nodeMetricSums(
  { space, verified: { nodes }, order }: Pick<VerifiedRanking, "space" | "verified" | "order">,
  metrics: readonly MetricSums[],
): MetricsTable {
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
    metrics: metrics.map(sumMetric),
  };
}

export function metricsHeader({ columns, metrics }: Pick<MetricsTable, "columns" | "metrics">): string[] {
  const names = metrics.map(({ name }) => name);
  return [...columns, "pairs", ...names, ...names.map((name) => `${name}_base`)];
}

/**
 * Writes the metrics of patches. The file appears under its name when it is complete; until then an older one stays.
 * @throws RunError if the disk refuses
 */
export async function writeMetricsCsv(
  path: string,
  table: MetricsTable,
  options: CsvOptions = {},
): Promise<void> {
  const content = {
    header: metricsHeader(table),
    rows: rowsOf(table),
    cellsOf: (cells: string[]) => cells,
  };
  await streamCsv(path, content, options);
}

function* rowsOf({ columns, order, cellsOf, metrics }: MetricsTable): Generator<string[]> {
  const [{ base, count }] = metrics;
  const pairs = base.length;
  const unpatched = columns.slice(1).map(() => "");
  const baseMeans = metrics.map((metric) => meanText(sumOf(metric.base), pairs));
  const sourceMeans = metrics.map((metric) => meanText(sumOf(metric.source), pairs));
  yield ["base", ...unpatched, String(pairs), ...baseMeans, ...baseMeans];
  yield ["source", ...unpatched, String(pairs), ...sourceMeans, ...baseMeans];
  for (const place of order) {
    yield [
      ...cellsOf(place),
      String(count[place]),
      ...metrics.map((metric) => meanText(metric.patched[place], metric.count[place])),
      ...metrics.map((metric) => meanText(metric.patchedBase[place], metric.count[place])),
    ];
  }
}

function sumOf(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0);
}

/** An empty cell where no pair has it. */
function meanText(sum: number, pairs: number): string {
  return pairs === 0 ? "" : float32Text(sum / pairs);
}
