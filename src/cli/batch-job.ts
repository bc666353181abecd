/** @file What `atp batch run` and `atp batch submit` share: from a job's file to its printed result, whoever makes the shards. */

import { runJob } from "../batch/coordinator.js";
import { type PreparedJob, prepareJob } from "../batch/prepare-job.js";
import type { ShardRunner } from "../batch/shard-runner.js";
import { type CliContext, printNote } from "./context.js";
import { abandonable } from "./interrupts.js";
import type { BatchRunCommandOptions } from "./options.js";
import { printRun } from "./print-run.js";
import { type ProgressDisplay, showProgress } from "./progress.js";
import { reportOfRun } from "./report-command.js";

/** Where people see how far a job is. */
export interface JobDisplay {
  readonly progress: ProgressDisplay;
  /** Ends a progress bar before it writes. */
  readonly onNotice: (text: string) => void;
}

export function showJob(): JobDisplay {
  const progress = showProgress();
  return {
    progress,
    onNotice(text) {
      progress.finish();
      printNote(text);
    },
  };
}

/**
 * Prepares a job, runs it to its end and prints what came of it.
 * @param runnerOf makes the runner, which is closed here, and says in the context what an interrupt leaves
 */
export async function runJobFile(
  specFile: string,
  { report, json }: Pick<BatchRunCommandOptions, "report" | "json">,
  context: CliContext,
  { progress, onNotice }: JobDisplay,
  runnerOf: (prepared: PreparedJob) => ShardRunner | Promise<ShardRunner>,
): Promise<void> {
  try {
    const { signal } = context;
    const prepared = await abandonable(
      context,
      prepareJob(specFile, {
        signal,
        onNotice,
        onProgress: progress.stage,
        onDownload: progress.download,
      }),
    );
    progress.finish();
    const runner = await runnerOf(prepared);
    try {
      const { files, certificate, ...saved } = await runJob(prepared, runner, {
        signal,
        onNotice,
        onProgress: progress.stage,
      });
      progress.finish();
      const page = await reportOfRun({ out: prepared.outputFolder, ...(report && { report }) });
      printRun(saved, { ...files, ...page }, json === true, certificate);
    } finally {
      await runner.close();
    }
  } finally {
    progress.finish();
  }
}
