/**
 * @file How far a job is, as a small file beside its outputs that anybody may read at any time. It is for people: nothing that is
 * computed depends on it, and a status that cannot be written stops nothing.
 */

import { hostname } from "node:os";
import { z } from "zod";
import { writeJson } from "../atomic-file.js";
import { InputError } from "../errors.js";
import { issueText } from "../field-errors.js";
import { isRunning } from "../results/folder-lock.js";
import { parseJsonText, readTextFile } from "../text-file.js";

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

/** Milliseconds between two writes while shards come in. */
const WRITE_MS = 1000;

/** The status of a job that this process runs. */
export class StatusFile {
  #status: JobStatus;
  #stageBegan = performance.now();
  #writtenAt = Number.NEGATIVE_INFINITY;
  /** Of a write that is due later. */
  #timer: NodeJS.Timeout | undefined;
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

  /** A stage begins, or has got more to do. */
  begin(stage: JobStage, total: number, reused: number): void {
    const { shardsPerSecond: _rate, secondsLeft: _left, ...status } = this.#status;
    this.#stageBegan = performance.now();
    this.#status = { ...status, stage, shards: { done: reused, total, failed: 0, reused } };
    void this.#write();
  }

  /** A shard of the stage that was there is damaged, and is made again. */
  again(): void {
    const { shards, secondsLeft: _left, ...status } = this.#status;
    const done = shards.done - 1;
    this.#status = { ...status, shards: { ...shards, done, reused: Math.min(shards.reused, done) } };
    void this.#write();
  }

  /** A shard is in the store. */
  advance(): void {
    const { shards, ...status } = this.#status;
    const done = shards.done + 1;
    const shardsPerSecond = ((done - shards.reused) * 1000) / (performance.now() - this.#stageBegan);
    this.#status = {
      ...status,
      shards: { ...shards, done },
      shardsPerSecond,
      secondsLeft: (shards.total - done) / shardsPerSecond,
    };
    const wait = this.#writtenAt + WRITE_MS - performance.now();
    if (wait <= 0) void this.#write();
    else this.#timer ??= setTimeout(() => void this.#write(), wait).unref();
  }

  fail(failures: readonly ShardFailure[]): void {
    const { shards } = this.#status;
    this.#status = {
      ...this.#status,
      shards: { ...shards, failed: failures.length },
      failures: [...this.#status.failures, ...failures],
    };
    void this.#write();
  }

  /** The last word. */
  async end(state: Exclude<JobStatus["state"], "running">): Promise<void> {
    const { secondsLeft: _left, ...status } = this.#status;
    this.#status = { ...status, state };
    await this.#write();
  }

  #write(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#writtenAt = performance.now();
    this.#status = { ...this.#status, updated: new Date().toISOString() };
    const status = this.#status;
    this.#writing = this.#writing.then(() => writeJson(this.path, status)).catch(() => {});
    return this.#writing;
  }
}

/**
 * The status of a job; undefined where the job has not begun.
 * @throws InputError for a file that is no status, or cannot be read
 */
export async function readStatus(path: string): Promise<JobStatus | undefined> {
  const text = await readTextFile(path);
  if (text === undefined) return undefined;
  const parsed = statusSchema.safeParse(parseJsonText(text, path));
  if (parsed.success) return parsed.data;
  throw new InputError(
    `readStatus: ${path}: expected the status of a job, got something else: ${issueText(parsed.error.issues[0])}`,
  );
}

/** Whether the process that wrote it last is gone without a last word: it was killed. False where it ran on another machine. */
export function wasKilled({ state, process: { pid, host } }: JobStatus): boolean {
  return state === "running" && host === hostname() && !isRunning(pid);
}
