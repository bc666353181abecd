/** @file The windows of `atp sweep --window`: run, saved, printed. */

import { writeJson } from "../atomic-file.js";
import { meanOf } from "../exact/pair-statistics.js";
import { windowMetrics, writeMetricsCsv } from "../report/metrics-csv.js";
import { writeWindowsCsv } from "../report/windows-csv.js";
import { windowsTable } from "../report/windows-table.js";
import { rankedWindows, sweepWindows, type WindowOptions, type WindowRanking } from "../sweep-windows.js";
import { type CliContext, printResult } from "./context.js";
import type { StartedRun } from "./prepare-run.js";
import { heading, labelled } from "./print-run.js";
import { reportOfRun } from "./report-command.js";
import { beginList, describeAlsoMetrics, describeRun, overPairs, pairsOf, SHOWN_ROWS } from "./save-run.js";

export async function runWindows(
  run: StartedRun,
  options: WindowOptions,
  context: CliContext,
): Promise<void> {
  const ranking = await sweepWindows(run.model, run.pairs, {
    ...options,
    async onInterrupted(soFar) {
      const interrupted = `${soFar.starts.length} windows${overPairs(run, pairsOf(soFar.scores))}`;
      await saveWindows(run, soFar, { interrupted });
      context.saved = `${interrupted}, are in ${run.results.path("windows")}`;
    },
  });
  run.clock.lap("verify");
  run.progress.finish();
  const summary = await saveWindows(run, ranking);
  const { forwardEquivalents, starts, shape } = ranking;
  const { results } = run;
  const { seconds } = run.clock;
  const files = {
    windows: results.path("windows"),
    metrics: results.path("metrics"),
    summary: results.path("summary"),
  };
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

/** Writes windows.csv and metrics.csv between the two versions of summary.json. */
async function saveWindows(
  run: StartedRun,
  ranking: WindowRanking,
  { interrupted }: { readonly interrupted?: string } = {},
) {
  const { results } = run;
  const { metrics, forwardEquivalents, starts, shape } = ranking;
  const [{ base, source }] = metrics;
  const begun = {
    ...describeRun(run, { base: meanOf(base), source: meanOf(source) }),
    state: "running" as const,
    ...describeAlsoMetrics(metrics),
    windows: { ...shape, ranked: starts.length },
    forwardEquivalents: { estimate: 0, verify: forwardEquivalents },
    seconds: run.clock.seconds,
  };
  const control = { run: run.run };
  await beginList(run, begun);
  await results.removeList();
  await writeWindowsCsv(results.path("windows"), rankedWindows(ranking), control);
  await writeMetricsCsv(results.path("metrics"), windowMetrics(ranking), control);
  const summary = {
    ...begun,
    state: interrupted === undefined ? ("done" as const) : ("interrupted" as const),
    ...(interrupted !== undefined && { interrupted: { text: interrupted } }),
  };
  await writeJson(results.path("summary"), summary);
  return summary;
}
