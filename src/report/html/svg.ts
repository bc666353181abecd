/** @file Figures as SVG for a paper: the page's own options, drawn without a browser. */

import { PAGE_META } from "../../results/result-files.js";
import type { Figure } from "./page-data.js";
import { LIGHT_THEME } from "./themes.js";

/**
 * Text of an SVG file, on white.
 * @param run whose figure it is: it says so
 */
export async function figureSvg(
  { option, width, minWidth, height, title }: Figure,
  run = "unknown",
): Promise<string> {
  // It takes half a second to load, and most reports do without.
  const { init } = await import("echarts");
  const chart = init(
    null,
    { ...LIGHT_THEME, backgroundColor: "#ffffff" },
    {
      renderer: "svg",
      ssr: true,
      width: Math.max(width, minWidth),
      height,
    },
  );
  try {
    const still = [option.series ?? []]
      .flat()
      .map((series) => ({ ...series, silent: true, emphasis: { disabled: true } }));
    chart.setOption({ ...option, series: still });
    return `<?xml version="1.0" encoding="UTF-8"?>\n<!-- ${title.replaceAll("--", "- -")} ${PAGE_META} ${run} -->\n${chart.renderToSVGString()}\n`;
  } finally {
    chart.dispose();
  }
}
