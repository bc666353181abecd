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
import { shownWords } from "../../shown-text.js";
import { packageVersion } from "../../version.js";
import type { Job } from "../job.js";
import { ShardProcessDied } from "../local/shard-process.js";
import { atMost } from "./connection.js";
import { queueKeys } from "./keys.js";
import { type HashedJob, isSignedJob, parsePublishedJob } from "./messages.js";
import { endPresence, PRESENCE_MS, type Presence, showPresence } from "./presence.js";
import { KEY_VARIABLE, type QueueKey } from "./queue-key.js";
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

/** How often a job's process may die before it was ready: then it is the job's fault as like as not. */
const MOST_STARTS = 3;

/** What is known about a submission. */
interface Known extends Announced {
  readonly queue: Queue;
  /** How often its process died before it was ready. */
  readonly deadStarts: number;
  readonly fit: HashedJob | { readonly refusal: string };
}

/**
 * Works until its signal is aborted: then it finishes the shard in hand, unless the queue is away and could not take it.
 * @returns how many shards it has made
 * @throws RunError where engine, model or shared folder fail this worker, not a shard, or the server refuses something for good; ModelChanged where the model is not the one
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
    await atMost(GOODBYE_MS, end().catch(connection.onError), connection.outage);
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
    for (const found of there) {
      const { submission, jobHash } = found;
      gone.delete(submission);
      const known = this.#known.get(submission);
      // A job whose signature was replaced is read again when its coordinator has put it back.
      if (known?.jobHash === jobHash && known.signature === found.signature) continue;
      const fit = await this.#fitOf(found);
      if (!fit) continue;
      if ("refusal" in fit)
        onNotice(`job ${shortName(jobHash)}: ${fit.refusal}; its shards are left to other workers`);
      const queue = await openQueue(connection, prefix, submission);
      await this.#known.get(submission)?.queue.close();
      this.#known.set(submission, { ...found, queue, fit, deadStarts: 0 });
    }
    for (const submission of gone) {
      await this.#known.get(submission)?.queue.close();
      this.#known.delete(submission);
    }
  }

  /** Undefined for a job that is gone. */
  async #fitOf(found: Announced): Promise<Known["fit"] | undefined> {
    const { connection, prefix } = this.options;
    try {
      const text = await announcedJob(connection.redis, queueKeys(prefix), found.submission);
      return text === undefined ? undefined : this.#fit(text, found);
    } catch (error) {
      if (error instanceof InputError) return { refusal: `it is refused: ${error.message}` };
      throw error;
    }
  }

  /** @throws InputError for a job that is refused whoever the worker is */
  #fit(text: string, { submission, jobHash, signature }: Announced): Known["fit"] {
    const { model, engine, key } = this.options;
    const unsigned = unsignedReason(text, submission, signature, key);
    if (unsigned !== undefined) return { refusal: unsigned };
    const published = parsePublishedJob(text, jobHash);
    const refusal = misfit(published.job, { model, atpkit: packageVersion(), ...(engine && { engine }) });
    return refusal === undefined ? published : { refusal };
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
      const died = error instanceof ShardProcessDied;
      if (error instanceof ModelChanged || !(died || error instanceof InputError)) throw error;
      const deadStarts = known.deadStarts + 1;
      const again = died && deadStarts < MOST_STARTS;
      const then = again ? "it is tried again" : "its shards are left to other workers";
      onNotice(`job ${shortName(known.jobHash)}: ${error.message}; ${then}`);
      const fit = again ? known.fit : { refusal: error.message };
      this.#known.set(submission, { ...known, fit, deadStarts });
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

/** Why a worker cannot trust a job, or its coordinator could not trust the worker; undefined where both have the same key, or none. */
function unsignedReason(
  text: string,
  submission: string,
  signature: string | undefined,
  key: QueueKey | undefined,
): string | undefined {
  if (!key) {
    return signature === undefined ? undefined : `it is signed, and this worker has no ${KEY_VARIABLE}`;
  }
  if (signature === undefined) {
    return `it is not signed, and this worker takes only jobs that are signed with its ${KEY_VARIABLE}`;
  }
  if (isSignedJob(text, submission, signature, key)) return undefined;
  return `it is signed with another ${KEY_VARIABLE} than that of this worker`;
}

/** Why a worker does not make the same numbers as a job asks for; undefined where it does. */
export function misfit(job: Job, { model, atpkit, engine }: WorkerIdentity): string | undefined {
  if (job.atpkit !== atpkit) return `it needs atpkit ${shownWords(job.atpkit)}, and this worker is ${atpkit}`;
  if (job.model.hash !== model.hash) {
    return (
      `it needs the model ${shownWords(job.model.name)} with hash ${shortName(job.model.hash)}…, ` +
      `and this worker has ${model.name} with hash ${shortName(model.hash)}…`
    );
  }
  if (engine !== undefined && job.backend !== engine) {
    return `it needs the engine ${job.backend}, and this worker was started with --engine ${engine}`;
  }
  return undefined;
}
