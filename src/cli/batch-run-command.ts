/** @file `atp batch run`: a job in processes of this machine, from the beginning or on from where it was. */

import { runJob } from "../batch/coordinator.js";
import { LocalRunner } from "../batch/local/local-runner.js";
import { portableJobFile } from "../batch/outputs.js";
import { prepareJob } from "../batch/prepare-job.js";
import { type CliContext, printNote } from "./context.js";
import type { BatchRunCommandOptions } from "./options.js";
import { printRun } from "./print-run.js";
import { showProgress } from "./progress.js";
import { reportOfRun } from "./report-command.js";

export async function batchRunCommand(
  specFile: string,
  { workers, report, json, verbose }: BatchRunCommandOptions,
  context: CliContext,
): Promise<void> {
  context.verbose = verbose === true;
  const { signal } = context;
  const progress = showProgress();
  const onNotice = (text: string) => {
    progress.finish();
    printNote(text);
  };
  try {
    const prepared = await prepareJob(specFile, {
      signal,
      onNotice,
      onProgress: progress.stage,
      onDownload: progress.download,
    });
    progress.finish();
    const { outputFolder, modelFolder, modelFiles, job, spec } = prepared;
    context.saved = `the finished shards are in ${outputFolder}; run it again and it goes on from there`;
    const runner = new LocalRunner({
      modelFolder,
      modelFiles,
      outputFolder,
      jobFile: portableJobFile(prepared),
      workers,
      retries: spec.shards.retries,
      ...(job.threads !== undefined && { threads: job.threads }),
      ...(spec.memory !== undefined && { memoryBudget: spec.memory }),
    });
    try {
      const { files, certificate, ...saved } = await runJob(prepared, runner, {
        signal,
        onNotice,
        onProgress: progress.stage,
      });
      progress.finish();
      const page = await reportOfRun({ out: outputFolder, ...(report && { report }) });
      printRun(saved, { ...files, ...page }, json === true, certificate);
    } finally {
      await runner.close();
    }
  } finally {
    progress.finish();
  }
}
