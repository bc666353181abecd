/** @file Logits of many rows, a bounded number of rows at a time: with a large vocabulary those of a chunk are gigabytes. */

import * as tf from "@tensorflow/tfjs-core";

const FLOAT_BYTES = 4;

/** Rows that are multiplied with the whole unembedding together. */
export interface LogitBudget {
  /** Rows of the unembedding. */
  readonly vocabulary: number;
  /** What is there at a time as large as the logits, logits included. */
  readonly terms: number;
  /** What these may take, in bytes; one row is multiplied in any case. */
  readonly budgetBytes: number;
}

/** At least one. */
export function rowsAtOnce({ vocabulary, terms, budgetBytes }: LogitBudget): number {
  return Math.max(1, Math.floor(budgetBytes / (vocabulary * terms * FLOAT_BYTES)));
}

/** What so many rows take, read within the budget. */
export function bytesOfLogits(budget: LogitBudget, rows: number): number {
  return Math.min(rows, rowsAtOnce(budget)) * budget.vocabulary * budget.terms * FLOAT_BYTES;
}

/**
 * Works through rows in parts that fit the budget.
 * @param final [R, D]; stays the caller's
 * @param work gets a part's rows, and where they begin; the tensor is freed behind it
 */
export function inParts(
  final: tf.Tensor2D,
  budget: LogitBudget,
  work: (part: tf.Tensor2D, first: number) => void,
): void {
  const [R] = final.shape;
  const most = rowsAtOnce(budget);
  for (let first = 0; first < R; first += most) {
    const part: tf.Tensor2D = tf.slice(final, [first, 0], [Math.min(most, R - first), -1]);
    try {
      work(part, first);
    } finally {
      part.dispose();
    }
  }
}
