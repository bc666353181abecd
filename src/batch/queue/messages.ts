/**
 * @file What coordinator and workers tell each other. Whatever comes out of Redis is checked before it is believed: anybody who can
 * write there can write anything. A message is data, checked against the job; it names nothing on a machine, and a shard that does
 * not have the name that its task hashes to is not made.
 */

import { createHash } from "node:crypto";
import { z } from "zod";
import { InputError } from "../../errors.js";
import { HASH, type JobHashes, jobHashes, nameTask } from "../identity.js";
import type { Job } from "../job.js";
import { checkJobLimits, checkShardLimits, thisMachine } from "../limits.js";
import { parseJob, parseTask } from "../parse-job.js";
import type { NamedTask } from "../shard-task.js";
import { RANDOM_ID } from "./keys.js";
import { type QueueKey, SIGNATURE } from "./queue-key.js";
import { MAX_RESULT_BYTES } from "./result-pieces.js";
import { isSmallJson } from "./small-json.js";

/** More text than any job of hundreds of thousands of prompts, of which each has about ten arrays. */
const JOB_TEXT = { characters: 2 ** 27, brackets: 2 ** 22 } as const;

const signature = z.string().regex(SIGNATURE).optional();

/** What a finished shard's message says: where the result is. */
const doneSchema = z.discriminatedUnion("at", [
  z.strictObject({ at: z.literal("shared folder"), signature }),
  z.strictObject({
    at: z.literal("queue"),
    upload: z.string().regex(RANDOM_ID),
    bytes: z.int().min(1).max(MAX_RESULT_BYTES),
    sha256: z.string().regex(HASH),
    signature,
  }),
]);

export type DoneShard = z.infer<typeof doneSchema>;

/** @returns undefined for anything else */
export function parseDone(value: unknown): DoneShard | undefined {
  return doneSchema.safeParse(value).data;
}

/** Which shard of which submission something belongs to: signed with everything that is said of it. */
export interface ShardPlace {
  readonly submission: string;
  /** Of the whole job. */
  readonly jobHash: string;
  /** Of the shard. */
  readonly name: string;
}

function partsOf({ submission, jobHash, name }: ShardPlace): string[] {
  return [submission, jobHash, name];
}

/** Signs what is said of a finished shard. The bytes are signed by their SHA-256. */
export function signDone(done: DoneShard, place: ShardPlace, key: QueueKey): DoneShard {
  return { ...done, signature: key.sign("result", [...partsOf(place), ...saidOf(done)]) };
}

export function isSignedDone(done: DoneShard, place: ShardPlace, key: QueueKey): boolean {
  return key.signed("result", [...partsOf(place), ...saidOf(done)], done.signature);
}

function saidOf(done: DoneShard): (string | number)[] {
  return done.at === "queue" ? [done.at, done.upload, done.bytes, done.sha256] : [done.at];
}

/** Stands between the text of a failure and its signature. */
const SIGNED = " · signed ";

/** A failure's text with its signature: Redis keeps a text alone. */
export function signFailure(text: string, place: ShardPlace, key: QueueKey): string {
  return `${text}${SIGNED}${key.sign("failure", [...partsOf(place), text])}`;
}

/** The text of a failure that was signed; undefined for any other. */
export function signedFailure(text: string, place: ShardPlace, key: QueueKey): string | undefined {
  const at = text.lastIndexOf(SIGNED);
  const said = text.slice(0, Math.max(at, 0));
  return key.signed("failure", [...partsOf(place), said], text.slice(at + SIGNED.length)) ? said : undefined;
}

/** The message of a shard. */
export function shardMessage(
  { name, task }: NamedTask,
  place: ShardPlace,
  key: QueueKey | undefined,
): z.input<typeof shardSchema> {
  return { name, task, ...(key && { signature: key.sign("shard", partsOf(place)) }) };
}

const shardSchema = z.strictObject({ name: z.string().regex(HASH), task: z.unknown(), signature });

/** Whether the message of a shard is signed as this one of this submission. */
export function isSignedShard(value: unknown, place: ShardPlace, key: QueueKey): boolean {
  return key.signed("shard", partsOf(place), shardSchema.safeParse(value).data?.signature);
}

/**
 * Reads the message of a shard.
 * @param id what the queue calls it, which is the shard's name
 * @param job the one whose queue it lies in, and its hashes
 * @throws InputError for anything that is not a shard of this job, or is larger than the job says
 */
export function parseShard(
  value: unknown,
  id: string | undefined,
  { job, jobHashes: hashes }: HashedJob,
): NamedTask {
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
  checkShardLimits(task, job);
  return named;
}

/** A job, and its hashes: that of verify shards is the job's own. */
export interface HashedJob {
  readonly job: Job;
  readonly jobHashes: JobHashes;
}

/** Signs a job as it is published: all of its text, and where. */
export function signJob(text: string, submission: string, key: QueueKey): string {
  return key.sign("job", jobParts(text, submission));
}

export function isSignedJob(text: string, submission: string, signature: string, key: QueueKey): boolean {
  return key.signed("job", jobParts(text, submission), signature);
}

function jobParts(text: string, submission: string): string[] {
  return [submission, createHash("sha256").update(text).digest("hex")];
}

/** @throws InputError for more than a job can be */
export function checkJobSize(bytes: number): void {
  if (bytes <= JOB_TEXT.characters) return;
  throw new InputError(`parsePublishedJob: expected at most ${JOB_TEXT.characters} bytes, got ${bytes}`);
}

/** @throws InputError for the text of more than a job can be */
export function checkJobText(text: string): void {
  checkJobSize(Buffer.byteLength(text));
  if (isSmallJson(text, JOB_TEXT)) return;
  throw new InputError(
    `parsePublishedJob: expected at most ${JOB_TEXT.brackets} arrays and objects, got more`,
  );
}

/**
 * Reads a published job. What its hash does not cover decides no number.
 * @returns it, and its hashes
 * @throws InputError for text that is not the job of that hash, or asks for more than this machine gives
 */
export function parsePublishedJob(text: string, expectedHash: string): HashedJob {
  checkJobText(text);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new InputError("parsePublishedJob: expected JSON, got something else");
  }
  const job = parseJob(value);
  checkJobLimits(job, thisMachine());
  const hashes = jobHashes(job);
  if (hashes.verify !== expectedHash) {
    throw new InputError(`parsePublishedJob: expected the job ${expectedHash}, got ${hashes.verify}`);
  }
  return { job, jobHashes: hashes };
}
