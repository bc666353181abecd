/**
 * @file Shards made by workers anywhere, through a queue. Each shard is one job of the queue under the shard's name, so that adding
 * it twice adds nothing. Events only wake this runner up; what it believes is the state of the queue, looked at again every few
 * seconds: shards that Redis has lost are added again, results that are not what they should be are asked for again. Killed at any
 * moment it leaves a queue that workers go on with, and that the next one takes up.
 */

import { setTimeout as delay } from "node:timers/promises";
import type { Queue, QueueEvents, Worker } from "bullmq";
import { canonicalJson } from "../../canonical-json.js";
import { shownWords } from "../../shown-text.js";
import type { Job } from "../job.js";
import { checkJobLimits } from "../limits.js";
import { mostResultBytes, problemOf } from "../result-shape.js";
import type { FailedShard, ShardEvents, ShardRunner } from "../shard-runner.js";
import type { NamedTask } from "../shard-task.js";
import type { ShardStore } from "../store.js";
import { atMost, type QueueConnection } from "./connection.js";
import { type QueueKeys, queueKeys } from "./keys.js";
import {
  checkJobText,
  type DoneShard,
  isSignedDone,
  parseDone,
  type ShardPlace,
  shardMessage,
  signedFailure,
  signJob,
} from "./messages.js";
import { removeGoneWorkers } from "./presence.js";
import { KEY_VARIABLE, type QueueKey } from "./queue-key.js";
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

/** Shards that are on their way to Redis at a time: large ones have thousands of nodes. */
const SHARDS_AT_ONCE = 100;

/** Of what a worker says of a failure. */
const SHOWN_CHARACTERS = 1000;

