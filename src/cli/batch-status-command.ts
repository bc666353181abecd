/** @file `atp batch status`: how far a job is, from any process or machine that sees its output folder. */

import { dirname, resolve } from "node:path";
import { jobFiles } from "../batch/outputs.js";
import { DEFAULT_PREFIX } from "../batch/queue/keys.js";
import { readJobSpec } from "../batch/read-spec.js";
import { type JobStatus, readStatus, wasKilled } from "../batch/status.js";
import { InputError } from "../errors.js";
import { shownWords } from "../shown-text.js";
import { type CliContext, printResult } from "./context.js";
import type { BatchStatusCommandOptions, QueueOptions } from "./options.js";
import { labelled } from "./print-run.js";

/** Of what a shard failed with. */
const SHOWN_CHARACTERS = 1000;

export async function batchStatusCommand(
  specFile: string,
  { json, queue: url, prefix = DEFAULT_PREFIX }: BatchStatusCommandOptions,
  { signal }: CliContext,
): Promise<void> {
  const { output } = await readJobSpec(specFile);
  const file = jobFiles(resolve(dirname(specFile), output)).status;
  const status = await readStatus(file);
  if (!status)
    throw new InputError(`${specFile}: expected a job that was begun, got none: there is no ${file}`);
  const killed = wasKilled(status);
  const queue = url === undefined ? undefined : await askQueue({ queue: url, prefix }, dirname(file), signal);
  printResult(
    json
      ? JSON.stringify(
          { ...status, state: killed ? "killed" : status.state, ...(queue && { queue: queue.status }) },
          undefined,
          2,
        )
      : text(status, killed, queue?.lines ?? []),
  );
}

/** What the queue has, and as lines with labels. Loaded only where there is one, as `program.ts` says. */
async function askQueue(options: QueueOptions, outputFolder: string, signal: AbortSignal) {
  const { queueStatusLines, queueStatusOf } = await import("./batch-queue-status.js");
  const status = await queueStatusOf(options, outputFolder, signal);
  return { status, lines: queueStatusLines(status) };
}

function text(status: JobStatus, killed: boolean, ofQueue: readonly (readonly [string, string])[]): string {
  const { state, stage, shards, shardsPerSecond, secondsLeft, started, updated, failures } = status;
  const { pid, host } = status.process;
  const counts = [
    `${shards.done} of ${shards.total} shards done`,
    ...(shards.reused > 0 ? [`${shards.reused} of them before`] : []),
    ...(shards.failed > 0 ? [`${shards.failed} failed`] : []),
  ];
  const left = secondsLeft === undefined ? "" : `, about ${Math.ceil(secondsLeft)} s left in this stage`;
  return labelled([
    ["state", killed ? "killed; run it again and it goes on" : state],
    ["stage", `${stage}: ${counts.join(", ")}`],
    ...(shardsPerSecond === undefined ? [] : [["rate", `${rate(shardsPerSecond)}${left}`] as const]),
    ["began", `${started}, process ${pid} of ${host}`],
    ["updated", updated],
    ...failures.map(
      ({ stage, what, tries, error }) =>
        ["failed", `${stage}: ${what}: ${shownWords(error, SHOWN_CHARACTERS)} (tries: ${tries})`] as const,
    ),
    ...ofQueue,
  ]);
}

/** Slow ones as a time per shard. */
function rate(shardsPerSecond: number): string {
  return shardsPerSecond >= 1
    ? `${shardsPerSecond.toFixed(1)} shards per second`
    : `${(1 / shardsPerSecond).toFixed(1)} s per shard`;
}
