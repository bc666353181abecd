/** @file The bound on what was not verified, as it shrank while samples came in. */

import type { EChartsOption } from "echarts";
import type { CertificateContent } from "../../../results/schemas.js";
import type { Figure } from "../page-data.js";

/** Undefined where nothing was sampled. */
export function boundFigure({ sampling }: CertificateContent, metric: string): Figure | undefined {
  if (!sampling || sampling.looks.length === 0) return undefined;
  const looks = samplesInAll(sampling.looks);
  const rounds = [...new Set(looks.map(({ round }) => round))];
  const curve = (name: string, read: (look: (typeof looks)[number]) => number | undefined) => ({
    type: "line" as const,
    name,
    symbolSize: 7,
    // A round begins anew, with other nodes: no line leads from one to the next.
    connectNulls: false,
    data: rounds.flatMap((round) => [
      ...looks
        .filter((look) => look.round === round)
        .map((look) => [look.all, read(look) ?? null, look.look]),
      [Number.NaN, null, 0],
    ]),
  });
  const values = looks.flatMap(({ plain, controlled, threshold }) => [
    plain.bound,
    controlled.bound,
    threshold,
  ]);
  const positive = values.every((value) => value === undefined || value > 0);
  const option: EChartsOption = {
    animation: false,
    grid: { left: 78, right: 24, top: 40, bottom: 56 },
    legend: { top: 4, itemGap: 26 },
    tooltip: { trigger: "item", confine: true },
    xAxis: {
      type: "value",
      min: 0,
      name: rounds.length > 1 ? `samples, ${rounds.length} rounds` : "samples",
      nameLocation: "middle",
      nameGap: 30,
    },
    yAxis: {
      type: positive ? "log" : "value",
      name: `bound (${metric})`,
      nameLocation: "middle",
      nameGap: 52,
    },
    series: [
      {
        ...curve("bound", ({ controlled }) => controlled.bound),
        symbol: "circle",
        lineStyle: { width: 2.5 },
      },
      {
        ...curve("bound without control variate", ({ plain }) => plain.bound),
        symbol: "emptyTriangle",
        lineStyle: { type: "dotted" as const },
      },
      {
        type: "line",
        name: "k-th verified contribution",
        step: "end",
        symbol: "none",
        lineStyle: { type: "dashed" },
        data: [[0, looks[0].threshold], ...looks.map(({ all, threshold }) => [all, threshold])],
      },
    ],
  };
  return {
    id: "bound",
    title: "The bound on what was not verified",
    width: 620,
    minWidth: 360,
    height: 400,
    option,
  };
}

/** The looks with the samples of the earlier rounds counted in. */
function samplesInAll(looks: NonNullable<CertificateContent["sampling"]>["looks"]) {
  let before = 0;
  let last = { round: 0, samples: 0 };
  return looks.map((look) => {
    if (look.round !== last.round) before += last.samples;
    last = look;
    return { ...look, all: before + look.samples };
  });
}
