/**
 * @file A worker: looks for submissions that it fits, and makes their shards, those of one submission at a time. One that it does not
 * fit (another model, version or engine) it leaves alone and says why, once: its shards stay for workers that do.
 */

import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import type { Queue } from "bullmq";
import { type HashedModel, ModelChanged } from "../../checkpoint/model-hash.js";
import type { Backend } from "../../engine/start-engine.js";
import { InputError } from "../../errors.js";
import { packageVersion } from "../../version.js";
import type { Job } from "../job.js";
import { atMost } from "./connection.js";
import { queueKeys } from "./keys.js";
import { type HashedJob, parsePublishedJob } from "./messages.js";
import { endPresence, PRESENCE_MS, type Presence, showPresence } from "./presence.js";
import { ShardMaker, type ShardMakerOptions, shortName } from "./shard-maker.js";
import { openQueue, QUEUE_TIMES, type QueueTimes } from "./shard-queue.js";
import { type Announced, announced, announcedJob, isAnnounced } from "./submission.js";

/** Between looks for submissions. A new shard of the one that is worked on comes at once. */
const LOOK_MS = 1000;

/** What a goodbye may take when Redis does not answer. */
const GOODBYE_MS = 2000;

export interface QueueWorkerOptions extends Omit<ShardMakerOptions, "modelFolder" | "modelFiles" | "times"> {
  readonly model: HashedModel & { readonly name: string; readonly folder: string };
  /** The only engine to work with; default: whichever the job has. */
  readonly engine?: Backend;
  /** Ends the worker when it has had nothing to do for so long, in seconds; default: it waits for ever. */
  readonly exitWhenIdle?: number;
  readonly times?: QueueTimes;
}

/** What is known about a submission. */
interface Known {
  readonly jobHash: string;
  readonly queue: Queue;
  readonly fit: HashedJob | { readonly refusal: string };
}

/**
 * Works until its signal is aborted: then it finishes the shard in hand.
 * @returns how many shards it has made
 * @throws RunError where engine, model or shared folder fail this worker, not a shard; ModelChanged where the model is not the one
 *   any more that was hashed
 */
export async function runQueueWorker(options: QueueWorkerOptions): Promise<number> {
  const worker = new QueueWorker(options);
  try {
    await worker.work();
  } finally {
    await worker.close();
  }
  return worker.made;
}

class QueueWorker {
  readonly #id = randomBytes(16).toString("hex");
  readonly #known = new Map<string, Known>();
  #maker: ShardMaker | undefined;
  /** Submissions whose makers are closed. */
  readonly #left: string[] = [];
  #leaving: Promise<void> = Promise.resolve();
  #madeBefore = 0;
  #busyAt = performance.now();
  #shownAt = Number.NEGATIVE_INFINITY;

  constructor(readonly options: QueueWorkerOptions) {}

  get made(): number {
    return this.#madeBefore + (this.#maker?.made ?? 0);
  }

