/**
 * @file A ranked list gone through once, row by row: the columns of the page's table, and the cells of its figures, which
 * are of all rows, also where the table has only the first.
 */

import { type Site, siteIndex } from "../../model/sites.js";
import type { NodePosition } from "../../nodes/node-id.js";
import type { RankedNode } from "../../nodes/ranking.js";
import { visibleText } from "../../shown-text.js";
import type { RANKED_COLUMNS } from "../ranked-csv.js";
import { readRankedCsv } from "../read-ranked-csv.js";
import { jsonNumber } from "./cells.js";
import { type ComparedNode, missedNodes } from "./missed-nodes.js";
import type { Cell, NumberColumn, RankedColumns } from "./page-data.js";

/** One cell of layers × positions, or of layers × heads, or one of a layer's neurons. */
export interface NodeCell {
  /** Node id; of a head that is summed over positions without its "@". */
  readonly node: string;
  readonly layer: number;
  readonly index?: number;
  /** Absent where it is summed over positions. */
  readonly position?: NodePosition;
  /** Signed mean effect, exact where it was verified; a sum of them over positions. */
  readonly value: number;
  /** Whether all of it was computed exactly. */
  readonly verified: boolean;
}

export interface RankedContent {
  /** The run that its rows name. */
  readonly run?: string;
  readonly columns: RankedColumns;
  /** Rows of the file. */
  readonly total: number;
  readonly verified: number;
  /** The first rows, for a table that needs no script. */
  readonly first: readonly RankedNode[];
  /** In order of first appearance. */
  readonly positions: readonly NodePosition[];
  /** By site; sites without an index have a cell per position, those with heads one per head, `neuron` the strongest. */
  readonly cells: ReadonlyMap<Site, readonly NodeCell[]>;
  /** Verified nodes with an estimate, by decreasing exact contribution. */
  readonly compared: readonly ComparedNode[];
  /** Those that the estimates put too far down, as places in `compared`. */
  readonly missed: ReadonlySet<number>;
}

/** Neurons of a layer that have a cell. */
export const NEURONS_PER_LAYER = 10;

/** Rows of the table that needs no script: what fits on a printed page. */
const FIRST_ROWS = 40;

const NUMBER_FIELDS = {
  rank: "rank",
  contribution: "contribution",
  estimate_contribution: "estimateContribution",
  estimate_mean: "estimateMean",
  estimate_se: "estimateSe",
  effect_contribution: "effectContribution",
  effect_mean: "effectMean",
  effect_se: "effectSe",
  recovered: "recovered",
  pairs: "pairs",
  saturation_gap: "saturationGap",
  cancellation_ratio: "cancellationRatio",
} as const satisfies Record<NumberColumn, keyof typeof RANKED_COLUMNS>;

export const NUMBER_COLUMNS = Object.keys(NUMBER_FIELDS) as readonly NumberColumn[];

/**
 * @param limit rows of the table, and as many verified ones behind them
 * @throws InputError as `readRankedCsv` does
 */
export async function collectRanked(file: string, limit: number): Promise<RankedContent> {
  const [sites, positions, tokens] = [new Places<Site>(), new Places<NodePosition>(), new Places<string>()];
  const columns = {
    site: [] as number[],
    layer: [] as number[],
    index: [] as (number | null)[],
    position: [] as number[],
    token: [] as (number | null)[],
    verified: [] as (0 | 1)[],
  };
  const numbers = new Map<NumberColumn, Cell[]>(NUMBER_COLUMNS.map((name) => [name, []]));
  const cells = new Cells();
  const first: RankedNode[] = [];
  const compared: (ComparedNode & { readonly row: number })[] = [];
  let [total, verified, kept] = [0, 0, 0];
  let run: string | undefined;
  for await (const { row, run: ofRow } of readRankedCsv(file)) {
    run = ofRow;
    total++;
    if (row.verified) verified++;
    positions.of(row.position);
    cells.add(row);
    if (first.length < FIRST_ROWS) first.push(row);
    if (total > limit && (!row.verified || kept >= 2 * limit)) continue;
    const { effectContribution, estimateContribution } = row;
    if (row.verified && effectContribution !== undefined && estimateContribution !== undefined) {
      const effectMean = row.effectMean ?? Number.NaN;
      compared.push({ node: row.node, effectContribution, estimateContribution, effectMean, row: kept });
    }
    columns.site.push(sites.of(row.site));
    columns.layer.push(row.layer);
    columns.index.push(row.index ?? null);
    columns.position.push(positions.of(row.position));
    columns.token.push(row.token === undefined ? null : tokens.of(visibleText(row.token)));
    columns.verified.push(row.verified ? 1 : 0);
    for (const [name, values] of numbers) values.push(jsonNumber(row[NUMBER_FIELDS[name]]));
    kept++;
  }
  const missed = new Set(missedNodes(compared));
  const missedRows = new Set([...missed].map((place) => compared[place].row));
  return {
    ...(run !== undefined && { run }),
    columns: {
      sites: sites.values,
      positions: positions.values,
      tokens: tokens.values,
      ...columns,
      missed: Array.from({ length: kept }, (_, row) => (missedRows.has(row) ? 1 : 0)),
      numbers: Object.fromEntries(
        [...numbers].filter(([, values]) => values.some((value) => value !== null)),
      ),
    },
    total,
    verified,
    first,
    positions: positions.values,
    cells: cells.bySite(),
    compared,
    missed,
  };
}

/** Values, each once, in order of first appearance. */
class Places<Value> {
  readonly values: Value[] = [];
  readonly #places = new Map<Value, number>();

  of(value: Value): number {
    const known = this.#places.get(value);
    if (known !== undefined) return known;
    this.#places.set(value, this.values.length);
    return this.values.push(value) - 1;
  }
}

/** Cells of the figures. Rows come best first, so a layer's first neurons are its strongest. */
class Cells {
  readonly #single = new Map<Site, NodeCell[]>();
  readonly #heads = new Map<Site, Map<string, NodeCell>>();
  readonly #neurons = new Map<number, number>();

  add({ node, site, layer, index, position, effectMean, estimateMean, verified }: RankedNode): void {
    const value = effectMean ?? estimateMean;
    if (value === undefined) return;
    const cell = { node, layer, ...(index !== undefined && { index }), position, value, verified };
    const kind = siteIndex(site);
    if (kind === "none") this.#push(site, cell);
    else if (kind === "neuron") {
      const before = this.#neurons.get(layer) ?? 0;
      this.#neurons.set(layer, before + 1);
      if (before < NEURONS_PER_LAYER) this.#push(site, cell);
    } else this.#addToHead(site, cell);
  }

  #push(site: Site, cell: NodeCell): void {
    const cells = this.#single.get(site);
    if (cells) cells.push(cell);
    else this.#single.set(site, [cell]);
  }

  #addToHead(site: Site, { position: _, node, value, verified, ...cell }: NodeCell): void {
    const head = node.slice(0, node.indexOf("@"));
    const heads = this.#heads.get(site) ?? new Map<string, NodeCell>();
    const sum = heads.get(head);
    heads.set(head, {
      ...cell,
      node: head,
      value: (sum?.value ?? 0) + value,
      verified: verified && (sum?.verified ?? true),
    });
    this.#heads.set(site, heads);
  }

  bySite(): Map<Site, readonly NodeCell[]> {
    return new Map<Site, readonly NodeCell[]>([
      ...this.#single,
      ...[...this.#heads].map(([site, heads]) => [site, [...heads.values()]] as const),
    ]);
  }
}
