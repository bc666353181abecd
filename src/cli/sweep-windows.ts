/** @file The windows of `atp sweep --window`: run, saved, printed. */

import { join } from "node:path";
import { meanOf } from "../exact/pair-statistics.js";
import { writeJson } from "../report/atomic-file.js";
import { windowMetrics, writeMetricsCsv } from "../report/metrics-csv.js";
import { writeWindowsCsv } from "../report/windows-csv.js";
import { windowsTable } from "../report/windows-table.js";
import { rankedWindows, sweepWindows, type WindowOptions } from "../sweep-windows.js";
import { type CliContext, printResult } from "./context.js";
import type { StartedRun } from "./prepare-run.js";
import { heading, labelled } from "./print-run.js";
import { reportOfRun } from "./report-command.js";
import { describeAlsoMetrics, describeRun, SHOWN_ROWS } from "./save-run.js";

export function windowFiles(folder: string) {
  return {
    windows: join(folder, "windows.csv"),
    metrics: join(folder, "metrics.csv"),
    summary: join(folder, "summary.json"),
  };
}

/** Writes windows.csv, metrics.csv, then summary.json. */
export async function runWindows(
  run: StartedRun,
  options: WindowOptions,
  { signal }: CliContext,
): Promise<void> {
  const ranking = await sweepWindows(run.model, run.pairs, options);
  run.clock.lap("verify");
  run.progress.finish();
  const files = windowFiles(run.options.out);
  await writeWindowsCsv(files.windows, rankedWindows(ranking), { signal });
  await writeMetricsCsv(files.metrics, windowMetrics(ranking), { signal });
  const { metrics, forwardEquivalents, starts, shape } = ranking;
  const [{ base, source }] = metrics;
  const { seconds } = run.clock;
  const summary = {
    ...describeRun(run, { base: meanOf(base), source: meanOf(source) }),
    ...describeAlsoMetrics(metrics),
    windows: { ...shape, ranked: starts.length },
    forwardEquivalents: { estimate: 0, verify: forwardEquivalents },
    seconds,
  };
  await writeJson(files.summary, summary);
  const written = { ...files, ...(await reportOfRun(run.options)) };
  const rows = [...rankedWindows(ranking, { limit: SHOWN_ROWS })];
  if (run.options.json) {
    printResult(JSON.stringify({ ...summary, files: written, rows }, undefined, 2));
    return;
  }
  const footing = labelled([
    ["windows", `${starts.length} of ${shape.width} ${shape.over}, patched exactly`],
    [
      "cost",
      `load ${seconds.load.toFixed(2)} s, verify ${forwardEquivalents.toFixed(1)} forward equivalents in ${seconds.verify.toFixed(2)} s`,
    ],
    ["files", Object.values(written).join(", ")],
  ]);
  printResult([heading(summary), "", windowsTable(rows, run.pairs.length), "", footing].join("\n"));
}
