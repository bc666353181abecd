/** @file How a submission stands in its queue, and which workers are there: what a coordinator that is gone cannot tell. */

import type { QueueConnection } from "./connection.js";
import { queueKeys } from "./keys.js";
import { type Presence, presentWorkers } from "./presence.js";
import { openQueue } from "./shard-queue.js";
import { announced, readSubmission, redisTime } from "./submission.js";

export interface QueueStatus {
  /** Seconds since the coordinator was last seen; absent where the job is not in the queue: never submitted, or done. */
  readonly coordinatorSeen?: number;
  readonly shards: {
    readonly waiting: number;
    /** In the hands of workers. */
    readonly active: number;
    /** Made, and not yet fetched by the coordinator. */
    readonly made: number;
    /** Failed before, and waiting for their next try. */
    readonly retried: number;
    readonly failed: number;
  };
  readonly workers: readonly QueueWorkerStatus[];
}

export interface QueueWorkerStatus extends Omit<Presence, "refuses" | "submission"> {
  /** Whether it works on this job. */
  readonly here: boolean;
  /** Why it does not fit this job. */
  readonly refusal?: string;
}

/** @param outputFolder of the job */
export async function readQueueStatus(
  connection: QueueConnection,
  prefix: string,
  outputFolder: string,
): Promise<QueueStatus> {
  const keys = queueKeys(prefix);
  const id = (await readSubmission(outputFolder))?.submission;
  const workers = (await presentWorkers(connection.redis, keys)).map(
    ({ refuses, submission, ...worker }): QueueWorkerStatus => ({
      ...worker,
      here: id !== undefined && submission === id,
      ...(id !== undefined && Object.hasOwn(refuses, id) && { refusal: refuses[id] }),
    }),
  );
  const none = { waiting: 0, active: 0, made: 0, retried: 0, failed: 0 };
  const entry = (await announced(connection.redis, keys)).find(({ submission }) => submission === id);
  if (!entry) return { shards: none, workers };
  // The coordinator's last word, ms.
  const seen = Number(await connection.redis.zscore(keys.submissions, entry.submission));
  const queue = await openQueue(connection, prefix, entry.submission);
  const counts = await queue.getJobCounts("wait", "active", "completed", "delayed", "failed");
  await queue.close();
  const { wait = 0, active = 0, completed = 0, delayed = 0, failed = 0 } = counts;
  return {
    coordinatorSeen: Math.max(0, (await redisTime(connection.redis)) - seen) / 1000,
    shards: { waiting: wait, active, made: completed, retried: delayed, failed },
    workers,
  };
}
