/** @file Metrics of many rows, a bounded number of rows at a time: some need the logits of the whole vocabulary. */

import * as tf from "@tensorflow/tfjs-core";
import type { MetricOnRuns } from "../prompts/metrics/on-runs.js";

/** Logits, log-probabilities and a term made of them, in float32. */
const BYTES_PER_LOGIT = 3 * 4;

/**
 * Every metric of each row.
 * @param final [R, D]
 * @param pairOfRow the pair of each row
 * @param budgetBytes what the logits of the rows read together may take
 * @returns per metric [R]
 */
export function readMetrics(
  metrics: readonly MetricOnRuns[],
  final: tf.Tensor2D,
  pairOfRow: readonly number[],
  vocabulary: number,
  budgetBytes: number,
): Float32Array[] {
  const R = pairOfRow.length;
  const atOnce = Math.max(1, Math.floor(budgetBytes / (vocabulary * BYTES_PER_LOGIT)));
  const values = metrics.map(() => new Float32Array(R));
  for (let first = 0; first < R; first += atOnce) {
    const rows = pairOfRow.slice(first, first + atOnce);
    const part: tf.Tensor2D = tf.slice(final, [first, 0], [rows.length, -1]);
    try {
      for (const [m, { metric }] of metrics.entries()) values[m].set(metric.read(part, rows), first);
    } finally {
      part.dispose();
    }
  }
  return values;
}
