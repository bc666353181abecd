/** @file `atp localize`: all selected nodes estimated, the best verified, and made certain with `--confidence`. */

import { join } from "node:path";
import { InputError } from "../errors.js";
import { checkCertifiable, localize } from "../localize.js";
import { writeCertificate } from "../report/certificate-file.js";
import type { CliContext } from "./context.js";
import { checkSelection } from "./estimate-command.js";
import type { LocalizeCommandOptions } from "./options.js";
import { checkReplaceable } from "./output-folder.js";
import { type PreparedRun, withRun } from "./prepare-run.js";
import { printRun } from "./print-run.js";
import { saveRun } from "./save-run.js";
import { withSource } from "./source.js";

export async function localizeCommand(options: LocalizeCommandOptions, context: CliContext): Promise<void> {
  const { topK, confidence, budget, inclusion, prevalenceSample, seed, out } = options;
  const certificateFile = join(out, "certificate.json");
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
    async (prepared) => {
      const sites = checkSelection(prepared, options);
      await checkCertificate(prepared, options, certificateFile);
      return sites;
    },
    (run, sites) =>
      withSource(run, sites, async (runOptions) => {
        const { certificate, ...ranking } = await localize(run.model, run.pairs, {
          ...runOptions,
          ...certification,
          method: options.method,
          nodes: sites,
          positions: options.positions,
          topK,
          onEstimates: async (estimates) => {
            run.clock.lap("estimate");
            await saveRun(run, estimates, context);
            context.saved = `the estimates are in ${run.files.ranked}, none of them verified`;
          },
          onVerified: async (soFar) => {
            run.clock.lap("verify");
            await saveRun(run, soFar, context);
            context.saved = `the list is in ${run.files.ranked} with ${soFar.verified?.nodes.length} nodes verified, no certificate`;
          },
        });
        run.clock.lap("verify");
        const saved = await saveRun(run, ranking, context);
        if (certificate) await writeCertificate(certificateFile, certificate);
        printRun(
          saved,
          run.files,
          options.json === true,
          certificate && { certificate, file: certificateFile },
        );
      }),
  );
}

/** @throws InputError for options that need --confidence, or that a certificate cannot be made with */
async function checkCertificate(
  { opened, pairs }: PreparedRun,
  { confidence, budget, inclusion, prevalenceSample, topK, nodes, positions, seed }: LocalizeCommandOptions,
  file: string,
): Promise<void> {
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
  await checkReplaceable(file);
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
