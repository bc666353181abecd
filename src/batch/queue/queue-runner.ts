/**
 * @file Shards made by workers anywhere, through a queue. Each shard is one job of the queue under the shard's name, so that adding
 * it twice adds nothing. Events only wake this runner up; what it believes is the state of the queue, looked at again every few
 * seconds: shards that Redis has lost are added again, results that are not what they should be are asked for again. Killed at any
 * moment it leaves a queue that workers go on with, and that the next one takes up.
 */

import type { Queue, QueueEvents, Worker } from "bullmq";
import type { Job } from "../job.js";
import type { FailedShard, ShardEvents, ShardRunner } from "../shard-runner.js";
import type { NamedTask } from "../shard-task.js";
import type { ShardStore } from "../store.js";
import { atMost, type QueueConnection } from "./connection.js";
import { type QueueKeys, queueKeys } from "./keys.js";
import { type DoneShard, parseDone } from "./messages.js";
import { dropResult, getResult } from "./result-pieces.js";
import {
  openEvents,
  openQueue,
  openWorker,
  QUEUE_TIMES,
  type QueueTimes,
  removeForgotten,
  SHARD,
  shardOptions,
} from "./shard-queue.js";
import { announce, numberSubmission, withdraw } from "./submission.js";

/** Shards that go to Redis in one command: large ones have thousands of nodes. */
const SHARDS_PER_COMMAND = 100;

/** What ending may take when Redis does not answer. */
const CLOSE_MS = 5000;

const STATES = ["wait", "prioritized", "delayed", "active", "completed", "failed"] as const;

export interface QueueRunnerOptions {
  readonly connection: QueueConnection;
  readonly prefix: string;
  readonly job: Job;
  readonly jobHash: string;
  /** Of the job; the submission's number goes there. */
  readonly outputFolder: string;
  /** Of that folder. */
  readonly store: ShardStore;
  /** How often a shard that failed is tried again. */
  readonly retries: number;
  readonly times?: QueueTimes;
}

/** A shard that is asked for. */
interface Asked {
  readonly named: NamedTask;
  /** Results that were not what they should be. */
  refused: number;
  /** Tries that were told of. */
  told: number;
  /** When it was first said to lie in the shared folder and was not seen there, ms. */
  missedAt?: number;
}

/** What is open in Redis. */
interface Parts {
  readonly submission: string;
  readonly queue: Queue;
  readonly events: QueueEvents;
  /** Takes no shards: it looks for those whose worker is gone. */
  readonly watch: Worker;
}

export class QueueRunner implements ShardRunner {
  readonly #keys: QueueKeys;
  readonly #times: QueueTimes;
  #parts: Parts | undefined;
  /** Shards of a run that has not come to its end. */
  #asked = new Map<string, Asked>();
  #wake: () => void = () => {};
  #closed = false;

  /**
   * Before the first run nothing is in Redis, and no number in the output folder: whoever may not use the folder, because another job
   * runs there, finds that out before.
   */
  constructor(readonly options: QueueRunnerOptions) {
    this.#keys = queueKeys(options.prefix);
    this.#times = options.times ?? QUEUE_TIMES;
  }

