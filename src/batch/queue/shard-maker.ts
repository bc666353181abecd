/**
 * @file A worker's side of one submission: takes its shards from the queue one at a time, has a process of its own make them, and
 * says where the results are. This process only talks to Redis: its hold on a shard is renewed however long the shard takes.
 */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Job as QueuedShard, UnrecoverableError, WaitingError, type Worker } from "bullmq";
import { canonicalJson } from "../../canonical-json.js";
import { ModelChanged, type ModelFiles } from "../../checkpoint/model-hash.js";
import { asError, InputError, RunError } from "../../errors.js";
import { shownWords } from "../../shown-text.js";
import type { JobHashes } from "../identity.js";
import type { Job } from "../job.js";
import { thisMachine } from "../limits.js";
import { ShardProcess } from "../local/shard-process.js";
import type { NamedTask } from "../shard-task.js";
import { ShardStore } from "../store.js";
import { atMost, type QueueConnection } from "./connection.js";
import { queueKeys } from "./keys.js";
import {
  type DoneShard,
  type HashedJob,
  isSignedShard,
  parseShard,
  type ShardPlace,
  signDone,
  signFailure,
} from "./messages.js";
import { KEY_VARIABLE, type QueueKey } from "./queue-key.js";
import { dropResult, putResult, type Upload } from "./result-pieces.js";
import { openWorker, type QueueTimes } from "./shard-queue.js";
import { findOutputFolder, readSubmission } from "./submission.js";
import { isRefusal } from "./waiting-redis.js";

/** What ending may take when nothing is in hand and Redis does not answer. */
const CLOSE_MS = 5000;

/** Of what went wrong with a shard, in a notice. */
const SHOWN_CHARACTERS = 1000;

export interface ShardMakerOptions {
  readonly connection: QueueConnection;
  readonly prefix: string;
  /** On this machine. */
  readonly modelFolder: string;
  /** Its files as they were when it was hashed. */
  readonly modelFiles: ModelFiles;
  /** Default: what this machine has. */
  readonly memoryBudget?: number;
  /** Signs what it makes; it makes only what is signed then. */
  readonly key?: QueueKey;
  /** Where output folders that this machine shares with coordinators are. */
  readonly sharedFolder?: string;
  readonly onNotice: (text: string) => void;
  /** Told of every shard that is made. */
  readonly onShard?: (name: string, seconds: number) => void;
  /** Aborting it gives up a start that is under way; see `close` for what comes after. */
  readonly signal: AbortSignal;
  readonly times: QueueTimes;
}

/** Where one submission's work is done. */
interface Workplace {
  readonly submission: string;
  readonly job: Job;
  readonly jobHashes: JobHashes;
  /** Of this worker alone; removed at the end. */
  readonly temporary: string;
  /** The output folder itself, where this machine has it. */
  readonly shared?: string;
  readonly store: ShardStore;
}

export class ShardMaker {
  #process: ShardProcess;
  /** Absent until it is open. */
  #worker: Worker | undefined;
  /** A result in Redis that the queue has not taken yet. */
  #uploaded: { readonly name: string; readonly upload: Upload } | undefined;
  /** Settled when nothing is being computed; never rejects. */
  #computing: Promise<unknown> = Promise.resolve();
  /** Shards made. */
  made = 0;
  /** Whether a shard is in hand. */
  busy = false;
  /** Why this worker can make no shards any more, on this machine. */
  failure: Error | undefined;

  private constructor(
    readonly options: ShardMakerOptions,
    readonly place: Workplace,
    process: ShardProcess,
  ) {
    this.#process = process;
  }

