/**
 * @file How far a job is, as a small file beside its outputs that anybody may read at any time. It is for people: nothing that is
 * computed depends on it, and a status that cannot be written stops nothing.
 */

import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { z } from "zod";
import { InputError } from "../errors.js";
import { writeAtomically } from "../report/atomic-file.js";

export const JOB_STAGES = ["estimate", "rank", "verify", "certify"] as const;

export type JobStage = (typeof JOB_STAGES)[number];

const failureSchema = z.object({
  stage: z.enum(JOB_STAGES),
  /** Name of the shard. */
  shard: z.string(),
  /** Which nodes and pairs, or samples, for people. */
  what: z.string(),
  tries: z.number(),
  error: z.string(),
});

const statusSchema = z.object({
  /** Hash of the job. */
  job: z.string(),
  state: z.enum(["running", "done", "failed", "interrupted"]),
  stage: z.enum(JOB_STAGES),
  /** Of the stage, so far as it is known how many it has. */
  shards: z.object({ done: z.number(), total: z.number(), failed: z.number(), reused: z.number() }),
  /** Shards that were made, by second of the stage; absent before the first one. */
  shardsPerSecond: z.number().optional(),
  /** Of the stage. */
  secondsLeft: z.number().optional(),
  started: z.string(),
  updated: z.string(),
  /** Shards that were given up. */
  failures: z.array(failureSchema),
  process: z.object({ pid: z.number(), host: z.string() }),
});

/** A shard that was given up, for people. */
export type ShardFailure = z.infer<typeof failureSchema>;

export type JobStatus = z.infer<typeof statusSchema>;

/** Milliseconds between two writes of a status that moves on. */
const WRITE_MS = 1000;

/** The status of a job that this process runs. */
export class StatusFile {
  #status: JobStatus;
  #stageBegan = performance.now();
  #writtenAt = Number.NEGATIVE_INFINITY;
  #writing: Promise<void> = Promise.resolve();

  constructor(
    readonly path: string,
    job: string,
  ) {
    const now = new Date().toISOString();
    this.#status = {
      job,
      state: "running",
      stage: "estimate",
      shards: { done: 0, total: 0, failed: 0, reused: 0 },
      started: now,
      updated: now,
      failures: [],
      process: { pid: process.pid, host: hostname() },
    };
  }

  get status(): JobStatus {
    return this.#status;
  }

  /** A stage begins, or has got more to do. */
  begin(stage: JobStage, total: number, reused: number): void {
    const { shardsPerSecond: _rate, secondsLeft: _left, ...status } = this.#status;
    this.#stageBegan = performance.now();
    this.#set({ ...status, stage, shards: { done: reused, total, failed: 0, reused } });
  }

  /** A shard is in the store. */
  advance(): void {
    const { shards, ...status } = this.#status;
    const done = shards.done + 1;
    const shardsPerSecond = ((done - shards.reused) * 1000) / (performance.now() - this.#stageBegan);
    this.#set({
      ...status,
      shards: { ...shards, done },
      shardsPerSecond,
      secondsLeft: (shards.total - done) / shardsPerSecond,
    });
  }

  fail(failures: readonly ShardFailure[]): void {
    const { shards } = this.#status;
    this.#set({
      ...this.#status,
      shards: { ...shards, failed: failures.length },
      failures: [...this.#status.failures, ...failures],
    });
  }

  /** The last word. */
  async end(state: Exclude<JobStatus["state"], "running">): Promise<void> {
    const { secondsLeft: _left, ...status } = this.#status;
    this.#status = { ...status, state };
    await this.#write();
  }

  #set(status: JobStatus): void {
    this.#status = status;
    if (performance.now() - this.#writtenAt >= WRITE_MS) void this.#write();
  }

  #write(): Promise<void> {
    this.#writtenAt = performance.now();
    this.#status = { ...this.#status, updated: new Date().toISOString() };
    const text = `${JSON.stringify(this.#status, undefined, 2)}\n`;
    this.#writing = this.#writing
      .then(() => writeAtomically(this.path, (handle) => handle.writeFile(text)))
      .catch(() => {});
    return this.#writing;
  }
}

/**
 * The status of a job; undefined where the job has not begun.
 * @throws InputError for a file that is no status
 */
export async function readStatus(path: string): Promise<JobStatus | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
  try {
    return statusSchema.parse(JSON.parse(text));
  } catch (error) {
    throw new InputError(
      `readStatus: ${path}: expected the status of a job, got something else: ${String(error)}`,
    );
  }
}

/** Whether the process that wrote it last is gone without a last word: it was killed. False where it ran on another machine. */
export function wasKilled({ state, process: { pid, host } }: JobStatus): boolean {
  return state === "running" && host === hostname() && !isRunning(pid);
}

/** Whether this machine has a process of that number. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it is somebody else's.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
