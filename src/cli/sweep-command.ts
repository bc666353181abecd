/** @file `atp sweep`: the exact effect of every selected node, or of every window over the selected nodes. */

import { type CostAhead, costAhead } from "../exact/cost-ahead.js";
import { windowStarts } from "../exact/windows.js";
import { spaceOfSelection, sweep } from "../localize.js";
import { type Site, sitesOf } from "../model/sites.js";
import { nodeMetrics } from "../report/metrics-csv.js";
import { type CliContext, printNote } from "./context.js";
import type { PlannedWork } from "./memory-plan.js";
import { drawsOf } from "./noise.js";
import type { SweepCommandOptions } from "./options.js";
import { type PreparedRun, withRun } from "./prepare-run.js";
import { listFiles, printRun } from "./print-run.js";
import { reportOfRun } from "./report-command.js";
import { saveInterrupted, saveRun } from "./save-run.js";
import { withSource } from "./source.js";
import { runWindows } from "./sweep-windows.js";

export async function sweepCommand(options: SweepCommandOptions, context: CliContext): Promise<void> {
  const { window: shape, nodes, positions } = options;
  await withRun(
    "sweep",
    options,
    context,
    (prepared) => announced(prepared, options),
    (prepared) => sweepWork(prepared, options),
    (run, sites) =>
      withSource(run, sites, async (runOptions) => {
        const swept = { ...runOptions, nodes, positions, alsoMetrics: run.alsoMetrics };
        if (shape) {
          await runWindows(run, { ...swept, window: shape }, context);
          return;
        }
        const ranking = await sweep(run.model, run.pairs, {
          ...swept,
          onInterrupted: (soFar) =>
            saveInterrupted(run, soFar, spaceOfSelection(run.model.config, run.pairs, swept).size, context, {
              bestOnly: true,
              metrics: nodeMetrics(soFar),
            }),
        });
        run.clock.lap("verify");
        const saved = await saveRun(run, ranking, {
          state: "done",
          bestOnly: true,
          metrics: nodeMetrics(ranking),
        });
        const files = { ...listFiles(run, ["metrics"]), ...(await reportOfRun(options)) };
        printRun(saved, files, options.json === true);
      }),
  );
}

/** What a plan of it is made of. */
export function sweepWork(
  { opened: { config }, pairs, noise }: PreparedRun,
  { nodes, positions, window: shape }: Pick<SweepCommandOptions, "nodes" | "positions" | "window">,
): PlannedWork {
  const space = spaceOfSelection(config, pairs, { nodes, positions });
  if (!shape) return { space, patches: { nodes: space.size } };
  const draws = drawsOf(noise);
  return {
    space,
    patches: { sets: costAhead(config, pairs, { space, starts: windowStarts(space, shape), draws, shape }) },
  };
}

/**
 * Checks that model and pairs have what is selected, and says on stderr what is to be done.
 * @returns the selected sites
 * @throws InputError
 */
function announced(
  { opened: { config }, pairs, noise }: PreparedRun,
  { nodes, positions, window: shape }: SweepCommandOptions,
): readonly Site[] {
  const space = spaceOfSelection(config, pairs, { nodes, positions });
  const starts = shape
    ? windowStarts(space, shape)
    : Uint32Array.from({ length: space.size }, (_, node) => node);
  const draws = drawsOf(noise);
  const cost = costAhead(config, pairs, { space, starts, draws, ...(shape && { shape }) });
  printNote(costText(cost, `${count(starts.length)} ${shape ? "windows" : "nodes"}`, pairs.length, draws));
  const swept = new Set(space.groups.map(({ site }) => site));
  return sitesOf(config).filter((site) => swept.has(site));
}

function costText(
  { patchedRuns, forwardEquivalents }: CostAhead,
  what: string,
  pairs: number,
  draws: number,
) {
  const factors = [what, `${count(pairs)} pairs`, ...(draws > 1 ? [`${count(draws)} draws`] : [])].join(
    " × ",
  );
  return `sweep: ${factors}: at most ${count(patchedRuns)} patched runs, ${count(Math.ceil(forwardEquivalents))} forward equivalents`;
}

function count(value: number): string {
  return value.toLocaleString("en-US");
}
