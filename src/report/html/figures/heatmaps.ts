/** @file Heatmaps: layers × positions, layers × heads, and the strongest neurons of each layer. */

import type { EChartsOption } from "echarts";
import { SITES, type Site, siteIndex } from "../../../model/sites.js";
import type { PromptSummary } from "../../prompt-summary.js";
import { cellNumber, signedNumber } from "../number-text.js";
import type { Figure } from "../page-data.js";
import { type PositionLabel, positionAxis, TOKEN_CHARACTERS } from "../position-axis.js";
import { NEURONS_PER_LAYER, type NodeCell, type RankedContent } from "../ranked-content.js";

/** A cell's number is written into it up to so many columns: beyond it would not fit. */
const WIDE = { width: 1100, labelledColumns: 20 };
const NARROW = { width: 540, labelledColumns: 9 };

/** Position labels stand upright up to so many; then they are turned, and beyond `MAX_TURNED` some are left out. */
const MAX_UPRIGHT = 18;
const MAX_TURNED = 200;

const ROW_HEIGHT = 26;
const LINE_HEIGHT = 14;
const COLUMN_MIN_WIDTH = 13;
const CHARACTER_WIDTH = 6.4;

/** Quotes, an ellipsis and the sign of a change. */
const AROUND_TOKEN = 3;
const FEWEST_CHARACTERS = 4;
const MARGINS = { left: 58, right: 92, top: 12 };
const FONT_SIZE = 11;

/** Smaller ones are not written into cells: many zeros would hide what there is. */
const LEAST_SHARE = 0.005;

/** The heatmaps of a ranked list, in groups of which each has one scale. */
export interface Heatmaps {
  /** Sites without an index, by position. */
  readonly sites: readonly Figure[];
  /** q, k, v, z, summed over positions. */
  readonly heads: readonly Figure[];
  readonly neurons?: Figure;
}

interface Column {
  readonly text: string;
  readonly bold: boolean;
}

interface Grid {
  readonly id: string;
  readonly title: string;
  readonly columns: readonly Column[];
  readonly columnName: string;
  readonly columnOf: (cell: NodeCell, place: number) => number;
  readonly upright: boolean;
  /** Lines of a column's label. */
  readonly lines: number;
  readonly shape: typeof WIDE;
  readonly textOf?: (cell: NodeCell, limit: number) => string;
}

export function heatmaps(content: RankedContent, prompts: PromptSummary | undefined): Heatmaps {
  const { cells, positions } = content;
  const present = SITES.filter((site) => cells.has(site));
  const shared = {
    single: largest(
      present.filter((site) => siteIndex(site) === "none"),
      cells,
    ),
    heads: largest(present.filter(hasHeads), cells),
  };
  const axis = positionAxis(positions, prompts, charactersOfToken(positions.length));
  const neurons = cells.get("neuron");
  return {
    sites: present
      .filter((site) => siteIndex(site) === "none")
      .map((site) => siteMap(site, cells.get(site) ?? [], axis, shared.single)),
    heads: present.filter(hasHeads).map((site) => headMap(site, cells.get(site) ?? [], shared.heads)),
    ...(neurons && { neurons: neuronMap(neurons) }),
  };
}

/** How much of a token fits under its column. */
function charactersOfToken(columns: number): number {
  if (columns > MAX_UPRIGHT) return TOKEN_CHARACTERS;
  const width = (WIDE.width - MARGINS.left - MARGINS.right) / columns;
  const fitting = Math.floor(width / CHARACTER_WIDTH) - AROUND_TOKEN;
  return Math.max(FEWEST_CHARACTERS, Math.min(TOKEN_CHARACTERS, fitting));
}

function hasHeads(site: Site): boolean {
  return siteIndex(site) === "head" || siteIndex(site) === "kvHead";
}

function largest(sites: readonly Site[], cells: RankedContent["cells"]): number {
  return sites.reduce((most, site) => Math.max(most, reach(cells.get(site) ?? [])), 0);
}

function reach(cells: readonly NodeCell[]): number {
  return cells.reduce(
    (most, { value }) => (Number.isFinite(value) ? Math.max(most, Math.abs(value)) : most),
    0,
  );
}

function siteMap(site: Site, cells: readonly NodeCell[], axis: readonly PositionLabel[], shared: number) {
  const placeOf = new Map(axis.map(({ position }, place) => [position, place]));
  const upright = axis.length <= MAX_UPRIGHT;
  return heatmap(cells, shared, {
    id: site,
    title: `${site}: layer × position`,
    columns: axis.map(({ lines, changed }) => ({ text: lines.join(upright ? "\n" : " "), bold: changed })),
    columnName: "position",
    columnOf: ({ position }) => placeOf.get(position ?? "") ?? -1,
    upright,
    lines: Math.max(...axis.map(({ lines }) => lines.length)),
    shape: WIDE,
  });
}

function headMap(site: Site, cells: readonly NodeCell[], shared: number): Figure {
  const heads = 1 + cells.reduce((most, { index = 0 }) => Math.max(most, index), 0);
  const figure = heatmap(cells, shared, {
    id: site,
    title: `${site}: layer × ${siteIndex(site) === "kvHead" ? "kv-head" : "head"}`,
    columns: Array.from({ length: heads }, (_, head) => ({ text: String(head), bold: false })),
    columnName: siteIndex(site) === "kvHead" ? "kv-head" : "head",
    columnOf: ({ index = 0 }) => index,
    upright: true,
    lines: 1,
    shape: NARROW,
  });
  return { ...figure, headsOf: site };
}

