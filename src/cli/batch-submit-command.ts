/**
 * @file `atp batch submit`: a job whose shards are made by workers behind a queue. This process only coordinates: it fetches results
 * and decides what comes next. Killed and run again it goes on; the workers do not mind.
 */

import { connectQueue } from "../batch/queue/connection.js";
import { queueKeyOf } from "../batch/queue/queue-key.js";
import { QueueRunner } from "../batch/queue/queue-runner.js";
import { parseQueueUrl } from "../batch/queue/queue-url.js";
import { shortName } from "../batch/queue/shard-maker.js";
import { ShardStore } from "../batch/store.js";
import { runJobFile, showJob } from "./batch-job.js";
import { type CliContext, printNote } from "./context.js";
import type { BatchSubmitCommandOptions } from "./options.js";
import { noteWithoutKey } from "./queue-key-note.js";

export async function batchSubmitCommand(
  specFile: string,
  { queue, prefix, ...output }: BatchSubmitCommandOptions,
  context: CliContext,
): Promise<void> {
  const display = showJob();
  const { onNotice } = display;
  const address = parseQueueUrl(queue);
  const key = queueKeyOf(process.env);
  const connection = await connectQueue(address, onNotice, { signal: context.signal });
  try {
    noteWithoutKey(address, key, onNotice);
    await runJobFile(
      specFile,
      output,
      context,
      display,
      async ({ outputFolder, job, jobHash, spec, space }) => {
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
          nodes: space.size,
          onNotice,
          ...(key && { key }),
        });
        printNote(
          `job ${shortName(jobHash)} for ${job.model.name} on ${job.backend}, at ${connection.shown}`,
        );
        return runner;
      },
    );
  } finally {
    connection.close();
  }
}
