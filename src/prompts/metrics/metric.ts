/**
 * @file What a metric is: a number read off one position of a run, with its gradient.
 *
 * An *output* metric never sees the residual stream, only `final`, the normed stream at the metric's position [R, D];
 * logits are products of it with rows of the unembedding. So a metric that looks at a few tokens multiplies a few rows,
 * and only one that needs the whole distribution runs the vocabulary-sized product.
 *
 * An *internal* metric is linear in one row of the values at one hook point, w·x: a constant gradient w, and no need of
 * the layers above. It is plain data; `internal.ts` makes and reads them.
 */

import type * as tf from "@tensorflow/tfjs-core";
import type { HookPoint } from "../../model/sites.js";
import type { UnembeddingProvider } from "../../model/weights.js";
import type { Pair, PairNeeds } from "../pair.js";

/** An output metric made ready for a batch of pairs. Holds weights and tensors: dispose it, once, when the batch is done. */
export interface PreparedMetric {
  /**
   * The metric of each row; not finite where a logit that it looks at is not.
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
  /** A prepared metric may hold the whole unembedding until it is disposed. */
  readonly weights: UnembeddingProvider;
  /** `final` of the clean run, [B, D]: the reference of `kl`. Stays the caller's, until the prepared metric is disposed. */
  readonly cleanFinal: tf.Tensor2D;
  /** What products with the whole unembedding may take, in bytes. */
  readonly budgetBytes: number;
}

/** What a metric of either kind says of itself. */
interface MetricTraits {
  readonly name: string;
  /** What it computes, in one line, for help texts. */
  readonly description: string;
  /** Which token sets a pair must give. */
  readonly needs: PairNeeds;
  /** False for metrics that jump (`rank`, `accuracy`): exact runs only. */
  readonly differentiable: boolean;
  /** True if the clean run is where it is smallest (`kl`): its gradient there is 0, and no estimate can start from it. */
  readonly flatOnClean: boolean;
}

/** A function of the logits at the pair's metric position. */
export interface OutputMetric extends MetricTraits {
  /**
   * What it holds at a time as large as the logits of the rows that are read together, on either engine; 0 if it reads a few
   * tokens and not the whole vocabulary.
   */
  readonly logitTerms: number;
  prepare(input: MetricInput): Promise<PreparedMetric>;
}

/** A linear function of values inside the model. A pair's own metric position says nothing of where it is read. */
export interface InternalMetric extends MetricTraits {
  /** Where the values are computed. Patches there are seen: it is read behind them. */
  readonly reads: { readonly point: HookPoint; readonly layer: number };
  /** The position that is read, of the query for a pattern: from the start, negative from the end, or a role. */
  readonly position: MetricPosition;
  /** What is read there. */
  readonly takes:
    | { readonly head: number; readonly key: MetricPosition }
    | { readonly neuron: number }
    | { readonly direction: readonly number[] };
}

/** A position counted from the start, from the end where it is negative (−1 is the last), or the name of a role. */
export type MetricPosition = number | string;

export type Metric = OutputMetric | InternalMetric;

/** Whether it is read inside the model instead of at the logits. */
export function isInternal(metric: Metric): metric is InternalMetric {
  return "reads" in metric;
}

/** Whether it is read off the logits. */
export function isOutput(metric: Metric): metric is OutputMetric {
  return !isInternal(metric);
}
