/**
 * @file Names by content: a job's hash is that of everything that decides its numbers, and a shard's name is that of its task and of
 * the job as that kind of task reads it. Equal names are equal work, so a shard that is there is the right one.
 */

import { hashOf } from "../canonical-json.js";
import type { Job, PortableMetric, PortablePair } from "./job.js";
import type { NamedTask, ShardTask } from "./shard-task.js";

/** What hashes and names look like. */
export const HASH = /^[0-9a-f]{64}$/;

/**
 * SHA-256 of what decides the job's numbers, 64 hexadecimal digits: all of it but what only people read (names of the model, of
 * pairs and of a metric's file, where pairs come from) and what memory is planned for.
 */
export function hashJob({ model, pairs, source, metrics, workload: _, ...rest }: Job): string {
  return hashOf({
    ...rest,
    model: { hash: model.hash },
    pairs: pairs.map(withoutNames),
    metrics: metrics.map(readOf),
    source:
      source.kind === "mean" && source.pairs ? { ...source, pairs: source.pairs.map(withoutNames) } : source,
  });
}

function withoutNames({ name: _, origin: _origin, ...pair }: PortablePair): object {
  return pair;
}

/** What a metric reads. An internal one's name has that of the direction's file in it, and what it reads says all else. */
function readOf(metric: PortableMetric): object {
  if ("output" in metric) return metric;
  const { reads, position, takes } = metric.internal;
  return { internal: { reads, position, takes } };
}

/** By kind of shard, the hash of the job as shards of that kind read it. */
export type JobHashes = Readonly<Record<ShardTask["kind"], string>>;

/** Verify shards have every metric, and their hash is that of the job; the others have the first one alone. */
export function jobHashes(job: Job): JobHashes {
  const verify = hashJob(job);
  const ofFirst = job.metrics.length === 1 ? verify : hashJob({ ...job, metrics: job.metrics.slice(0, 1) });
  return { estimate: ofFirst, verify, sample: ofFirst };
}

/**
 * The name of a shard's result.
 * @param jobHash that of the task's kind
 */
export function shardName(jobHash: string, task: ShardTask): string {
  return hashOf({ job: jobHash, task });
}

/** A task of the job with those hashes, under its name. */
export function nameTask(hashes: JobHashes, task: ShardTask): NamedTask {
  return { name: shardName(hashes[task.kind], task), task };
}
