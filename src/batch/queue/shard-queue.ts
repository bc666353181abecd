/** @file The queue of a submission's shards as BullMQ keeps it: how both of its ends open it, and how its times are chosen. */

import { setTimeout as delay } from "node:timers/promises";
import { type JobsOptions, type Processor, type Queue, QueueEvents, type Worker } from "bullmq";
import { asError } from "../../errors.js";
import { CheckedQueue, CheckedWorker } from "./checked-parts.js";
import type { QueueConnection } from "./connection.js";
import { queueKeys, RANDOM_ID } from "./keys.js";
import { passingReason } from "./outage.js";
import { forgotten, withdraw } from "./submission.js";

export interface QueueTimes {
  /** A worker that has not renewed its hold on a shard for so long is taken for dead. Its process has nothing else to do. */
  readonly lockMs: number;
  /** Between looks for shards of dead workers. */
  readonly stalledMs: number;
  /** Between looks at the whole queue, which find what no event told of. */
  readonly lookMs: number;
  /** Before the first new try of a shard that failed; doubles with each. */
  readonly backoffMs: number;
  /** A result that lies in the shared folder is waited for: a network file system may show a new file to others after a minute. */
  readonly sharedFileMs: number;
}

export const QUEUE_TIMES: QueueTimes = {
  lockMs: 15_000,
  stalledMs: 5000,
  lookMs: 4000,
  backoffMs: 2000,
  sharedFileMs: 90_000,
};

/** A dead worker is no fault of its shard: on a cluster that takes workers away a shard may lose very many. */
const MOST_LOST_WORKERS = 10_000;

/** Before BullMQ asks again when Redis did not answer. */
const AFTER_ERROR_MS = 1000;

/** How long an idle worker waits in one question to Redis, in seconds; it is woken by a new shard at once. */
const IDLE_WAIT_S = 2;

/** What the parts of BullMQ have in common. */
interface Part {
  on(event: "error", listener: (error: Error) => void): unknown;
  waitUntilReady(): Promise<unknown>;
  close(): Promise<void>;
}

/**
 * Opens a part of BullMQ. One that is made while Redis is going away never works, so it is made again until it does.
 * @param make called at least once
 */
async function opened<T extends Part>(make: () => T, { onError }: QueueConnection): Promise<T> {
  for (;;) {
    const part = make();
    part.on("error", onError);
    try {
      await part.waitUntilReady();
      return part;
    } catch (error) {
      // What the server refuses for good it would refuse again.
      if (passingReason(asError(error)) === undefined) throw error;
      await part.close().catch(onError);
      await delay(AFTER_ERROR_MS);
    }
  }
}

/** @param coordinator whether it is the one that adds shards: others change nothing by opening a queue */
export function openQueue(
  connection: QueueConnection,
  prefix: string,
  submission: string,
  coordinator = false,
): Promise<Queue> {
  const options = { connection: connection.redis, prefix, skipMetasUpdate: !coordinator };
  return opened(() => new CheckedQueue(submission, options), connection);
}

export function openEvents(
  connection: QueueConnection,
  prefix: string,
  submission: string,
): Promise<QueueEvents> {
  return opened(() => new QueueEvents(submission, { connection: connection.redis, prefix }), connection);
}

/**
 * Opens what takes shards, one at a time, and looks for those whose worker is gone; it does not begin.
 * @param make null: it is only to look
 */
export function openWorker(
  connection: QueueConnection,
  prefix: string,
  submission: string,
  make: Processor | null,
  { lockMs, stalledMs }: QueueTimes,
): Promise<Worker> {
  const options = {
    connection: connection.redis,
    prefix,
    autorun: false,
    concurrency: 1,
    lockDuration: lockMs,
    stalledInterval: stalledMs,
    maxStalledCount: MOST_LOST_WORKERS,
    runRetryDelay: AFTER_ERROR_MS,
    drainDelay: IDLE_WAIT_S,
  };
  return opened(() => new CheckedWorker(submission, make, options), connection);
}

/** @param tries how often a shard is begun that fails, in all */
export function shardOptions(name: string, tries: number, { backoffMs }: QueueTimes): JobsOptions {
  return {
    jobId: name,
    attempts: tries,
    backoff: { type: "exponential", delay: backoffMs },
    stackTraceLimit: 1,
  };
}

/** What BullMQ calls each of them: there is one kind. */
export const SHARD = "shard";

/** Clears the queues of submissions that nobody has come back to. */
export async function removeForgotten(connection: QueueConnection, prefix: string): Promise<void> {
  const keys = queueKeys(prefix);
  for (const submission of await forgotten(connection.redis, keys)) {
    if (RANDOM_ID.test(submission)) {
      const queue = await openQueue(connection, prefix, submission);
      await queue.obliterate({ force: true });
      await queue.close();
    }
    await withdraw(connection.redis, keys, submission);
  }
}
