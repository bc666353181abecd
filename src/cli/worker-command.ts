/** @file `atp worker`: makes shards of jobs that others have submitted to a queue. One process per device. */

import { stat } from "node:fs/promises";
import { connectQueue } from "../batch/queue/connection.js";
import { queueKeyOf } from "../batch/queue/queue-key.js";
import { parseQueueUrl } from "../batch/queue/queue-url.js";
import { runQueueWorker } from "../batch/queue/queue-worker.js";
import { shortName } from "../batch/queue/shard-maker.js";
import { hashModel, userHashCache } from "../checkpoint/model-hash.js";
import { InputError } from "../errors.js";
import { type CliContext, printNote } from "./context.js";
import { Interrupted } from "./interrupts.js";
import type { WorkerCommandOptions } from "./options.js";
import { outcomeOf } from "./outcome.js";
import { openForCommand } from "./prepare-run.js";
import { type ProgressDisplay, showProgress } from "./progress.js";
import { noteWithoutKey } from "./queue-key-note.js";

export async function workerCommand(options: WorkerCommandOptions, context: CliContext): Promise<void> {
  const { signal } = context;
  const address = parseQueueUrl(options.queue);
  const sharedFolder = options.shared;
  if (sharedFolder !== undefined && !(await stat(sharedFolder).catch(() => undefined))?.isDirectory()) {
    throw new InputError(`--shared: expected a folder, got ${sharedFolder}`);
  }
  const key = queueKeyOf(process.env);
  const connection = await connectQueue(address, printNote, { signal });
  let made = 0;
  try {
    noteWithoutKey(address, key, printNote);
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
      ...(key && { key }),
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
  if (signal.aborted) process.exit(exitCodeOf(made, context));
}

/** Whatever runs workers stops them with SIGTERM: one that has finished its shard has done all that it was asked for. */
function exitCodeOf(made: number, context: CliContext): number {
  const { reason } = context.signal;
  if (reason instanceof Interrupted && reason.signalName === "SIGTERM") return 0;
  const saved =
    made === 0
      ? "no shard was made"
      : `${made} ${made === 1 ? "shard was" : "shards were"} made and handed in`;
  const { exitCode, notes } = outcomeOf(reason, { ...context, saved });
  for (const note of notes) printNote(note);
  return exitCode;
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
