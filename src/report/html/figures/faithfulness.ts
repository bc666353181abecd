/** @file Faithfulness curves over ln(1 + k), the axis that the area is taken over. */

import type { EChartsOption } from "echarts";
import type { FaithfulnessContent } from "../../../results/schemas.js";
import type { Figure } from "../page-data.js";

/** Share of the axis that two labels of k must lie apart. */
const LABEL_DISTANCE = 0.075;

/** Undefined where f does not exist, because base and source runs have the same mean metric. */
export function faithfulnessFigure({
  points,
  keepArea,
  removeArea,
}: FaithfulnessContent): Figure | undefined {
  const last = points.at(-1);
  if (!last || last.k === 0 || !keepArea || !removeArea) return undefined;
  const x = (k: number) => Math.log1p(k) / Math.log1p(last.k);
  const curve = (name: string, side: "keep" | "remove", symbol: string, area: boolean) => ({
    type: "line" as const,
    name,
    symbol,
    symbolSize: 7,
    ...(area && { areaStyle: { opacity: 0.12 } }),
    data: points.map(({ k, [side]: { faithfulness } }) => ({
      name: String(k),
      value: [x(k), faithfulness ?? null],
    })),
  });
  const keepName = `keep only them: area ${keepArea.logShare.toFixed(3)}`;
  const removeName = `patch only them: area ${removeArea.logShare.toFixed(3)}`;
  const bottom = bottomOf(points);
  const option: EChartsOption = {
    animation: false,
    grid: { left: 66, right: 24, top: 40, bottom: 56 },
    legend: { top: 4, itemGap: 26, data: [keepName, removeName] },
    tooltip: { trigger: "item", confine: true },
    xAxis: {
      type: "value",
      min: 0,
      max: 1,
      name: "first k nodes of the list (even steps of ln(1 + k))",
      nameLocation: "middle",
      nameGap: 30,
      axisLine: { onZero: false },
      axisTick: { show: false },
      axisLabel: { show: false },
      splitLine: { show: false },
    },
    yAxis: { type: "value", min: bottom, name: "faithfulness f", nameLocation: "middle", nameGap: 42 },
    series: [
      curve(keepName, "keep", "circle", true),
      curve(removeName, "remove", "emptyTriangle", false),
      {
        type: "scatter",
        name: "k",
        silent: true,
        symbolSize: 0.1,
        data: spaced(points.map(({ k }) => ({ name: String(k), value: [x(k), bottom] }))),
        label: { show: true, formatter: "{b}", position: "bottom", distance: 4, fontSize: 11 },
        clip: false,
        tooltip: { show: false },
      },
    ],
  };
  return { id: "faithfulness", title: "Faithfulness", width: 620, minWidth: 360, height: 400, option };
}

/** Where the y axis begins: 0, or a whole tenth below the lowest value. */
function bottomOf(points: FaithfulnessContent["points"]): number {
  const values = points.flatMap(({ keep, remove }) => [keep.faithfulness ?? 0, remove.faithfulness ?? 0]);
  return Math.min(0, Math.floor(Math.min(...values) * 10) / 10);
}

/** Labels that do not run into each other; the first and the last are always there. */
function spaced<Label extends { readonly value: readonly number[] }>(labels: readonly Label[]): Label[] {
  const kept: Label[] = [];
  const end = labels.at(-1);
  for (const label of labels) {
    const before = kept.at(-1)?.value[0] ?? Number.NEGATIVE_INFINITY;
    const clearOfEnd = label === end || (end?.value[0] ?? 1) - label.value[0] >= LABEL_DISTANCE;
    if (label === end || (label.value[0] - before >= LABEL_DISTANCE && clearOfEnd)) kept.push(label);
  }
  return kept;
}