  /**
   * Starts engine and model, and then takes shards.
   * @throws InputError where the engine or the model cannot be had here; RunError where they cannot be started; the signal's reason:
   *   the process that was being started ends with this one then
   */
  static async open(
    submission: string,
    { job, jobHashes }: HashedJob,
    options: ShardMakerOptions,
  ): Promise<ShardMaker> {
    const temporary = await mkdtemp(join(tmpdir(), "atpkit-worker-"));
    let process: ShardProcess | undefined;
    try {
      const { sharedFolder, onNotice, signal } = options;
      const shared =
        sharedFolder === undefined ? undefined : await findOutputFolder(sharedFolder, submission);
      if (sharedFolder !== undefined && shared === undefined) {
        onNotice(
          `job ${shortName(jobHashes.verify)}: its output folder is not in ${sharedFolder}; results go through the queue`,
        );
      }
      await writeFile(join(temporary, "job.json"), canonicalJson(job));
      const store = await ShardStore.open(shared ?? temporary, { onNotice });
      const own = shared === undefined ? {} : { shared };
      const place = { submission, job, jobHashes, temporary, store, ...own };
      process = shardProcess(place, options);
      const device = await Promise.race([process.start(), rejectedWhen(signal)]);
      const to = shared === undefined ? "through the queue" : `into ${shared}`;
      onNotice(
        `job ${shortName(jobHashes.verify)}: shards of ${shownWords(job.model.name)} on ${device}; results go ${to}`,
      );
      const maker = new ShardMaker(options, place, process);
      await Promise.race([maker.#begin(), rejectedWhen(signal)]);
      return maker;
    } catch (error) {
      // A large model may take minutes to load, and cannot be stopped.
      if (!options.signal.aborted) await process?.close();
      await rm(temporary, { recursive: true, force: true });
      throw error;
    }
  }

  async #begin(): Promise<void> {
    const { connection, prefix, times, signal } = this.options;
    const make = (shard: QueuedShard, token?: string) => this.#make(shard, token);
    const worker = await openWorker(connection, prefix, this.place.submission, make, times);
    if (signal.aborted) return;
    this.#worker = worker;
    // What the queue refuses for good (a right, a key of another kind) no shard can be had without.
    worker.on("error", (error) => {
      if (isRefusal(error)) this.failure ??= error;
    });
    worker.on("completed", () => {
      this.#uploaded = undefined;
    });
    worker.run().catch((error: unknown) => {
      this.failure = asError(error);
    });
  }

  /**
   * Finishes the shard in hand, takes no other, and ends the process. For a queue that is away it does not wait: a result that cannot be
   * handed in is made again by others.
   */
  async close(): Promise<void> {
    const closing = Promise.resolve(this.#worker?.close());
    await this.#computing;
    const { outage } = this.options.connection;
    if (this.busy) {
      await Promise.race([closing, outage.begun()]);
      if (this.busy)
        this.options.onNotice("the shard in hand cannot be handed in; others will make it again");
    } else {
      const end = closing.then(() => this.#dropUntaken());
      await atMost(CLOSE_MS, end.catch(this.options.connection.onError), outage);
    }
    await this.#process.close();
    await rm(this.place.temporary, { recursive: true, force: true });
  }

  async #make(shard: QueuedShard, token: string | undefined): Promise<DoneShard> {
    this.busy = true;
    try {
      return await this.#makeSigned(shard, token);
    } catch (error) {
      if (!(error instanceof WaitingError)) {
        const text = shownWords(asError(error).message, SHOWN_CHARACTERS);
        this.options.onNotice(`shard ${shortName(String(shard.id))}: ${text}`);
      }
      throw this.#signedFailure(error, shard);
    } finally {
      this.busy = false;
    }
  }

  async #makeSigned(shard: QueuedShard, token: string | undefined): Promise<DoneShard> {
    await this.#dropUntaken();
    const named = this.#read(shard);
    try {
      await this.#ready();
    } catch (error) {
      await this.#handBack(shard, token, error);
    }
    const began = performance.now();
    let done: DoneShard;
    try {
      done = await this.#compute(named);
    } catch (error) {
      // The shard is right, and this worker is none for this job, or this queue, any more.
      if (error instanceof ModelChanged || isRefusal(error)) await this.#handBack(shard, token, error);
      throw error;
    }
    this.made += 1;
    this.options.onShard?.(named.name, (performance.now() - began) / 1000);
    const { key } = this.options;
    return key ? signDone(done, this.#placeOf(shard), key) : done;
  }

  /** Of a shard that was taken for lost meanwhile, in an outage for one, nobody fetches the result: it makes room. */
  async #dropUntaken(): Promise<void> {
    const untaken = this.#uploaded;
    this.#uploaded = undefined;
    if (!untaken) return;
    const { connection, prefix } = this.options;
    const { submission } = this.place;
    const said = await connection.redis.hget(`${prefix}:${submission}:${untaken.name}`, "returnvalue");
    // It was taken, and only the answer was lost.
    if (said?.includes(untaken.upload.upload)) return;
    await dropResult(connection.redis, queueKeys(prefix), submission, untaken.upload);
  }

  #placeOf(shard: QueuedShard): ShardPlace {
    const { submission, jobHashes } = this.place;
    return { submission, jobHash: jobHashes.verify, name: String(shard.id) };
  }

