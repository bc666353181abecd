/**
 * @file What one shard of a job computes, as plain data: it is hashed to the shard's name, and it travels to workers. Boundaries
 * are fixed by the job, never by who is free, so that any number of workers makes the same shards.
 */

import type { Method } from "../atpstar/methods.js";

/** Numbers `first` … `end − 1`. */
export interface Range {
  readonly first: number;
  readonly end: number;
}

/** Estimates of all nodes of the job's space, summed over some pairs. */
export interface EstimateTask {
  readonly kind: "estimate";
  /** Of the job's pairs. */
  readonly pairs: Range;
  readonly method: Method;
  /** Whether the signed estimates of each pair are kept, too, for a certificate. */
  readonly byPair: boolean;
}

/** Every metric of runs with single nodes patched, on some pairs. */
export interface VerifyTask {
  readonly kind: "verify";
  readonly pairs: Range;
  /** Flat numbers in the job's space, each once. */
  readonly nodes: readonly number[];
}

/** Effects of samples of a subset design over all pairs. */
export interface SampleTask {
  readonly kind: "sample";
  /** The design's nodes are all others of the space, ascending. */
  readonly excluded: readonly number[];
  readonly probability: number;
  readonly seed: number;
  readonly samples: Range;
}

export type ShardTask = EstimateTask | VerifyTask | SampleTask;

/** A task under the name that its result has. */
export interface NamedTask {
  /** 64 hexadecimal digits: see `shardName`. */
  readonly name: string;
  readonly task: ShardTask;
}