  /**
   * Aborting it rejects at once: what is queued stays there, and workers go on with it.
   * @throws RunError where the store cannot be written to; the signal's reason
   */
  async run(tasks: readonly NamedTask[], events: ShardEvents, signal?: AbortSignal): Promise<FailedShard[]> {
    if (this.#asked.size > 0) throw new Error("QueueRunner: expected one run at a time, got a second one");
    signal?.throwIfAborted();
    this.#asked = new Map(tasks.map((named) => [named.name, { named, refused: 0, told: 0 }]));
    const stop = new AbortController();
    const aborted = new Promise<never>((_, reject) => {
      signal?.addEventListener("abort", () => reject(signal.reason), { once: true, signal: stop.signal });
    });
    try {
      return await Promise.race([this.#finish(events, stop.signal), aborted]);
    } finally {
      stop.abort();
      this.#wake();
    }
  }

  /** Takes the job back, unless shards of it are still asked for. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const { connection } = this.options;
    const parts = this.#parts;
    if (!parts) return;
    const end = async () => {
      if (this.#asked.size === 0) {
        await withdraw(connection.redis, this.#keys, parts.submission);
        await parts.queue.obliterate({ force: true });
      }
      await Promise.all([parts.events.close(), parts.watch.close(true), parts.queue.close()]);
    };
    await atMost(CLOSE_MS, end().catch(connection.onError));
  }

  /** Looks after the queue from now on. */
  async #begin(): Promise<Parts> {
    if (this.#parts) return this.#parts;
    const { connection, prefix, outputFolder, job } = this.options;
    const submission = await numberSubmission(outputFolder, job);
    await removeForgotten(connection, prefix);
    await this.#announce(submission);
    const queue = await openQueue(connection, prefix, submission, true);
    const events = await openEvents(connection, prefix, submission);
    events.on("completed", () => this.#wake());
    events.on("failed", () => this.#wake());
    const watch = await openWorker(connection, prefix, submission, null, this.#times);
    await watch.startStalledCheckTimer();
    this.#parts = { submission, queue, events, watch };
    return this.#parts;
  }

  #announce(submission: string): Promise<void> {
    const { connection, job, jobHash } = this.options;
    return announce(connection.redis, this.#keys, submission, job, jobHash);
  }

  async #finish(events: ShardEvents, stop: AbortSignal): Promise<FailedShard[]> {
    const parts = await this.#begin();
    const { queue } = parts;
    const failed: FailedShard[] = [];
    // What failed before is tried anew; failures of this run are those that come from now on.
    for (const name of await queue.getRanges(["failed"], 0, -1)) await queue.remove(name);
    let lookedAt = Number.NEGATIVE_INFINITY;
    while (this.#asked.size > 0 && !stop.aborted) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      for (const name of await queue.getRanges(["completed"], 0, -1)) {
        if (stop.aborted) break;
        await this.#take(parts, name, events, failed);
      }
      for (const name of await queue.getRanges(["failed"], 0, -1)) await this.#giveUp(queue, name, failed);
      if (performance.now() - lookedAt >= this.#times.lookMs) {
        await this.#look(parts, events);
        lookedAt = performance.now();
      }
      if (this.#asked.size === 0) break;
      const timer = setTimeout(() => this.#wake(), this.#times.lookMs);
      await woken;
      clearTimeout(timer);
    }
    return failed;
  }

  /** Compares the queue with what is asked for. */
  async #look({ queue, submission }: Parts, { onRetry }: ShardEvents): Promise<void> {
    await this.#announce(submission);
    const there = new Set(await queue.getRanges([...STATES], 0, -1));
    const missing = [...this.#asked.values()].filter(({ named }) => !there.has(named.name));
    await this.#add(
      queue,
      missing.map(({ named }) => named),
    );
    // Of an earlier run that asked for something else, or not ours at all. One that a worker holds stays until it is done.
    for (const name of there) if (!this.#asked.has(name)) await queue.remove(name);
    for (const name of await queue.getRanges(["delayed"], 0, -1)) {
      const asked = this.#asked.get(name);
      const shard = asked && (await queue.getJob(name));
      if (!asked || !shard?.failedReason || shard.attemptsMade <= asked.told) continue;
      asked.told = shard.attemptsMade;
      onRetry?.({ name, tries: shard.attemptsMade, error: shard.failedReason });
    }
  }

  async #add(queue: Queue, shards: readonly NamedTask[]): Promise<void> {
    const tries = this.options.retries + 1;
    for (let first = 0; first < shards.length; first += SHARDS_PER_COMMAND) {
      const some = shards.slice(first, first + SHARDS_PER_COMMAND);
      await queue.addBulk(
        some.map((named) => ({
          name: SHARD,
          data: named,
          opts: shardOptions(named.name, tries, this.#times),
        })),
      );
    }
  }

  /** Gets the result of a finished shard into the store, or asks for it again. */
  async #take(
    { queue, submission }: Parts,
    name: string,
    { onDone, onRetry }: ShardEvents,
    failed: FailedShard[],
  ): Promise<void> {
    const asked = this.#asked.get(name);
    const shard = asked && (await queue.getJob(name));
    // One that Redis has lost since is queued again at the next look.
    if (!shard) return;
    const done = parseDone(shard.returnvalue);
    const problem = done
      ? await this.#store(submission, done, asked)
      : "its message is not that of a finished shard";
    if (problem === "not yet") return;
    if (problem === undefined) {
      this.#asked.delete(name);
      onDone(name);
    }
    await queue.remove(name);
    if (done?.at === "queue") await dropResult(this.options.connection.redis, this.#keys, submission, done);
    if (problem === undefined) return;
    asked.refused += 1;
    asked.missedAt = undefined;
    const failure = { name, tries: asked.refused, error: `the result was refused: ${problem}` };
    if (asked.refused > this.options.retries) {
      this.#asked.delete(name);
      failed.push(failure);
    } else {
      onRetry?.(failure);
      await this.#add(queue, [asked.named]);
    }
  }

  /**
   * @returns what is wrong with the result, or "not yet"; undefined when it is in the store
   * @throws RunError where the disk refuses it: it stays in Redis then
   */
  async #store(submission: string, done: DoneShard, asked: Asked): Promise<string | undefined> {
    const { connection, store } = this.options;
    const { name } = asked.named;
    if (done.at === "shared folder") {
      if (await store.has(name)) return undefined;
      asked.missedAt ??= performance.now();
      return performance.now() - asked.missedAt < this.#times.sharedFileMs
        ? "not yet"
        : "it is not in the shared folder";
    }
    try {
      const bytes = await getResult(connection.redis, this.#keys, submission, done);
      if (!bytes) return "it is no longer in Redis";
      await store.writeBytes(name, bytes);
      return undefined;
    } catch (error) {
      if (!(error instanceof Error) || isOfTheDisk(error)) throw error;
      return error.message;
    }
  }

  async #giveUp(queue: Queue, name: string, failed: FailedShard[]): Promise<void> {
    const shard = await queue.getJob(name);
    if (shard && this.#asked.delete(name)) {
      failed.push({ name, tries: shard.attemptsMade, error: shard.failedReason });
    }
    await queue.remove(name);
  }
}

/** The disk is full, or the folder gone: no fault of a result, and no other result would fare better. */
function isOfTheDisk(error: Error): boolean {
  return error.cause instanceof Error && "syscall" in error.cause;
}
