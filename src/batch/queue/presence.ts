/** @file Workers say in Redis that they are there, what they have and what they do, for `atp batch status`. */

import type { Redis } from "ioredis";
import { z } from "zod";
import type { QueueKeys } from "./keys.js";
import { redisTime } from "./submission.js";

export const PRESENCE_MS = 5000;

/** A worker that has not been heard of for so long is gone. */
const GONE_MS = 4 * PRESENCE_MS;

const LONGEST_NAME = 1024;
/** Of a reason; more is cut where it is written. */
const LONGEST_REFUSAL = 1024;
/** Submissions that a worker says why it does not take. */
const MOST_REFUSALS = 100;

const presenceSchema = z.object({
  host: z.string().max(256),
  pid: z.int(),
  atpkit: z.string().max(64),
  /** auto: whatever the job wants. */
  engine: z.enum(["auto", "tensorflow", "wasm"]),
  model: z.object({ name: z.string().max(LONGEST_NAME), hash: z.string().max(64) }),
  /** What it works on. */
  submission: z.string().max(64).optional(),
  /** Shards that it has made. */
  made: z.int(),
  /** Why it does not take shards of a submission. */
  refuses: z.record(z.string().max(64), z.string().max(LONGEST_REFUSAL)),
});

/** A worker as others see it. */
export type Presence = z.infer<typeof presenceSchema>;

const entrySchema = z.object({ seen: z.number(), worker: presenceSchema });

export async function showPresence(
  redis: Redis,
  keys: QueueKeys,
  id: string,
  { model, refuses, ...worker }: Presence,
): Promise<void> {
  const reasons = Object.entries(refuses).slice(-MOST_REFUSALS);
  const within: Presence = {
    ...worker,
    model: { ...model, name: model.name.slice(0, LONGEST_NAME) },
    refuses: Object.fromEntries(reasons.map(([id, reason]) => [id, reason.slice(0, LONGEST_REFUSAL)])),
  };
  const entry = { seen: await redisTime(redis), worker: within } satisfies z.infer<typeof entrySchema>;
  await redis.hset(keys.workers, id, JSON.stringify(entry));
}

export async function endPresence(redis: Redis, keys: QueueKeys, id: string): Promise<void> {
  await redis.hdel(keys.workers, id);
}

/** Workers that are there. It only reads, so that a server that takes no writes can be asked. */
export async function presentWorkers(redis: Redis, keys: QueueKeys): Promise<Presence[]> {
  const { there } = await allWorkers(redis, keys);
  return there.sort((a, b) => a.host.localeCompare(b.host) || a.pid - b.pid);
}

/** Removes the entries of workers that are gone. */
export async function removeGoneWorkers(redis: Redis, keys: QueueKeys): Promise<void> {
  const { gone } = await allWorkers(redis, keys);
  for (const id of gone) await redis.hdel(keys.workers, id);
}

async function allWorkers(redis: Redis, keys: QueueKeys): Promise<{ there: Presence[]; gone: string[] }> {
  const now = await redisTime(redis);
  const there: Presence[] = [];
  const gone: string[] = [];
  for (const [id, text] of Object.entries(await redis.hgetall(keys.workers))) {
    const entry = parseEntry(text);
    if (entry && now - entry.seen < GONE_MS) there.push(entry.worker);
    else gone.push(id);
  }
  return { there, gone };
}

function parseEntry(text: string): z.infer<typeof entrySchema> | undefined {
  try {
    return entrySchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
