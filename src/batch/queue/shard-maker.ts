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
import type { JobHashes } from "../identity.js";
import type { Job } from "../job.js";
import { ShardProcess } from "../local/shard-process.js";
import type { NamedTask } from "../shard-task.js";
import { ShardStore } from "../store.js";
import { atMost, type QueueConnection } from "./connection.js";
import { queueKeys } from "./keys.js";
import { type DoneShard, type HashedJob, parseShard } from "./messages.js";
import { putResult } from "./result-pieces.js";
import { openWorker, type QueueTimes } from "./shard-queue.js";
import { findOutputFolder, readSubmission } from "./submission.js";

/** What ending may take when nothing is in hand and Redis does not answer. */
const CLOSE_MS = 5000;

export interface ShardMakerOptions {
  readonly connection: QueueConnection;
  readonly prefix: string;
  /** On this machine. */
  readonly modelFolder: string;
  /** Its files as they were when it was hashed. */
  readonly modelFiles: ModelFiles;
  readonly memoryBudget?: number;
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
        `job ${shortName(jobHashes.verify)}: shards of ${job.model.name} on ${device}; results go ${to}`,
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
    worker.run().catch((error: unknown) => {
      this.failure = asError(error);
    });
  }

  /** Finishes the shard in hand, takes no other, and ends the process. */
  async close(): Promise<void> {
    const closing = this.#worker?.close();
    // A result is worth any wait.
    if (this.busy) await closing;
    else await atMost(CLOSE_MS, Promise.resolve(closing));
    await this.#process.close();
    await rm(this.place.temporary, { recursive: true, force: true });
  }

  async #make(shard: QueuedShard, token: string | undefined): Promise<DoneShard> {
    this.busy = true;
    try {
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
        // The shard is right, and this worker is none for this job any more.
        if (error instanceof ModelChanged) await this.#handBack(shard, token, error);
        throw error;
      }
      this.made += 1;
      this.options.onShard?.(named.name, (performance.now() - began) / 1000);
      return done;
    } catch (error) {
      if (!(error instanceof WaitingError)) {
        const message = error instanceof Error ? error.message : String(error);
        this.options.onNotice(`shard ${shortName(String(shard.id))}: ${message}`);
      }
      throw error;
    } finally {
      this.busy = false;
    }
  }

  #read(shard: QueuedShard): NamedTask {
    try {
      return parseShard(shard.data, shard.id, this.place.job, this.place.jobHashes);
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
        await this.#process.compute(named);
      } catch (error) {
        if (error instanceof ModelChanged) throw error;
        // What is wrong with the input would be wrong again.
        throw error instanceof InputError ? new UnrecoverableError(error.message) : error;
      }
    }
    if (shared !== undefined) return { at: "shared folder" };
    const { connection, prefix, onNotice } = this.options;
    const onFull = () =>
      onNotice(`queue ${connection.shown}: it is full; waiting until results are fetched from it`);
    const bytes = await store.readBytes(named.name);
    const upload = await putResult(connection.redis, queueKeys(prefix), submission, bytes, onFull);
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
    ...(memoryBudget !== undefined && { memoryBudget }),
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
