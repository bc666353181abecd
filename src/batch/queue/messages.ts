/**
 * @file What coordinator and workers tell each other. Whatever comes out of Redis is checked before it is believed: anybody who can
 * write there can write anything. A message is data, checked against the job; it names nothing on a machine, and a shard that does
 * not have the name that its task hashes to is not made.
 */

import { z } from "zod";
import { InputError } from "../../errors.js";
import { HASH, type JobHashes, jobHashes, nameTask } from "../identity.js";
import type { Job } from "../job.js";
import { parseJob, parseTask } from "../parse-job.js";
import type { NamedTask } from "../shard-task.js";
import { RANDOM_ID } from "./keys.js";
import { MAX_RESULT_BYTES } from "./result-pieces.js";

/** More text than any job of hundreds of thousands of prompts. */
const MAX_JOB_CHARACTERS = 2 ** 29;

/** What a finished shard's message says: where the result is. */
const doneSchema = z.discriminatedUnion("at", [
  z.strictObject({ at: z.literal("shared folder") }),
  z.strictObject({
    at: z.literal("queue"),
    upload: z.string().regex(RANDOM_ID),
    bytes: z.int().min(1).max(MAX_RESULT_BYTES),
    sha256: z.string().regex(HASH),
  }),
]);

export type DoneShard = z.infer<typeof doneSchema>;

/** @returns undefined for anything else */
export function parseDone(value: unknown): DoneShard | undefined {
  return doneSchema.safeParse(value).data;
}

const shardSchema = z.strictObject({ name: z.string().regex(HASH), task: z.unknown() });

/**
 * Reads the message of a shard.
 * @param id what the queue calls it, which is the shard's name
 * @param job the one whose queue it lies in, and its hashes
 * @throws InputError for anything that is not a shard of this job
 */
export function parseShard(value: unknown, id: string | undefined, job: Job, hashes: JobHashes): NamedTask {
  const { data } = shardSchema.safeParse(value);
  if (!data) throw new InputError("parseShard: expected the name and task of a shard, got something else");
  const task = parseTask(data.task);
  const range = task.kind === "sample" ? undefined : task.pairs;
  if (range && range.end > job.pairs.length) {
    throw new InputError(
      `parseShard: expected some of ${job.pairs.length} pairs, got pairs up to ${range.end}`,
    );
  }
  const named = nameTask(hashes, task);
  if (named.name !== data.name || named.name !== id) {
    throw new InputError(`parseShard: expected the name ${named.name}, which the task has, got another one`);
  }
  return named;
}

/** A job, and its hashes: that of verify shards is the job's own. */
export interface HashedJob {
  readonly job: Job;
  readonly jobHashes: JobHashes;
}

/**
 * Reads a published job. What its hash does not cover decides no number.
 * @returns it, and its hashes
 * @throws InputError for text that is not the job of that hash
 */
export function parsePublishedJob(text: string, expectedHash: string): HashedJob {
  if (text.length > MAX_JOB_CHARACTERS) {
    throw new InputError(
      `parsePublishedJob: expected at most ${MAX_JOB_CHARACTERS} characters, got ${text.length}`,
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new InputError("parsePublishedJob: expected JSON, got something else");
  }
  const job = parseJob(value);
  const hashes = jobHashes(job);
  if (hashes.verify !== expectedHash) {
    throw new InputError(`parsePublishedJob: expected the job ${expectedHash}, got ${hashes.verify}`);
  }
  return { job, jobHashes: hashes };
}
