/** @file `atp localize`: all selected nodes estimated, the best verified, and made certain with `--confidence`. */

import { InputError } from "../errors.js";
import { checkCertifiable, localize, spaceOfSelection } from "../localize.js";
import type { CliContext } from "./context.js";
import { checkSelection } from "./estimate-command.js";
import type { PlannedWork } from "./memory-plan.js";
import type { LocalizeCommandOptions } from "./options.js";
import { type PreparedRun, withRun } from "./prepare-run.js";
import { listFiles, printRun } from "./print-run.js";
import { reportOfRun } from "./report-command.js";
import { saveInterrupted, saveRun } from "./save-run.js";
import { withSource } from "./source.js";

export async function localizeCommand(options: LocalizeCommandOptions, context: CliContext): Promise<void> {
  const { topK, confidence, budget, inclusion, prevalenceSample, seed } = options;
  const certification = {
    ...(confidence !== undefined && { confidence }),
    ...(budget !== undefined && { budget }),
    ...(inclusion !== undefined && { inclusion }),
    ...(prevalenceSample !== undefined && { prevalenceSample }),
    seed,
  };
  await withRun(
    "localize",
    options,
    context,
    (prepared) => {
      checkCertificate(prepared, options);
      return checkSelection(prepared, options);
    },
    (prepared) => localizeWork(prepared, options),
    (run, sites) =>
      withSource(run, sites, async (runOptions) => {
        const ranked = run.results.path("ranked");
        const { certificate, ...ranking } = await localize(run.model, run.pairs, {
          ...runOptions,
          ...certification,
          method: options.method,
          nodes: sites,
          positions: options.positions,
          topK,
          onEstimates: async (estimates) => {
            run.clock.lap("estimate");
            await saveRun(run, estimates, { state: "running" });
            context.saved = `the estimates are in ${ranked}, none of them verified`;
          },
          onInterrupted: (soFar) =>
            saveInterrupted(run, soFar, confidence === undefined ? topK : soFar.order.length, context, {
              topK,
            }),
          onVerified: async (soFar) => {
            run.clock.lap("verify");
            await saveRun(run, soFar, { topK, state: "running" });
            context.saved = `the list is in ${ranked} with ${soFar.verified?.nodes.length} nodes verified, no certificate`;
          },
        });
        run.clock.lap("verify");
        const saved = await saveRun(run, ranking, {
          topK,
          state: "done",
          ...(certificate && { certificate }),
        });
        const files = {
          ...listFiles(run, certificate ? ["certificate"] : []),
          ...(await reportOfRun(options)),
        };
        printRun(saved, files, options.json === true, certificate);
      }),
  );
}

/** What a plan of it is made of. */
export function localizeWork(
  { opened, pairs }: PreparedRun,
  { nodes, positions, method, topK, confidence, budget }: LocalizeCommandOptions,
): PlannedWork {
  const space = spaceOfSelection(opened.config, pairs, { nodes, positions });
  return {
    space,
    method,
    patches: { nodes: Math.min(topK, space.size) },
    ...(confidence !== undefined && { certificate: { confidence, ...(budget !== undefined && { budget }) } }),
  };
}

/** @throws InputError for options that need --confidence, or that a certificate cannot be made with */
export function checkCertificate(
  { opened, pairs }: PreparedRun,
  { confidence, budget, inclusion, prevalenceSample, topK, nodes, positions, seed }: LocalizeCommandOptions,
): void {
  if (confidence === undefined) {
    for (const [option, value] of Object.entries({
      "--budget": budget,
      "--inclusion": inclusion,
      "--prevalence-sample": prevalenceSample,
    })) {
      if (value !== undefined) throw new InputError(`${option}: expected --confidence with it, got none`);
    }
    return;
  }
  checkCertifiable(opened, pairs, {
    nodes,
    positions,
    topK,
    confidence,
    seed,
    ...(budget !== undefined && { budget }),
    ...(inclusion !== undefined && { inclusion }),
    ...(prevalenceSample !== undefined && { prevalenceSample }),
  });
}
