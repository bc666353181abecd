/**
 * @file What a metric is: a number read off one position's logits, with its gradient.
 *
 * A metric never sees the residual stream, only `final`, the normed stream at the metric's position [R, D]; logits
 * are products of it with rows of the unembedding. So a metric that looks at a few tokens multiplies a few rows, and
 * only one that needs the whole distribution runs the vocabulary-sized product.
 */

import type * as tf from "@tensorflow/tfjs-core";
import type { UnembeddingWeights } from "../../model/weights.js";
import type { Pair, PairNeeds } from "../pair.js";

/** A metric made ready for a batch of pairs. Owns tensors: dispose it when the batch is done. */
export interface PreparedMetric {
  /**
   * The metric of each row.
   * @param final [R, D]
   * @param pairOfRow for each row the pair of the batch that it belongs to
   */
  read(final: tf.Tensor2D, pairOfRow: readonly number[]): Float32Array;
  /**
   * Gradient of each pair's metric with respect to `final`.
   * @param final [B, D], one row per pair of the batch, in order
   * @returns [B, D], owned by the caller
   */
  gradient(final: tf.Tensor2D): tf.Tensor2D;
  dispose(): void;
}

export interface MetricInput {
  readonly pairs: readonly Pair[];
  readonly unembedding: UnembeddingWeights;
  /** `final` of the clean run, [B, D]: the reference of `kl`. Stays the caller's. */
  readonly cleanFinal: tf.Tensor2D;
}

export interface Metric {
  readonly name: string;
  /** What it computes, in one line, for help texts. */
  readonly description: string;
  /** Which token sets a pair must give. */
  readonly needs: PairNeeds;
  /** False for metrics that jump (`rank`, `accuracy`): exact runs only. */
  readonly differentiable: boolean;
  /** True if the clean run is where it is smallest (`kl`): its gradient there is 0, and no estimate can start from it. */
  readonly flatOnClean: boolean;
  prepare(input: MetricInput): PreparedMetric;
}
