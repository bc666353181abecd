/**
 * @file Batches of pairs of one token length. Prompts are bucketed by length and never padded, so no batch needs an
 * attention mask and no position means different things in different rows.
 */

import { InputError } from "../errors.js";
import { checkLimit, LIMITS } from "../limits.js";
import type { Pair } from "./pair.js";

export interface PairBatch {
  /** T, the number of tokens of every prompt in the batch. */
  readonly length: number;
  readonly pairs: readonly Pair[];
  /** Where each pair of the batch stands in the array that was batched. */
  readonly indices: readonly number[];
}

/** @throws InputError for a batch size that is not a positive integer, or beyond its limit */
export function checkBatchSize(batchSize: number): void {
  if (!(Number.isInteger(batchSize) && batchSize >= 1)) {
    throw new InputError(`batchPairs: expected batchSize to be a positive integer, got ${batchSize}`);
  }
  checkLimit("batchPairs", "batchSize", batchSize, LIMITS.batchSize);
}

/**
 * Splits pairs into batches of equal token length: lengths in the order in which they first appear, pairs of a length in
 * their given order, every batch full but the last one of its length.
 *
 * @param batchSize most pairs in a batch, at least 1
 * @throws InputError for a batch size that is not a positive integer, or beyond its limit
 */
export function batchPairs(pairs: readonly Pair[], batchSize: number): PairBatch[] {
  checkBatchSize(batchSize);
  const buckets = new Map<number, { pair: Pair; index: number }[]>();
  pairs.forEach((pair, index) => {
    const bucket = buckets.get(pair.clean.length);
    if (bucket === undefined) buckets.set(pair.clean.length, [{ pair, index }]);
    else bucket.push({ pair, index });
  });
  return [...buckets].flatMap(([length, bucket]) =>
    Array.from({ length: Math.ceil(bucket.length / batchSize) }, (_, b) => {
      const batch = bucket.slice(b * batchSize, (b + 1) * batchSize);
      return { length, pairs: batch.map(({ pair }) => pair), indices: batch.map(({ index }) => index) };
    }),
  );
}