/** Between looks where somebody sends results that are not believed: as fast as they come would be a race. */
const AFTER_FORGED_MS = 500;

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
  /** Of the job's space: how large results can be follows from it. */
  readonly nodes: number;
  /** Signs the job; only results that are signed with it are believed then. */
  readonly key?: QueueKey;
  /** Told of results that are not believed. */
  readonly onNotice?: (text: string) => void;
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
  /** Of the job, where there is a key. */
  readonly signature?: string;
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
  /** Results and failures without a right signature. */
  #forged = 0;

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
   * @throws InputError for a job that no worker would take; RunError where the store cannot be written to, or the server refuses
   *   something for good; the signal's reason
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
    await atMost(CLOSE_MS, end().catch(connection.onError), connection.outage);
  }

  /** Looks after the queue from now on. */
  async #begin(): Promise<Parts> {
    if (this.#parts) return this.#parts;
    const { connection, prefix, outputFolder, job, key } = this.options;
    // What no worker would take.
    checkJobLimits(job, { cores: Number.POSITIVE_INFINITY });
    const text = canonicalJson(job);
    checkJobText(text);
    const submission = await numberSubmission(outputFolder, job);
    const signature = key && signJob(text, submission, key);
    await removeForgotten(connection, prefix);
    await removeGoneWorkers(connection.redis, this.#keys);
    await this.#announce(submission, signature);
    const queue = await openQueue(connection, prefix, submission, true);
    const events = await openEvents(connection, prefix, submission);
    events.on("completed", () => this.#wake());
    events.on("failed", () => this.#wake());
    const watch = await openWorker(connection, prefix, submission, null, this.#times);
    await watch.startStalledCheckTimer();
    this.#parts = { submission, queue, events, watch, ...(signature !== undefined && { signature }) };
    return this.#parts;
  }

  #announce(submission: string, signature: string | undefined): Promise<void> {
    const { connection, job, jobHash } = this.options;
    return announce(connection.redis, this.#keys, submission, job, jobHash, signature);
  }

  #placeOf(submission: string, name: string): ShardPlace {
    return { submission, jobHash: this.options.jobHash, name };
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
      const forged = this.#forged;
      for (const name of await queue.getRanges(["completed"], 0, -1)) {
        if (stop.aborted) break;
        await this.#take(parts, name, events, failed);
      }
      for (const name of await queue.getRanges(["failed"], 0, -1)) await this.#giveUp(parts, name, failed);
      if (performance.now() - lookedAt >= this.#times.lookMs) {
        await this.#look(parts, events);
        lookedAt = performance.now();
      }
      if (this.#asked.size === 0) break;
      if (this.#forged > forged) await delay(AFTER_FORGED_MS, undefined, { signal: stop }).catch(() => {});
      const timer = setTimeout(() => this.#wake(), this.#times.lookMs);
      await woken;
      clearTimeout(timer);
    }
    return failed;
  }

  /** Compares the queue with what is asked for. */
  async #look(parts: Parts, { onRetry }: ShardEvents): Promise<void> {
    const { queue, submission, signature } = parts;
    await this.#announce(submission, signature);
    const there = new Set(await queue.getRanges([...STATES], 0, -1));
    const missing = [...this.#asked.values()].filter(({ named }) => !there.has(named.name));
    await this.#add(
      parts,
      missing.map(({ named }) => named),
    );
    // Of an earlier run that asked for something else, or not ours at all. One that a worker holds stays until it is done.
    for (const name of there) if (!this.#asked.has(name)) await queue.remove(name);
    for (const name of await queue.getRanges(["delayed"], 0, -1)) {
      const asked = this.#asked.get(name);
      const shard = asked && (await queue.getJob(name));
      if (!asked || !shard?.failedReason || shard.attemptsMade <= asked.told) continue;
      asked.told = shard.attemptsMade;
      const error = this.#believed(shard.failedReason, submission, name);
      if (error !== undefined) onRetry?.({ name, tries: shard.attemptsMade, error });
    }
  }

  /** What a worker says of a failure, on one line; undefined where it is not signed and should be. */
  #believed(reason: string, submission: string, name: string): string | undefined {
    const { key } = this.options;
    const said = key ? signedFailure(reason, this.#placeOf(submission, name), key) : reason;
    return said === undefined ? undefined : shownWords(said, SHOWN_CHARACTERS);
  }

  async #add({ queue, submission }: Parts, shards: readonly NamedTask[]): Promise<void> {
    const tries = this.options.retries + 1;
    for (let first = 0; first < shards.length; first += SHARDS_AT_ONCE) {
      const some = shards.slice(first, first + SHARDS_AT_ONCE);
      // One command each, since a pipeline of them is not waited for: see waiting-redis.ts.
      await Promise.all(
        some.map((named) => {
          const message = shardMessage(named, this.#placeOf(submission, named.name), this.options.key);
          return queue.add(SHARD, message, shardOptions(named.name, tries, this.#times));
        }),
      );
    }
  }

  /** Gets the result of a finished shard into the store, or asks for it again. */
  async #take(
    parts: Parts,
    name: string,
    { onDone, onRetry }: ShardEvents,
    failed: FailedShard[],
  ): Promise<void> {
    const { queue, submission } = parts;
    const { key } = this.options;
    const asked = this.#asked.get(name);
    const shard = asked && (await queue.getJob(name));
    // One that Redis has lost since is queued again at the next look.
    if (!shard) return;
    const done = parseDone(shard.returnvalue);
    if (key && !(done && isSignedDone(done, this.#placeOf(submission, name), key))) {
      await this.#refuseForged(parts, asked);
      return;
    }
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
      await this.#add(parts, [asked.named]);
    }
  }

  /** What nobody with the key has said is as if it were not said: the shard is asked for again, and no try is used up. */
  async #refuseForged(parts: Parts, { named }: Asked): Promise<void> {
    this.#forged += 1;
    // Whoever sends one may send very many: they are told of at 1, 2, 4, 8, ….
    if (Number.isInteger(Math.log2(this.#forged))) {
      this.options.onNotice?.(
        `warning: ${this.#forged} ${this.#forged === 1 ? "result or failure is" : "results or failures are"} not signed with this job's ${KEY_VARIABLE}, the last one of shard ${named.name.slice(0, 12)}: refused, and made again`,
      );
    }
    await parts.queue.remove(named.name);
    await this.#add(parts, [named]);
  }

  /**
   * @returns what is wrong with the result, or "not yet"; undefined when it is in the store
   * @throws RunError where the disk refuses it: it stays in Redis then
   */
  async #store(submission: string, done: DoneShard, asked: Asked): Promise<string | undefined> {
    const { connection, store, nodes, job } = this.options;
    const { name, task } = asked.named;
    const sizes = { nodes, metrics: job.metrics.length };
    if (done.at === "shared folder") {
      const result = await store.get(name);
      if (result) {
        const problem = problemOf(result, sizes);
        // Or the next worker would find it there, and nothing to do.
        if (problem !== undefined) await store.remove(name);
        return problem;
      }
      asked.missedAt ??= performance.now();
      return performance.now() - asked.missedAt < this.#times.sharedFileMs
        ? "not yet"
        : "it is not in the shared folder";
    }
    const most = mostResultBytes(task, sizes);
    if (done.bytes > most) return `expected at most ${most} bytes, got ${done.bytes}`;
    try {
      const bytes = await getResult(connection.redis, this.#keys, submission, done);
      if (!bytes) return "it is no longer in Redis";
      await store.writeBytes(name, bytes, (result) => problemOf(result, sizes));
      return undefined;
    } catch (error) {
      if (!(error instanceof Error) || isOfTheDisk(error)) throw error;
      return error.message;
    }
  }

  async #giveUp(parts: Parts, name: string, failed: FailedShard[]): Promise<void> {
    const { queue, submission } = parts;
    const asked = this.#asked.get(name);
    const shard = asked && (await queue.getJob(name));
    if (asked && shard) {
      const error = this.#believed(shard.failedReason, submission, name);
      if (error === undefined) {
        await this.#refuseForged(parts, asked);
        return;
      }
      this.#asked.delete(name);
      failed.push({ name, tries: shard.attemptsMade, error });
    }
    await queue.remove(name);
  }
}

/** The disk is full, or the folder gone: no fault of a result, and no other result would fare better. */
function isOfTheDisk(error: Error): boolean {
  return error.cause instanceof Error && "syscall" in error.cause;
}
