/** @file What the page's own script gets: the ranked list in columns, other tables, figures. Embedded as JSON. */

import type { EChartsOption } from "echarts";

/** A number of a file; null is "not computed". JSON has no names for these three. */
export type Cell = number | null | "NaN" | "Infinity" | "-Infinity";

/** Columns of numbers of a ranked list, by their name in ranked.csv. */
export type NumberColumn =
  | "rank"
  | "contribution"
  | "estimate_contribution"
  | "estimate_mean"
  | "estimate_se"
  | "effect_contribution"
  | "effect_mean"
  | "effect_se"
  | "recovered"
  | "pairs"
  | "saturation_gap"
  | "cancellation_ratio";

/** Rows of a ranked list, best first. All columns have as many entries. */
export interface RankedColumns {
  readonly sites: readonly string[];
  readonly positions: readonly (number | string)[];
  /** Made visible: in quotes, with escapes. */
  readonly tokens: readonly string[];
  /** Place in `sites`. */
  readonly site: readonly number[];
  readonly layer: readonly number[];
  readonly index: readonly (number | null)[];
  /** Place in `positions`. */
  readonly position: readonly number[];
  /** Place in `tokens`. */
  readonly token: readonly (number | null)[];
  /** 1 where the effect was computed exactly. */
  readonly verified: readonly (0 | 1)[];
  /** 1 where the estimate missed the node, as `missedNodes` defines it. */
  readonly missed: readonly (0 | 1)[];
  /** A column without any number is left out. */
  readonly numbers: Readonly<Partial<Record<NumberColumn, readonly Cell[]>>>;
}

/** Any other CSV of the folder, as a table. */
export interface Sheet {
  /** Such as "metrics". */
  readonly id: string;
  readonly file: string;
  readonly columns: readonly { readonly name: string; readonly isNumber: boolean }[];
  readonly rows: readonly (readonly (Cell | string)[])[];
  /** Rows of the file. */
  readonly total: number;
}

/** One chart. `option` is data alone, so that the page and `--svg` draw the same. */
export interface Figure {
  /** Also the name of its SVG file. */
  readonly id: string;
  readonly title: string;
  /** In pixels; on the page the width follows the window, down to `minWidth`. */
  readonly width: number;
  readonly minWidth: number;
  readonly height: number;
  readonly option: EChartsOption;
  /** Node ids of the first series' data, in their order; heads that are summed over positions have no "@". */
  readonly nodes?: readonly string[];
  /** Colours are centred on 0 and reach so far on either side. */
  readonly scale?: { readonly shared: number; readonly own: number };
  /** The site whose heads it shows: it can be redrawn for one position. */
  readonly headsOf?: string;
}

/** Colours and fonts; an ECharts theme. */
export type Theme = Readonly<Record<string, unknown>>;

export interface PageData {
  readonly ranked?: RankedColumns;
  /** Ranks of the rows that unverified nodes could displace, both included: `OpenRows`. */
  readonly openRows?: { readonly first: number; readonly last: number };
  readonly sheets: readonly Sheet[];
  readonly figures: readonly Figure[];
  readonly themes: { readonly light: Theme; readonly dark: Theme };
}
