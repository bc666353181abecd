/** @file What the bench of costs of recall leaves behind: tables for the terminal, CSV files, pictures. */

import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import Table from "cli-table3";
import { writeAtomically } from "../src/atomic-file.js";
import { streamCsv } from "../src/report/stream-csv.js";
import { isGradientMethod } from "./baselines/methods.js";
import { recallPicture } from "./cost-of-recall-picture.js";
import { bestSettings, type Result, type Summary, UNITS, type Unit } from "./recall-results.js";

/** Nodes of a kind, on single pairs or on several. */
export interface Panel {
  readonly nodes: string;
  readonly pairs: string;
  readonly byUnit: Readonly<Record<Unit, readonly Summary[]>>;
  readonly results: readonly Result[];
}

/** Of a CSV file. */
type Cell = string | number | boolean;

const UNIT_NAMES: Readonly<Record<Unit, string>> = {
  run: "forward equivalents that ran",
  patches: "patches and passes (Kramár et al.)",
};

const smallest = (some: readonly Summary[]) => some.reduce((a, b) => (b.mean < a.mean ? b : a));

/** Every method in its best setting, and how those with gradients compare with the best of those without. */
export function panelText({ nodes, pairs, byUnit }: Panel, unit: Unit): string {
  const best = bestSettings(byUnit[unit]);
  const behaviours = [...best[0].byBehaviour.keys()];
  const table = new Table({
    head: ["method", "best setting", ...behaviours, "mean"],
    style: { head: [], border: [], compact: true },
    colAligns: ["left", "left", ...behaviours.map(() => "right" as const), "right"],
  });
  for (const { method, setting, byBehaviour, mean } of best) {
    table.push([method, setting, ...[...byBehaviour.values(), mean].map((value) => value.toFixed(2))]);
  }
  const without = smallest(best.filter(({ method }) => !isGradientMethod(method)));
  const ratios = best
    .filter(({ method }) => isGradientMethod(method))
    .map(({ method, mean }) => `${method} ${(mean / without.mean).toFixed(3)}`);
  return [
    `${nodes}, ${pairs}: cost ÷ oracle's in ${UNIT_NAMES[unit]}, geometric mean over k weighted by 1/k`,
    table.toString(),
    `÷ ${without.method}, the best without gradients: ${ratios.join(", ")}`,
  ].join("\n");
}

/** Every method in its best setting, on every behaviour, for every k. */
function curveRows({ nodes, pairs, byUnit, results }: Panel): Cell[][] {
  return UNITS.flatMap((unit) => {
    const best = bestSettings(byUnit[unit]);
    const isBest = ({ method, setting }: Result) =>
      best.some((one) => one.method === method && one.setting === setting);
    return results.filter(isBest).flatMap(({ behaviour, method, setting, relative }) =>
      relative[unit].map((cost, at) => {
        const k = at + 1;
        return [nodes, pairs, unit, behaviour, method, setting, k, cost.toPrecision(6)];
      }),
    );
  });
}

/** Every method in every setting. */
function meanRows({ nodes, pairs, byUnit }: Panel): Cell[][] {
  return UNITS.flatMap((unit) => {
    const best = bestSettings(byUnit[unit]);
    return byUnit[unit].map((summary) => {
      const { method, setting, byBehaviour, mean } = summary;
      const means = [...byBehaviour.values(), mean].map((value) => value.toPrecision(6));
      return [nodes, pairs, unit, method, setting, best.includes(summary), ...means];
    });
  });
}

async function writeCsv(path: string, header: readonly string[], rows: readonly Cell[][]): Promise<void> {
  await streamCsv(path, { header, rows, cellsOf: (cells) => cells.map(String) });
}

/**
 * Writes curves.csv, means.csv, and a picture per unit: run.svg, patches.svg.
 * @param folder made if need be
 * @param model its name, for the picture
 * @param picture where to write the picture of what ran as well
 */
export async function writeReport(
  panels: readonly Panel[],
  { folder, model, picture }: { readonly folder: string; readonly model: string; readonly picture?: string },
): Promise<void> {
  await mkdir(folder, { recursive: true });
  const behaviours = [...panels[0].byUnit.run[0].byBehaviour.keys()];
  await writeCsv(
    join(folder, "curves.csv"),
    ["nodes", "pairs", "unit", "behaviour", "method", "setting", "k", "relative_cost"],
    panels.flatMap(curveRows),
  );
  await writeCsv(
    join(folder, "means.csv"),
    ["nodes", "pairs", "unit", "method", "setting", "best", ...behaviours, "mean"],
    panels.flatMap(meanRows),
  );
  for (const unit of UNITS) {
    const plots = panels.map(({ nodes, pairs, byUnit }) => ({
      title: [nodes, pairs],
      best: bestSettings(byUnit[unit]),
    }));
    const svg = await recallPicture(plots, { unit: UNIT_NAMES[unit], model });
    await writeAtomically(join(folder, `${unit}.svg`), (handle) => handle.writeFile(svg));
    if (unit !== "run" || picture === undefined) continue;
    await mkdir(dirname(picture), { recursive: true });
    await writeAtomically(picture, (handle) => handle.writeFile(svg));
  }
}
