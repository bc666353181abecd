/**
 * @file Colours of the figures, light (also for paper) and dark, as ECharts themes.
 *
 * The diverging scales run from blue to red and differ in lightness from their centre alike on both sides: ColorBrewer's
 * RdBu (Brewer & Harrower), which readers with any of the common colour blindnesses can tell apart, and for the dark a
 * scale of the same hues that is darkest in the centre, as "berlin" of Crameri's Scientific colour maps. Lines are of Okabe
 * & Ito's palette.
 */

import type { Theme } from "./page-data.js";

interface Palette {
  readonly text: string;
  readonly faint: string;
  readonly ground: string;
  /** Cells that were not computed show it. */
  readonly empty: string;
  readonly series: readonly string[];
  /** From negative to positive. */
  readonly diverging: readonly string[];
}

const FONT = "system-ui, 'Segoe UI', 'Liberation Sans', 'DejaVu Sans', Arial, sans-serif";

const LIGHT: Palette = {
  text: "#1f2328",
  faint: "#d0d5da",
  ground: "#ffffff",
  empty: "#dde1e5",
  series: ["#0072b2", "#d55e00", "#009e73", "#6e6e6e"],
  diverging: [
    "#053061",
    "#2166ac",
    "#4393c3",
    "#92c5de",
    "#d1e5f0",
    "#f7f7f7",
    "#fddbc7",
    "#f4a582",
    "#d6604d",
    "#b2182b",
    "#67001f",
  ],
};

const DARK: Palette = {
  text: "#e6e9ec",
  faint: "#454b52",
  ground: "#16191d",
  empty: "#0b0d10",
  series: ["#56b4e9", "#e69f00", "#2fd3a2", "#a7adb3"],
  diverging: [
    "#c3dcff",
    "#8abcf5",
    "#5496d4",
    "#356a9b",
    "#2a4763",
    "#2b2e33",
    "#5c3a33",
    "#95503f",
    "#cf6f55",
    "#f0a08a",
    "#ffd5c8",
  ],
};

export const LIGHT_THEME = themeOf(LIGHT);
export const DARK_THEME = themeOf(DARK);

function themeOf({ text, faint, ground, empty, series, diverging }: Palette): Theme {
  const label = { color: text, fontFamily: FONT };
  const axis = {
    axisLine: { lineStyle: { color: text } },
    axisTick: { lineStyle: { color: text } },
    axisLabel: label,
    nameTextStyle: label,
    splitLine: { lineStyle: { color: faint } },
    splitArea: { areaStyle: { color: [empty, empty] } },
  };
  return {
    color: series,
    backgroundColor: "transparent",
    textStyle: label,
    title: { textStyle: label, subtextStyle: label },
    legend: { textStyle: label },
    categoryAxis: axis,
    valueAxis: axis,
    logAxis: axis,
    visualMap: { textStyle: label, inRange: { color: diverging }, outOfRange: { color: diverging } },
    scatter: { label: label },
    tooltip: {
      backgroundColor: ground,
      borderColor: faint,
      textStyle: { ...label, fontSize: 13 },
    },
  };
}
