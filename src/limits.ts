/**
 * @file The most that an option may ask for, where it multiplies work or memory: a typing error is refused before it fills a machine.
 * The command line, jobs and the library have the same limits, which lie far beyond what anybody has asked for so far.
 */

import { InputError } from "./errors.js";

export interface Limit {
  readonly most: number;
  /** Why not more, for the error text. */
  readonly why: string;
}

export const LIMITS = {
  /** Every pair is run so often; the standard error of a mean over 10,000 draws is a hundredth of one draw's deviation. */
  noiseDraws: { most: 10_000, why: "each of them is a run of every pair" },
  /** Pairs × draws: each is an object, and some 10 forward passes. */
  drawnPairs: { most: 2 ** 21, why: "all of them are held in memory" },
  /** Rows of one pass; engines have long been busy with fewer. */
  batchSize: { most: 2 ** 16, why: "all prompts of a batch are held in memory" },
  /** As many pairs as a job may have. */
  pairs: { most: 2 ** 22, why: "all pairs are held in memory" },
  /** As many nodes as a task of a job may name: each is a patched run of every pair. */
  nodes: { most: 2 ** 22, why: "each of them is a run of every pair" },
  /** A shard is made in one go, and in memory. */
  shardPairs: { most: 2 ** 16, why: "a shard is held in memory" },
  shardSamples: { most: 2 ** 20, why: "a shard is held in memory" },
  retries: { most: 100, why: "a shard that fails so often will fail again" },
  /** Each is a process with the model in its memory. */
  workers: { most: 1024, why: "each of them is a process with the model in its memory" },
  threads: { most: 1024, why: "an engine starts as many of them" },
  /** Longer than any prompt, and more than any model's layers. */
  window: { most: 2 ** 20, why: "no model has so many layers or positions" },
  /** Forward passes: years on any machine. */
  budget: { most: 10 ** 12, why: "that many forward passes take years" },
  randomSubsets: { most: 100_000, why: "each of them is two runs of every pair" },
  /** Timers of Node count milliseconds in 31 bits. */
  idleSeconds: { most: 2_000_000, why: "timers go no further" },
} as const satisfies Readonly<Record<string, Limit>>;

/** The end of a message about a number beyond a limit. */
export function atMost({ most, why }: Limit): string {
  return `at most ${most}, because ${why}`;
}

/**
 * @param name of what is asked for
 * @throws InputError for a number beyond the limit
 */
export function checkLimit(caller: string, name: string, value: number, limit: Limit): void {
  if (value <= limit.most) return;
  throw new InputError(`${caller}: expected ${name} to be ${atMost(limit)}, got ${value}`);
}
