/** @file `atp batch run`: a job in processes of this machine, from the beginning or on from where it was. */

import { LocalRunner } from "../batch/local/local-runner.js";
import { portableJobFile } from "../batch/outputs.js";
import { runJobFile, showJob } from "./batch-job.js";
import type { CliContext } from "./context.js";
import type { BatchRunCommandOptions } from "./options.js";

export async function batchRunCommand(
  specFile: string,
  { workers, ...output }: BatchRunCommandOptions,
  context: CliContext,
): Promise<void> {
  await runJobFile(specFile, output, context, showJob(), (prepared) => {
    const { outputFolder, modelFolder, modelFiles, job, spec } = prepared;
    context.saved = `the finished shards are in ${outputFolder}; run it again and it goes on from there`;
    return new LocalRunner({
      modelFolder,
      modelFiles,
      outputFolder,
      jobFile: portableJobFile(prepared),
      workers,
      retries: spec.shards.retries,
      ...(job.threads !== undefined && { threads: job.threads }),
      ...(spec.memory !== undefined && { memoryBudget: spec.memory }),
    });
  });
}