function neuronMap(cells: readonly NodeCell[]): Figure {
  const next = new Map<number, number>();
  const places = cells.map(({ layer }) => {
    const place = next.get(layer) ?? 0;
    next.set(layer, place + 1);
    return place;
  });
  return heatmap(cells, reach(cells), {
    id: "neuron",
    title: "neuron: the strongest of each layer",
    columns: Array.from({ length: NEURONS_PER_LAYER }, (_, place) => ({
      text: String(place + 1),
      bold: false,
    })),
    columnName: "place in its layer",
    columnOf: (_, place) => places[place],
    upright: true,
    lines: 1,
    shape: WIDE,
    textOf: ({ index, position, value, verified }, limit) =>
      `${index}@${position}\n${verified ? "" : "≈"}${cellNumber(value, limit)}`,
  });
}

function heatmap(cells: readonly NodeCell[], shared: number, grid: Grid): Figure {
  const { id, title, columns, columnOf, columnName, upright, lines, shape, textOf } = grid;
  const layers = 1 + cells.reduce((most, { layer }) => Math.max(most, layer), 0);
  const labelled = columns.length <= shape.labelledColumns;
  const labelHeight = upright ? lines * LINE_HEIGHT : Math.min(180, turnedHeight(columns));
  const height = MARGINS.top + layers * (textOf ? 1.35 * ROW_HEIGHT : ROW_HEIGHT) + labelHeight + 34;
  const scale = { shared: shared || 1, own: reach(cells) || 1 };
  const option: EChartsOption = {
    animation: false,
    grid: { left: MARGINS.left, right: MARGINS.right, top: MARGINS.top, bottom: labelHeight + 34 },
    tooltip: { trigger: "item", confine: true },
    xAxis: {
      type: "category",
      name: columnName,
      nameLocation: "middle",
      nameGap: labelHeight + 14,
      data: columns.map(({ text, bold }) =>
        bold ? { value: text, textStyle: { fontWeight: "bold" } } : text,
      ),
      axisLabel: {
        interval: columns.length <= MAX_TURNED ? 0 : "auto",
        rotate: upright ? 0 : 90,
        fontSize: FONT_SIZE,
        lineHeight: LINE_HEIGHT,
        hideOverlap: false,
      },
      axisTick: { show: false },
      splitArea: { show: true },
    },
    yAxis: {
      type: "category",
      inverse: true,
      name: "layer",
      nameLocation: "middle",
      nameGap: 34,
      data: Array.from({ length: layers }, (_, layer) => String(layer)),
      axisLabel: { fontSize: FONT_SIZE },
      axisTick: { show: false },
      splitArea: { show: true },
    },
    visualMap: {
      type: "continuous",
      dimension: 2,
      min: -scale.shared,
      max: scale.shared,
      calculable: false,
      right: 4,
      top: "middle",
      itemWidth: 14,
      itemHeight: Math.max(60, Math.min(140, layers * ROW_HEIGHT - 40)),
      text: [signedNumber(scale.shared), signedNumber(-scale.shared)],
      textGap: 6,
    },
    series: [
      {
        type: "heatmap",
        name: title,
        // Labels are of the cells that have one: the others would get their value in all its digits.
        label: { show: labelled, fontSize: 10, lineHeight: 12, textBorderWidth: 0 },
        itemStyle: { borderWidth: 0.5, borderColor: "rgba(128,128,128,0.35)" },
        emphasis: { itemStyle: { borderColor: "#808080", borderWidth: 2 } },
        data: cells.map((cell, place) => {
          const value = [columnOf(cell, place), cell.layer, cell.value];
          if (!labelled) return value;
          const faint = Math.abs(cell.value) < LEAST_SHARE * scale.shared;
          const number = faint ? "" : `${cell.verified ? "" : "≈"}${cellNumber(cell.value, scale.shared)}`;
          const text = textOf?.(cell, scale.shared) ?? number;
          return {
            value,
            label: { formatter: text, fontWeight: cell.verified ? "bold" : "normal" },
          };
        }),
      },
    ],
  };
  return {
    id,
    title,
    width: shape.width,
    minWidth: MARGINS.left + MARGINS.right + Math.min(columns.length, MAX_TURNED) * columnWidth(grid),
    height: Math.ceil(height),
    option,
    nodes: cells.map(({ node }) => node),
    scale,
  };
}

/** The least that a column's label needs. */
function columnWidth({ columns, upright }: Grid): number {
  if (!upright) return COLUMN_MIN_WIDTH;
  const lines = columns.flatMap(({ text }) => text.split("\n"));
  const longest = lines.reduce((most, line) => Math.max(most, line.length), 0);
  return Math.max(COLUMN_MIN_WIDTH, Math.ceil(longest * CHARACTER_WIDTH));
}

/** Of labels that are turned: about half the size of the font per character. */
function turnedHeight(columns: readonly Column[]): number {
  return Math.max(...columns.map(({ text }) => text.length)) * CHARACTER_WIDTH;
}
