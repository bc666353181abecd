/**
 * @file A submission: the job and its number, in the output folder and in Redis. The number is random and lies in the output folder,
 * so a worker that finds it in a folder of its own knows that this is the same folder, whatever it is called there.
 */

import { randomBytes } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Redis } from "ioredis";
import { z } from "zod";
import { writeAtomically } from "../../atomic-file.js";
import { canonicalJson, hashOf } from "../../canonical-json.js";
import { HASH } from "../identity.js";
import type { Job } from "../job.js";
import { KEPT_SECONDS, type QueueKeys, RANDOM_ID } from "./keys.js";
import { checkJobSize } from "./messages.js";
import { SIGNATURE } from "./queue-key.js";

const SUBMISSION_FILE = "submission.json";

const fileSchema = z.object({ submission: z.string().regex(RANDOM_ID), job: z.string().regex(HASH) });

export type SubmissionFile = z.infer<typeof fileSchema>;

/** @returns undefined where the folder is not the output folder of a submission */
export async function readSubmission(folder: string): Promise<SubmissionFile | undefined> {
  try {
    return fileSchema.safeParse(JSON.parse(await readFile(join(folder, SUBMISSION_FILE), "utf8"))).data;
  } catch {
    return undefined;
  }
}

/**
 * The number of a job in an output folder: the one that it had there, or a new one. A job that differs in anything has another
 * number, even where its shards are the same ones: workers read a submission's job once.
 */
export async function numberSubmission(outputFolder: string, job: Job): Promise<string> {
  const before = await readSubmission(outputFolder);
  const hash = hashOf(job);
  if (before?.job === hash) return before.submission;
  const submission = randomBytes(16).toString("hex");
  const text = `${JSON.stringify({ submission, job: hash } satisfies SubmissionFile)}\n`;
  await writeAtomically(join(outputFolder, SUBMISSION_FILE), (handle) => handle.writeFile(text));
  return submission;
}

/**
 * The output folder of a submission as this machine sees it: `shared` itself, or a folder directly in it.
 * @returns undefined where it is not among them
 */
export async function findOutputFolder(shared: string, submission: string): Promise<string | undefined> {
  const inside = await readdir(shared, { withFileTypes: true }).catch(() => []);
  const folders = inside.filter((entry) => entry.isDirectory()).map(({ name }) => join(shared, name));
  for (const folder of [shared, ...folders]) {
    if ((await readSubmission(folder))?.submission === submission) return folder;
  }
  return undefined;
}

/** A submission as it is announced in Redis. */
export interface Announced {
  readonly submission: string;
  /** Hash of the job, as its coordinator says. */
  readonly jobHash: string;
  /** Of the job's text: see `signJob`. */
  readonly signature?: string;
}

/** More than a group has at once; whoever writes others cannot keep a worker busy with reading them for long. */
const MOST_SUBMISSIONS = 1000;

/**
 * Announces a submission, or says that its coordinator is still there; repairs what Redis has lost or others have replaced.
 * @param signature of the job's canonical JSON: see `signJob`
 */
export async function announce(
  redis: Redis,
  keys: QueueKeys,
  submission: string,
  job: Job,
  jobHash: string,
  signature?: string,
): Promise<void> {
  const key = keys.submission(submission);
  const [hash, signed] = await redis.hmget(key, "hash", "signature");
  const isThere = hash === jobHash && (signed ?? undefined) === signature;
  if (!isThere || (await redis.hexists(key, "job")) === 0) {
    await redis.hset(key, { hash: jobHash, job: canonicalJson(job), ...(signature && { signature }) });
    if (signature === undefined) await redis.hdel(key, "signature");
  }
  await redis.expire(key, KEPT_SECONDS);
  await redis.zadd(keys.submissions, await redisTime(redis), submission);
}

/** Takes a submission back. */
export async function withdraw(redis: Redis, keys: QueueKeys, submission: string): Promise<void> {
  await redis.zrem(keys.submissions, submission);
  await redis.del(keys.submission(submission));
}

/**
 * The submissions that were announced last, those seen longest ago first. What has another form than ours is passed over.
 */
export async function announced(redis: Redis, keys: QueueKeys): Promise<Announced[]> {
  const found: Announced[] = [];
  for (const submission of await redis.zrange(keys.submissions, -MOST_SUBMISSIONS, "-1")) {
    if (!RANDOM_ID.test(submission)) continue;
    const [jobHash, signature] = await redis.hmget(keys.submission(submission), "hash", "signature");
    if (!jobHash || !HASH.test(jobHash)) continue;
    found.push({ submission, jobHash, ...(signature && SIGNATURE.test(signature) && { signature }) });
  }
  return found;
}

export async function isAnnounced(redis: Redis, keys: QueueKeys, submission: string): Promise<boolean> {
  return (await redis.zscore(keys.submissions, submission)) !== null;
}

/** Submissions that no coordinator has looked after for so long that their results are gone. */
export async function forgotten(redis: Redis, keys: QueueKeys): Promise<string[]> {
  const limit = (await redisTime(redis)) - KEPT_SECONDS * 1000;
  return redis.zrangebyscore(keys.submissions, "-inf", limit);
}

/**
 * The text of a submission's job; undefined where it is gone.
 * @throws InputError for more than a job can be: it is not fetched then
 */
export async function announcedJob(
  redis: Redis,
  keys: QueueKeys,
  submission: string,
): Promise<string | undefined> {
  checkJobSize(await redis.hstrlen(keys.submission(submission), "job"));
  return (await redis.hget(keys.submission(submission), "job")) ?? undefined;
}

/** What the clock of Redis says, ms: machines need not agree on the time. */
export async function redisTime(redis: Redis): Promise<number> {
  const [seconds, microseconds] = await redis.time();
  return Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000);
}
