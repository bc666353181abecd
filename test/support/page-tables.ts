/** @file The tables of a page in docs/, for tests that compare its numbers with their own. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { projectRoot } from "./child-process.js";

/**
 * The rows of a page's tables with so many cells, heads and rules left out, each as its cells joined by " | ".
 * @param page file name in docs/
 */
export function tableRows(page: string, cells: number): string[] {
  const lines = readFileSync(join(projectRoot, "docs", page), "utf8").split("\n");
  const isRule = (line: string | undefined) => /^\|[ |:-]+\|$/.test(line ?? "");
  return lines
    .filter((line, at) => line.startsWith("|") && !isRule(line) && !isRule(lines[at + 1]))
    .map((line) =>
      line
        .split("|")
        .slice(1, -1)
        .map((text) => text.trim()),
    )
    .filter((row) => row.length === cells)
    .map((row) => row.join(" | "));
}

/** A number as a page prints it: up to four digits, with a real minus sign. */
export function pageNumber(value: number): string {
  return String(Number(value.toPrecision(4))).replace("-", "−");
}