  async work(): Promise<void> {
    const { signal, exitWhenIdle = Number.POSITIVE_INFINITY } = this.options;
    const aborted = new Promise<void>((resolve) => {
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
    while (!signal.aborted) {
      // Redis may be away for long: an end is not to wait for it.
      await Promise.race([this.#turn(), aborted]);
      if (this.#maker?.failure) throw this.#maker.failure;
      if (this.#maker?.busy) this.#busyAt = performance.now();
      if (performance.now() - this.#busyAt > exitWhenIdle * 1000) return;
      await delay(LOOK_MS, undefined, { signal }).catch(() => {});
    }
  }

  async close(): Promise<void> {
    const { connection, prefix } = this.options;
    await this.#leave();
    const end = async () => {
      await endPresence(connection.redis, queueKeys(prefix), this.#id);
      await this.#sweep();
      await Promise.all([...this.#known.values()].map(({ queue }) => queue.close()));
    };
    await atMost(GOODBYE_MS, end().catch(connection.onError));
  }

  async #turn(): Promise<void> {
    const { connection, prefix } = this.options;
    const there = await announced(connection.redis, queueKeys(prefix));
    await this.#learn(there);
    await this.#choose(there);
    // An end does not wait for a turn, and may have said goodbye already.
    if (this.options.signal.aborted || performance.now() - this.#shownAt < PRESENCE_MS) return;
    await showPresence(connection.redis, queueKeys(prefix), this.#id, this.#presence());
    this.#shownAt = performance.now();
  }

  /** Reads the jobs of new submissions, and forgets those that are gone. */
  async #learn(there: readonly Announced[]): Promise<void> {
    const { connection, prefix, onNotice } = this.options;
    const gone = new Set(this.#known.keys());
    for (const { submission, jobHash } of there) {
      gone.delete(submission);
      if (this.#known.get(submission)?.jobHash === jobHash) continue;
      const text = await announcedJob(connection.redis, queueKeys(prefix), submission);
      if (text === undefined) continue;
      const fit = this.#fit(text, jobHash);
      if ("refusal" in fit)
        onNotice(`job ${shortName(jobHash)}: ${fit.refusal}; its shards are left to other workers`);
      const queue = await openQueue(connection, prefix, submission);
      await this.#known.get(submission)?.queue.close();
      this.#known.set(submission, { jobHash, queue, fit });
    }
    for (const submission of gone) {
      await this.#known.get(submission)?.queue.close();
      this.#known.delete(submission);
    }
  }

  #fit(text: string, expectedHash: string): Known["fit"] {
    const { model, engine } = this.options;
    try {
      const published = parsePublishedJob(text, expectedHash);
      const refusal = misfit(published.job, { model, atpkit: packageVersion(), ...(engine && { engine }) });
      return refusal === undefined ? published : { refusal };
    } catch (error) {
      if (error instanceof InputError) return { refusal: `it is refused: ${error.message}` };
      throw error;
    }
  }

  /** Goes on with the submission that it has, or to one where there is more to do. */
  async #choose(there: readonly Announced[]): Promise<void> {
    if (this.#maker?.busy || this.#maker?.failure) return;
    const mine = this.#maker?.place.submission;
    const waiting: string[] = [];
    const open: string[] = [];
    for (const { submission } of there) {
      const known = this.#known.get(submission);
      if (!known || "refusal" in known.fit) continue;
      const {
        wait = 0,
        delayed = 0,
        active = 0,
      } = await known.queue.getJobCounts("wait", "delayed", "active");
      if (wait > 0) waiting.push(submission);
      // Shards that a worker holds may be those of one that is dead.
      else if (delayed + active > 0) open.push(submission);
    }
    if (this.#maker) {
      const isThere = there.some(({ submission }) => submission === mine);
      const others = waiting.length > 0 && !waiting.includes(mine ?? "");
      // It may have begun a shard in the meantime.
      if (this.#maker.busy || this.#maker.failure || (isThere && !others)) return;
      await this.#leave();
      await this.#sweep();
    }
    const [submission] = [...waiting, ...open];
    if (submission !== undefined) await this.#join(submission);
  }

  async #join(submission: string): Promise<void> {
    const known = this.#known.get(submission);
    if (!known || "refusal" in known.fit || this.options.signal.aborted) return;
    const { model, times = QUEUE_TIMES, onNotice } = this.options;
    try {
      this.#maker = await ShardMaker.open(submission, known.fit, {
        ...this.options,
        modelFolder: model.folder,
        modelFiles: model.files,
        times,
      });
      this.#busyAt = performance.now();
    } catch (error) {
      if (error instanceof ModelChanged || !(error instanceof InputError)) throw error;
      onNotice(`job ${shortName(known.jobHash)}: ${error.message}; its shards are left to other workers`);
      this.#known.set(submission, { ...known, fit: { refusal: error.message } });
    }
  }

  /** Also waits for a leave that is under way: an end may come in the middle of a turn. */
  #leave(): Promise<void> {
    const maker = this.#maker;
    if (!maker) return this.#leaving;
    this.#maker = undefined;
    this.#leaving = maker.close().finally(() => {
      this.#madeBefore += maker.made;
      this.#left.push(maker.place.submission);
    });
    return this.#leaving;
  }

  /**
   * Clears queues that this worker has left and whose coordinator has removed them: looking for shards of dead workers may have
   * written to them after that.
   */
  async #sweep(): Promise<void> {
    const { connection, prefix } = this.options;
    for (const submission of this.#left.splice(0)) {
      if (await isAnnounced(connection.redis, queueKeys(prefix), submission)) continue;
      const queue = await openQueue(connection, prefix, submission);
      // Another worker that leaves it in the same moment clears it, too, and one of them finds it gone.
      await queue.obliterate({ force: true }).catch(() => {});
      await queue.close();
    }
  }

  #presence(): Presence {
    const { model, engine = "auto" } = this.options;
    const refuses: Record<string, string> = {};
    for (const [submission, { fit }] of this.#known) if ("refusal" in fit) refuses[submission] = fit.refusal;
    return {
      host: hostname(),
      pid: process.pid,
      atpkit: packageVersion(),
      engine,
      model: { name: model.name, hash: model.hash },
      made: this.made,
      refuses,
      ...(this.#maker && { submission: this.#maker.place.submission }),
    };
  }
}

export interface WorkerIdentity {
  readonly model: { readonly name: string; readonly hash: string };
  readonly atpkit: string;
  readonly engine?: Backend;
}

/** Why a worker does not make the same numbers as a job asks for; undefined where it does. */
export function misfit(job: Job, { model, atpkit, engine }: WorkerIdentity): string | undefined {
  if (job.atpkit !== atpkit) return `it needs atpkit ${job.atpkit}, and this worker is ${atpkit}`;
  if (job.model.hash !== model.hash) {
    return (
      `it needs the model ${job.model.name} with hash ${shortName(job.model.hash)}…, ` +
      `and this worker has ${model.name} with hash ${shortName(model.hash)}…`
    );
  }
  if (engine !== undefined && job.backend !== engine) {
    return `it needs the engine ${job.backend}, and this worker was started with --engine ${engine}`;
  }
  return undefined;
}
