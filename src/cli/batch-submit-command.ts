/**
 * @file `atp batch submit`: a job whose shards are made by workers behind a queue. This process only coordinates: it fetches results
 * and decides what comes next. Killed and run again it goes on; the workers do not mind.
 */

import { runJob } from "../batch/coordinator.js";
import { prepareJob } from "../batch/prepare-job.js";
import { connectQueue } from "../batch/queue/connection.js";
import { QueueRunner } from "../batch/queue/queue-runner.js";
import { parseQueueUrl } from "../batch/queue/queue-url.js";
import { shortName } from "../batch/queue/shard-maker.js";
import { ShardStore } from "../batch/store.js";
import { type CliContext, printNote } from "./context.js";
import type { BatchSubmitCommandOptions } from "./options.js";
import { printRun } from "./print-run.js";
import { showProgress } from "./progress.js";
import { reportOfRun } from "./report-command.js";

export async function batchSubmitCommand(
  specFile: string,
  { queue, prefix, report, json, verbose }: BatchSubmitCommandOptions,
  context: CliContext,
): Promise<void> {
  context.verbose = verbose === true;
  const { signal } = context;
  const progress = showProgress();
  const onNotice = (text: string) => {
    progress.finish();
    printNote(text);
  };
  const connection = await connectQueue(parseQueueUrl(queue), onNotice);
  try {
    const prepared = await prepareJob(specFile, {
      signal,
      onNotice,
      onProgress: progress.stage,
      onDownload: progress.download,
    });
    progress.finish();
    const { outputFolder, job, jobHash, spec } = prepared;
    context.saved = `what is queued stays there, and workers go on with it; run this again to fetch it into ${outputFolder}`;
    const store = await ShardStore.open(outputFolder, { onNotice });
    const { retries } = spec.shards;
    const runner = new QueueRunner({
      connection,
      prefix,
      outputFolder,
      job,
      jobHash,
      store,
      retries,
    });
    printNote(`job ${shortName(jobHash)} for ${job.model.name} on ${job.backend}, at ${connection.shown}`);
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
    connection.close();
  }
}
