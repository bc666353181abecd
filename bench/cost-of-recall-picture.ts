/**
 * @file The cost of recall as a picture: above, relative cost over k, a line per method; below, the weighted mean of each method,
 * a point per behaviour. Colours of Okabe and Ito, which colour-blind readers tell apart; methods without gradients are
 * dashed lines and squares.
 */

import { parse, View } from "vega";
import { compile, type TopLevelSpec } from "vega-lite";
import { BASELINES, type Baseline, isGradientMethod } from "./baselines/methods.js";
import type { Summary } from "./recall-results.js";

export interface PicturePanel {
  /** Its lines. */
  readonly title: readonly string[];
  /** Of every method, its best setting. */
  readonly best: readonly Summary[];
}

const COLOURS: Readonly<Record<Baseline, string>> = {
  exhaustive: "#999999",
  subsets: "#e69f00",
  blocks: "#cc79a7",
  hierarchical: "#d55e00",
  atp: "#56b4e9",
  "atp+qkfix": "#009e73",
  "atp+graddrop": "#0072b2",
  "atp*": "#000000",
};
/** Points of a curve that are drawn: even steps of log k. */
const POINTS = 36;
const WIDTH = 165;
/** Between plots, with room for numbers behind a plot. */
const SPACING = 50;
const RANK_TICKS = [1, 10, 100];
/** Of costs: those within the range. */
const COST_TICKS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000];

/** A plot within a column of plots. */
type Plot = Extract<TopLevelSpec, { vconcat: unknown }>["vconcat"][number];
/** Smallest and largest value of an axis. */
type Range = [number, number];

/** 1 … most in about even steps of the logarithm. */
function someRanks(most: number): number[] {
  const steps = Array.from({ length: POINTS }, (_, step) => Math.round(most ** (step / (POINTS - 1))));
  return [...new Set(steps)];
}

const rounded = (value: number) => Number(value.toPrecision(4));

const byMethod = { field: "method", type: "nominal" as const, sort: [...BASELINES] };
const colour = {
  ...byMethod,
  title: null,
  scale: { domain: [...BASELINES], range: BASELINES.map((method) => COLOURS[method]) },
};
const costAxis = (range: Range) => ({
  type: "quantitative" as const,
  scale: { type: "log" as const, domain: range },
});
const ticksIn = ([low, high]: Range) => COST_TICKS.filter((tick) => tick >= low && tick <= high);

function curves({ title, best }: PicturePanel, first: boolean, range: Range): Plot {
  const values = best.flatMap(({ method, curve }) =>
    someRanks(curve.length).map((k) => ({ k, cost: rounded(curve[k - 1]), method })),
  );
  return {
    width: WIDTH,
    height: 250,
    title: { text: [...title], fontSize: 12, anchor: "start", frame: "group" },
    data: { values },
    mark: { type: "line", strokeWidth: 1.8 },
    encoding: {
      x: {
        field: "k",
        type: "quantitative",
        scale: { type: "log", nice: false },
        title: "k, true top k to verify",
        axis: { values: RANK_TICKS },
      },
      y: {
        field: "cost",
        ...costAxis(range),
        title: first ? "cost of top k ÷ oracle's" : null,
        axis: { values: ticksIn(range), format: "~g", labels: first },
      },
      color: colour,
      strokeDash: {
        ...byMethod,
        title: null,
        scale: {
          domain: [...BASELINES],
          range: BASELINES.map((method) => (isGradientMethod(method) ? [1, 0] : [5, 3])),
        },
      },
    },
  };
}

function means({ best }: PicturePanel, first: boolean, range: Range): Plot {
  const values = best.flatMap(({ method, byBehaviour }) =>
    [...byBehaviour.values()].map((mean) => ({ method, mean: rounded(mean) })),
  );
  const ofAll = best.map(({ method, mean }) => ({ method, mean: rounded(mean), text: mean.toPrecision(3) }));
  const y = { ...byMethod, title: null, axis: { labels: first, ticks: false, grid: true } };
  const x = {
    field: "mean",
    ...costAxis(range),
    title: "weighted mean over k",
    axis: { values: ticksIn(range), format: "~g" },
  };
  return {
    width: WIDTH,
    height: 170,
    layer: [
      {
        data: { values },
        mark: { type: "point", size: 20, opacity: 0.8 },
        encoding: { x, y, color: colour },
      },
      {
        data: { values: ofAll },
        mark: { type: "tick", thickness: 3, size: 15 },
        encoding: { x, y, color: colour },
      },
      {
        data: { values: ofAll },
        mark: { type: "text", align: "left", fontSize: 11 },
        encoding: { x: { value: WIDTH + 5 }, y, text: { field: "text" } },
      },
    ],
  };
}

/** From 1 to a bit more than the largest. */
function rangeOf(values: readonly number[]): Range {
  return [1, 1.1 * Math.max(...values)];
}

/**
 * The picture as SVG.
 * @param unit what costs are counted in, for the title
 * @param model its name, likewise
 */
export async function recallPicture(
  panels: readonly PicturePanel[],
  { unit, model }: { readonly unit: string; readonly model: string },
): Promise<string> {
  const best = panels.flatMap((panel) => panel.best);
  const ofCurves = rangeOf(best.flatMap(({ curve }) => curve));
  const ofMeans = rangeOf(best.flatMap(({ byBehaviour }) => [...byBehaviour.values()]));
  const row = { bounds: "flush" as const, spacing: SPACING };
  const spec: TopLevelSpec = {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    background: "white",
    padding: 10,
    title: {
      text: "What it takes to find the nodes that matter, compared with knowing them",
      subtitle: [
        `${model}, geometric mean over behaviours; cost in ${unit}.`,
        "Below: inverse-rank-weighted geometric mean of the curves, a point per behaviour. Dashed: methods without gradients.",
      ],
      anchor: "start",
      fontSize: 15,
      subtitleFontSize: 12,
      offset: 12,
    },
    vconcat: [
      { ...row, hconcat: panels.map((panel, at) => curves(panel, at === 0, ofCurves)) },
      { ...row, hconcat: panels.map((panel, at) => means(panel, at === 0, ofMeans)) },
    ],
    resolve: { scale: { color: "shared", strokeDash: "shared" } },
    config: {
      aria: false,
      font: "DejaVu Sans, Verdana, sans-serif",
      axis: { labelFontSize: 11, titleFontSize: 11, titleFontWeight: "normal" },
      legend: {
        orient: "right",
        labelFontSize: 12,
        symbolType: "stroke",
        symbolSize: 300,
        symbolStrokeWidth: 2.5,
      },
    },
  };
  const view = new View(parse(compile(spec).spec), { renderer: "none" });
  const svg = await view.toSVG();
  view.finalize();
  return `${withoutBallast(svg)}\n`;
}

/** Coordinates to tenths of a pixel, and nothing that is only for scripts or is the default anyway. */
function withoutBallast(svg: string): string {
  const inTenths = (number: string) => String(Number(Number(number).toFixed(1)));
  return svg
    .replace(/ (?:class|pointer-events)="[^"]*"| opacity="1"| stroke-width="1"/g, "")
    .replace(/(?<= (?:d|transform|x|y|x2|y2)=")[^"]*/g, (coordinates) =>
      coordinates.replace(/\d+\.\d{2,}/g, inTenths),
    );
}