  /** The same failure, so that the coordinator can believe it. Of what was not signed there is nothing to be believed. */
  #signedFailure(error: unknown, shard: QueuedShard): unknown {
    const { key } = this.options;
    const place = this.#placeOf(shard);
    if (!key || error instanceof WaitingError || !isSignedShard(shard.data, place, key)) return error;
    const text = signFailure(asError(error).message, place, key);
    return error instanceof UnrecoverableError ? new UnrecoverableError(text) : new Error(text);
  }

  #read(shard: QueuedShard): NamedTask {
    const { key } = this.options;
    if (key && !isSignedShard(shard.data, this.#placeOf(shard), key)) {
      throw new UnrecoverableError(`refused: it is not signed with the ${KEY_VARIABLE} of this worker`);
    }
    try {
      return parseShard(shard.data, shard.id, this.place);
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      throw new UnrecoverableError(`refused: ${error.message}`);
    }
  }

  /** Engine, model and folder are there: what goes wrong here is no fault of a shard. */
  async #ready(): Promise<void> {
    const { shared, submission } = this.place;
    if (shared !== undefined && (await readSubmission(shared))?.submission !== submission) {
      throw new RunError(
        `worker: ${shared}: expected the output folder of the job, got another one or nothing`,
      );
    }
    if (this.#process.alive) return;
    await this.#process.close();
    this.#process = shardProcess(this.place, this.options);
    await this.#process.start();
  }

  /** Gives the shard to others without its having used up a try, and lets this worker end. */
  async #handBack(shard: QueuedShard, token: string | undefined, reason: unknown): Promise<never> {
    this.failure = asError(reason);
    // Begun first, so that this worker does not take the shard again; it waits for this one to be handed back.
    void this.#worker?.close();
    await shard.moveToWait(token);
    throw new WaitingError();
  }

  async #compute(named: NamedTask): Promise<DoneShard> {
    const { store, shared, submission } = this.place;
    // A worker that was taken for dead may have made it after all.
    if (!(await store.has(named.name))) {
      try {
        const computed = this.#process.compute(named);
        this.#computing = computed.catch(() => {});
        await computed;
      } catch (error) {
        if (error instanceof ModelChanged) throw error;
        // What is wrong with the input would be wrong again.
        throw error instanceof InputError ? new UnrecoverableError(error.message) : error;
      }
    }
    if (shared !== undefined) return { at: "shared folder" };
    const { connection, prefix } = this.options;
    const bytes = await store.readBytes(named.name);
    const upload = await putResult(connection.redis, queueKeys(prefix), submission, bytes);
    this.#uploaded = { name: named.name, upload };
    await store.remove(named.name);
    return { at: "queue", ...upload };
  }
}

function shardProcess(
  place: Workplace,
  { modelFolder, modelFiles, memoryBudget }: ShardMakerOptions,
): ShardProcess {
  const { threads } = place.job;
  return new ShardProcess({
    modelFolder,
    modelFiles,
    jobFile: join(place.temporary, "job.json"),
    outputFolder: place.shared ?? place.temporary,
    memoryBudget: memoryBudget ?? thisMachine().memoryBytes,
    ...(threads !== undefined && { threads }),
  });
}

function rejectedWhen(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

/** Of a hash, for people. */
export function shortName(hash: string): string {
  return hash.slice(0, 12);
}
