/**
 * @file Names by content: a job's hash is that of everything that decides its numbers, and a shard's name is that of the job's hash
 * and its task. Equal names are equal work, so a shard that is there is the right one.
 */

import { createHash } from "node:crypto";
import type { Job } from "./job.js";
import type { ShardTask } from "./shard-task.js";

/** What `hashJob` and `shardName` give. */
export const HASH = /^[0-9a-f]{64}$/;

/** SHA-256 of the job, 64 hexadecimal digits; the order of its fields does not matter. */
export function hashJob(job: Job): string {
  return sha256(canonicalJson(job));
}

/** The name of a shard's result. */
export function shardName(jobHash: string, task: ShardTask): string {
  return sha256(canonicalJson({ job: jobHash, task }));
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/**
 * JSON with the keys of every object in order and without fields that are undefined: one text for one meaning.
 * @throws Error for a number that JSON has no text for
 */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (key, part: unknown) => {
    if (typeof part === "number" && !Number.isFinite(part)) {
      throw new Error(`canonicalJson: expected finite numbers, got ${part} for ${key}`);
    }
    if (typeof part !== "object" || part === null || Array.isArray(part)) return part;
    return Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
