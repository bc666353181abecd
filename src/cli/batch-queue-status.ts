/** @file The part of `atp batch status` that comes from the queue. */

import { connectQueue } from "../batch/queue/connection.js";
import { type QueueStatus, type QueueWorkerStatus, readQueueStatus } from "../batch/queue/queue-status.js";
import { parseQueueUrl } from "../batch/queue/queue-url.js";
import { printNote } from "./context.js";
import type { QueueOptions } from "./options.js";

/**
 * @param outputFolder of the job
 * @throws InputError, RunError as `connectQueue` does
 */
export async function queueStatusOf(
  { queue, prefix }: QueueOptions,
  outputFolder: string,
): Promise<QueueStatus> {
  const connection = await connectQueue(parseQueueUrl(queue), printNote);
  try {
    return await readQueueStatus(connection, prefix, outputFolder);
  } finally {
    connection.close();
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
      : `does not fit: ${refusal}`;
  return `process ${pid} of ${host}, model ${model.name}, ${made} shards made, ${does}`;
}
