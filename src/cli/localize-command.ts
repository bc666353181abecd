/** @file `atp localize`: all selected nodes estimated, the best verified. */

import { localize } from "../localize.js";
import type { CliContext } from "./context.js";
import { checkSelection } from "./estimate-command.js";
import type { LocalizeCommandOptions } from "./options.js";
import { withRun } from "./prepare-run.js";
import { printRun } from "./print-run.js";
import { saveRun } from "./save-run.js";
import { withSource } from "./source.js";

export async function localizeCommand(options: LocalizeCommandOptions, context: CliContext): Promise<void> {
  await withRun(
    "localize",
    options,
    context,
    (prepared) => checkSelection(prepared, options),
    (run, sites) =>
      withSource(run, sites, async (runOptions) => {
        const ranking = await localize(run.model, run.pairs, {
          ...runOptions,
          method: options.method,
          nodes: sites,
          positions: options.positions,
          topK: options.topK,
          onEstimates: async (estimates) => {
            run.clock.lap("estimate");
            await saveRun(run, estimates, context);
            context.saved = `the estimates are in ${run.files.ranked}, none of them verified`;
          },
        });
        run.clock.lap("verify");
        printRun(await saveRun(run, ranking, context), run.files, options.json === true);
      }),
  );
}
