/** @file `atp estimate`: all selected nodes by attribution patching. */

import { checkGradient } from "../atp/batches.js";
import { checkMethod } from "../atpstar/estimate.js";
import { estimate, spaceOfSelection } from "../localize.js";
import type { Site } from "../model/sites.js";
import { makeNodeSpace, parseSites } from "../nodes/node-space.js";
import { positionLabels } from "../nodes/positions.js";
import type { CliContext } from "./context.js";
import type { EstimateCommandOptions } from "./options.js";
import { type PreparedRun, withRun } from "./prepare-run.js";
import { listFiles, printRun } from "./print-run.js";
import { reportOfRun } from "./report-command.js";
import { saveRun } from "./save-run.js";
import { withSource } from "./source.js";

export async function estimateCommand(options: EstimateCommandOptions, context: CliContext): Promise<void> {
  await withRun(
    "estimate",
    options,
    context,
    (prepared) => checkSelection(prepared, options),
    ({ opened, pairs }, nodes) => ({
      space: spaceOfSelection(opened.config, pairs, { nodes, positions: options.positions }),
      method: options.method,
    }),
    (run, sites) =>
      withSource(run, sites, async (runOptions) => {
        const ranking = await estimate(run.model, run.pairs, {
          ...runOptions,
          method: options.method,
          nodes: sites,
          positions: options.positions,
        });
        run.clock.lap("estimate");
        const saved = await saveRun(run, ranking, { state: "done" });
        printRun(saved, { ...listFiles(run), ...(await reportOfRun(options)) }, options.json === true);
      }),
  );
}

/**
 * Checks that the metric can be estimated by the method, and that model and pairs have the selected nodes.
 * @returns the selected sites
 * @throws InputError
 */
export function checkSelection(
  { metric, pairs, opened }: PreparedRun,
  { direction, method, nodes, positions }: EstimateCommandOptions,
): readonly Site[] {
  checkGradient(metric, direction);
  checkMethod(method, opened.config.layers, metric);
  const { config } = opened;
  const sites = parseSites(nodes, config);
  makeNodeSpace(config, sites, positionLabels(positions, pairs));
  return sites;
}
