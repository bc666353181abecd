/** @file Workers say in Redis that they are there, what they have and what they do, for `atp batch status`. */

import type { Redis } from "ioredis";
import { z } from "zod";
import type { QueueKeys } from "./keys.js";
import { redisTime } from "./submission.js";

export const PRESENCE_MS = 5000;

/** A worker that has not been heard of for so long is gone. */
const GONE_MS = 4 * PRESENCE_MS;

const presenceSchema = z.object({
  host: z.string().max(256),
  pid: z.int(),
  atpkit: z.string().max(64),
  /** auto: whatever the job wants. */
  engine: z.enum(["auto", "tensorflow", "wasm"]),
  model: z.object({ name: z.string().max(1024), hash: z.string().max(64) }),
  /** What it works on. */
  submission: z.string().max(64).optional(),
  /** Shards that it has made. */
  made: z.int(),
  /** Why it does not take shards of a submission. */
  refuses: z.record(z.string().max(64), z.string().max(1024)),
});

/** A worker as others see it. */
export type Presence = z.infer<typeof presenceSchema>;

const entrySchema = z.object({ seen: z.number(), worker: presenceSchema });

export async function showPresence(
  redis: Redis,
  keys: QueueKeys,
  id: string,
  worker: Presence,
): Promise<void> {
  const entry = { seen: await redisTime(redis), worker } satisfies z.infer<typeof entrySchema>;
  await redis.hset(keys.workers, id, JSON.stringify(entry));
}

export async function endPresence(redis: Redis, keys: QueueKeys, id: string): Promise<void> {
  await redis.hdel(keys.workers, id);
}

/** Workers that are there; entries of those that are gone are removed. */
export async function presentWorkers(redis: Redis, keys: QueueKeys): Promise<Presence[]> {
  const now = await redisTime(redis);
  const workers: Presence[] = [];
  for (const [id, text] of Object.entries(await redis.hgetall(keys.workers))) {
    const entry = parseEntry(text);
    if (entry && now - entry.seen < GONE_MS) workers.push(entry.worker);
    else await redis.hdel(keys.workers, id);
  }
  return workers.sort((a, b) => a.host.localeCompare(b.host) || a.pid - b.pid);
}

function parseEntry(text: string): z.infer<typeof entrySchema> | undefined {
  try {
    return entrySchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
