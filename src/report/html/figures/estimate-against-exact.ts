/** @file Estimate against exact effect, one mark per node that has both. */

import type { EChartsOption } from "echarts";
import type { ComparedNode } from "../missed-nodes.js";
import type { Figure } from "../page-data.js";
import type { RankedContent } from "../ranked-content.js";

/** Of the axes: what is smaller, and 0, which a logarithmic axis does not have, stands at the edge. */
const MOST_DECADES = 5;

const DIAGONAL = "estimate = effect";

/** All are there in every figure, so that each has its colour. */
const GROUPS = [
  { kind: "below", name: "effect below 0", symbol: "circle", size: 9 },
  { kind: "above", name: "effect above 0", symbol: "triangle", size: 9 },
  { kind: "missed", name: "missed by the estimate", symbol: "diamond", size: 15 },
];

/** Fewer say nothing about estimates. */
const LEAST_NODES = 3;

/** Undefined for fewer than three nodes that can be compared. */
export function estimateAgainstExact(
  { compared, missed }: Pick<RankedContent, "compared" | "missed">,
  metric: string,
): Figure | undefined {
  const places = [...compared.keys()].filter((node) => isComparable(compared[node]));
  if (places.length < LEAST_NODES) return undefined;
  const values = places.flatMap((node) => [
    compared[node].effectContribution,
    compared[node].estimateContribution,
  ]);
  const positive = values.filter((value) => value > 0);
  if (positive.length === 0) return undefined;
  const largest = positive.reduce((most, value) => Math.max(most, value));
  const smallest = positive.reduce((least, value) => Math.min(least, value));
  const max = 10 ** Math.ceil(Math.log10(largest * 1.05));
  const min = Math.max(10 ** Math.floor(Math.log10(smallest * 0.95)), max * 10 ** -MOST_DECADES);
  const clamp = (value: number) => Math.max(value, min);
  const kind = (node: number) => {
    if (missed.has(node)) return "missed";
    return compared[node].effectMean > 0 ? "above" : "below";
  };
  const groups = GROUPS.map((group) => ({
    ...group,
    nodes: places.filter((node) => kind(node) === group.kind),
  }));
  const option: EChartsOption = {
    animation: false,
    grid: { left: 78, right: 24, top: 40, bottom: 56 },
    legend: {
      top: 4,
      itemGap: 26,
      data: [...groups.filter(({ nodes }) => nodes.length > 0).map(({ name }) => name), DIAGONAL],
    },
    tooltip: { trigger: "item", confine: true },
    xAxis: {
      type: "log",
      min,
      max,
      name: `exact contribution (${metric})`,
      nameLocation: "middle",
      nameGap: 30,
    },
    yAxis: {
      type: "log",
      min,
      max,
      name: `estimated contribution (${metric})`,
      nameLocation: "middle",
      nameGap: 52,
    },
    series: [
      ...groups.map(({ name, symbol, size, nodes }) => ({
        type: "scatter" as const,
        name,
        symbol,
        symbolSize: size,
        itemStyle: { opacity: 0.8 },
        data: nodes.map((node) => ({
          name: compared[node].node,
          value: [clamp(compared[node].effectContribution), clamp(compared[node].estimateContribution)],
        })),
        ...(symbol === "diamond" && {
          label: {
            show: nodes.length <= 12,
            formatter: "{b}",
            position: "right" as const,
            fontSize: 11,
          },
        }),
        z: symbol === "diamond" ? 3 : 2,
      })),
      {
        type: "line",
        name: DIAGONAL,
        data: [
          [min, min],
          [max, max],
        ],
        symbol: "none",
        silent: true,
        lineStyle: { type: "dashed", width: 1 },
        z: 1,
      },
    ],
  };
  return {
    id: "estimate-against-exact",
    title: "Estimate against exact effect",
    width: 620,
    minWidth: 360,
    height: 520,
    option,
  };
}

function isComparable({ effectContribution, estimateContribution }: ComparedNode): boolean {
  return Number.isFinite(effectContribution) && Number.isFinite(estimateContribution);
}
