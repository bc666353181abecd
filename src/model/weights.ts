/**
 * @file The canonical weights of a model and the provider that hands them out one layer at a time. Everything above
 * `model/` sees weights through the provider only, so that a model larger than memory can be read from disk layer
 * by layer without anyone noticing. Of the embedding and the unembedding most callers want a few rows only.
 */

import type * as tf from "@tensorflow/tfjs-core";

/**
 * A linear map y = x·W (+ bias). The matrix stays in the layout of its file, because transposing a whole model at
 * load time costs memory and buys nothing: `linear` and its VJP run either layout at full speed on either engine.
 */
export type Linear = {
  /** [in, out] for layout "in-out", [out, in] for "out-in". */
  readonly weight: tf.Tensor2D;
  readonly layout: "in-out" | "out-in";
  /** [out] */
  readonly bias?: tf.Tensor1D;
};

/** Layer norm (`bias` present) or RMS norm (absent). */
export type NormWeights = {
  readonly scale: tf.Tensor1D;
  readonly bias?: tf.Tensor1D;
};

export type BlockWeights = {
  readonly attnNorm: NormWeights;
  /** D -> H·h, head-major. */
  readonly q: Linear;
  /** D -> K·h, head-major. */
  readonly k: Linear;
  /** D -> K·h, head-major. */
  readonly v: Linear;
  /** H·h -> D */
  readonly o: Linear;
  /** [h] each; present when `config.qkNorm`. */
  readonly qNorm?: tf.Tensor1D;
  readonly kNorm?: tf.Tensor1D;
  readonly mlpNorm: NormWeights;
  /** D -> F; present when `config.gated`. Its output goes through the activation. */
  readonly mlpGate?: Linear;
  /** D -> F */
  readonly mlpIn: Linear;
  /** F -> D; its input is the `neuron` site. */
  readonly mlpOut: Linear;
};

export type EmbeddingWeights = {
  /** [V, D] */
  readonly tokens: tf.Tensor2D;
  /** [maxPositions, D]; present when the config has no rotary embedding. */
  readonly positions?: tf.Tensor2D;
};

export type UnembeddingWeights = {
  readonly norm: NormWeights;
  /** [V, D], one row per token: the same tensor as the embedding in a tied model. */
  readonly rows: tf.Tensor2D;
};

/** What a provider has read since it was made. */
export interface ReadingStats {
  readonly layersRead: number;
  /** From the checkpoint's files; what was read ahead for nothing counts. */
  readonly bytesRead: number;
  /** Seconds that callers have waited for layers and for the whole unembedding. */
  readonly waited: number;
}

/** How metrics read the unembedding. */
export interface UnembeddingProvider {
  /** The unembedding's rows of some tokens, in their order, [N, D]; owned by the caller. */
  unembeddingRows(ids: readonly number[]): Promise<tf.Tensor2D>;
  /** All rows, [V, D], the provider's own. Valid until `releaseUnembedding` was called as often as this. */
  unembedding(): Promise<tf.Tensor2D>;
  /** Says that the caller is done with the whole unembedding for now. */
  releaseUnembedding(): void;
}

/**
 * Hands out weights. Except for rows of tokens, the provider owns every tensor it hands out: a caller never disposes one,
 * and keeps nothing that may share its memory, such as a reshaped one, beyond its release.
 */
export interface WeightsProvider extends UnembeddingProvider {
  /** The embeddings of some tokens, in their order, [N, D]; owned by the caller. */
  tokenRows(ids: readonly number[]): Promise<tf.Tensor2D>;
  /** The learned positions, [maxPositions, D]; undefined where the config has a rotary embedding. */
  positions(): Promise<tf.Tensor2D | undefined>;
  /**
   * Layer `l`, 0-based. Valid until `release(l)` was called as often as `layer(l)`.
   * @param next the layer that will be asked for after this one, if that is known: it can be on its way meanwhile
   * @throws RunError when its file cannot be read
   */
  layer(l: number, next?: number): Promise<BlockWeights>;
  /** Says that the caller is done with layer `l` for now. */
  release(l: number): void;
  /** The norm in front of the unembedding. */
  finalNorm(): Promise<NormWeights>;
  /** Absent where everything is in memory. */
  stats?(): ReadingStats;
  /** Frees everything. The provider is unusable afterwards. */
  dispose(): void;
}
