/** @file Numbers of CSV cells as the page's JSON has them. */

import type { Cell } from "./page-data.js";

const NUMBER = /^-?\d+(\.\d+)?(e[+-]?\d+)?$/i;
const NAMED = ["NaN", "Infinity", "-Infinity"] as const;

/** Whether a cell is a number or not computed. */
export function isNumberText(text: string): boolean {
  return text === "" || NUMBER.test(text) || NAMED.some((name) => name === text);
}

/** The cell of a text for which `isNumberText` is true. */
export function cellOf(text: string): Cell {
  return text === "" ? null : jsonNumber(Number(text));
}

/** Not computed is null; JSON has no names for what is not finite. */
export function jsonNumber(value: number | undefined): Cell {
  if (value === undefined) return null;
  if (Number.isNaN(value)) return "NaN";
  if (Number.isFinite(value)) return value;
  return value > 0 ? "Infinity" : "-Infinity";
}
