/** @file The part of `atp batch status` that comes from the queue. */

import { connectQueue } from "../batch/queue/connection.js";
import { type QueueStatus, type QueueWorkerStatus, readQueueStatus } from "../batch/queue/queue-status.js";
import { parseQueueUrl } from "../batch/queue/queue-url.js";
import { RunError } from "../errors.js";
import { shownWords } from "../shown-text.js";
import { printNote } from "./context.js";
import type { QueueOptions } from "./options.js";

/** Of a worker's reason. */
const SHOWN_CHARACTERS = 1000;

/** Somebody waits for the answer: longer than a fail-over or a restart takes, and not for ever. */
const ANSWER_MS = 30_000;

/**
 * @param outputFolder of the job
 * @throws InputError, RunError as `connectQueue` does; RunError where the queue does not answer in time; the signal's reason
 */
export async function queueStatusOf(
  { queue, prefix }: QueueOptions,
  outputFolder: string,
  signal: AbortSignal,
  answerMs = ANSWER_MS,
): Promise<QueueStatus> {
  const address = parseQueueUrl(queue);
  const stop = new AbortController();
  const stops = AbortSignal.any([signal, stop.signal]);
  const timer = setTimeout(
    () =>
      stop.abort(
        new RunError(`queue: expected an answer of ${address.shown} within ${answerMs / 1000} s, got none`),
      ),
    answerMs,
  );
  try {
    const connection = await connectQueue(address, printNote, { signal: stops });
    try {
      const stopped = new Promise<never>((_, reject) => {
        stops.addEventListener("abort", () => reject(stops.reason));
      });
      return await Promise.race([readQueueStatus(connection, prefix, outputFolder), stopped]);
    } finally {
      connection.close();
    }
  } finally {
    clearTimeout(timer);
  }
}

/** As lines with labels. */
export function queueStatusLines({
  coordinatorSeen,
  shards,
  workers,
}: QueueStatus): (readonly [string, string])[] {
  const counts = [
    `${shards.waiting} shards wait`,
    `${shards.active} in hand`,
    ...(shards.retried > 0 ? [`${shards.retried} wait for another try`] : []),
    ...(shards.failed > 0 ? [`${shards.failed} failed`] : []),
    ...(shards.made > 0 ? [`${shards.made} made and not yet fetched`] : []),
  ];
  const seen =
    coordinatorSeen === undefined ? "" : `; its coordinator was seen ${Math.round(coordinatorSeen)} s ago`;
  const fitting = workers.filter(({ refusal }) => refusal === undefined);
  const none = shards.waiting > 0 && fitting.length === 0 ? "; none that fits this job" : "";
  return [
    ["queue", coordinatorSeen === undefined ? "the job is not in it" : `${counts.join(", ")}${seen}`],
    ["workers", `${workers.length}${none}`],
    ...workers.map((worker) => ["worker", workerText(worker)] as const),
  ];
}

function workerText({ host, pid, made, model, here, refusal }: QueueWorkerStatus): string {
  const does =
    refusal === undefined
      ? here
        ? "works on this job"
        : "is free or elsewhere"
      : `does not fit: ${shownWords(refusal, SHOWN_CHARACTERS)}`;
  return `process ${pid} of ${shownWords(host)}, model ${shownWords(model.name)}, ${made} shards made, ${does}`;
}
