/** @file `atp worker`: makes shards of jobs that others have submitted to a queue. One process per device. */

import { stat } from "node:fs/promises";
import { connectQueue } from "../batch/queue/connection.js";
import { parseQueueUrl } from "../batch/queue/queue-url.js";
import { runQueueWorker } from "../batch/queue/queue-worker.js";
import { shortName } from "../batch/queue/shard-maker.js";
import { hashModel, userHashCache } from "../checkpoint/model-hash.js";
import { InputError } from "../errors.js";
import { type CliContext, printNote } from "./context.js";
import type { WorkerCommandOptions } from "./options.js";
import { openForCommand } from "./prepare-run.js";
import { type ProgressDisplay, showProgress } from "./progress.js";

export async function workerCommand(options: WorkerCommandOptions, context: CliContext): Promise<void> {
  const { signal } = context;
  const address = parseQueueUrl(options.queue);
  const sharedFolder = options.shared;
  if (sharedFolder !== undefined && !(await stat(sharedFolder).catch(() => undefined))?.isDirectory()) {
    throw new InputError(`--shared: expected a folder, got ${sharedFolder}`);
  }
  const connection = await connectQueue(address, printNote);
  let made = 0;
  try {
    const model = await hashedModel(options.model, context, showProgress());
    printNote(`worker for ${model.name}, hash ${shortName(model.hash)}…, at ${connection.shown}`);
    made = await runQueueWorker({
      connection,
      prefix: options.prefix,
      model,
      signal,
      onNotice: printNote,
      ...(options.verbose && { onShard: printShard }),
      ...(options.engine !== "auto" && { engine: options.engine }),
      ...(sharedFolder !== undefined && { sharedFolder }),
      ...(options.memory !== undefined && { memoryBudget: options.memory }),
      ...(options.exitWhenIdle !== undefined && { exitWhenIdle: options.exitWhenIdle }),
    });
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    connection.close();
  }
  printNote(`worker: ended, ${made} ${made === 1 ? "shard" : "shards"} made`);
  // A process that is still loading a model is not waited for: it ends with this one.
  if (signal.aborted) process.exit(0);
}

function printShard(name: string, seconds: number): void {
  printNote(`shard ${shortName(name)}: ${seconds.toFixed(1)} s`);
}

/** The model's folder and hash; hashes are remembered for the next worker of this machine. */
async function hashedModel(name: string, context: CliContext, progress: ProgressDisplay) {
  const opened = await openForCommand(name, context, progress);
  try {
    const hashed = await hashModel(opened.folder, {
      cacheFile: userHashCache(),
      signal: context.signal,
      onProgress: (done, total) => progress.stage({ stage: "hash", done, total }),
    });
    return { name, folder: opened.folder, ...hashed };
  } finally {
    progress.finish();
    await opened.close();
  }
}
