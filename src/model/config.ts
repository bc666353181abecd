/**
 * @file What a decoder's config.json says, in one vocabulary for every family. The block in `block.ts` is driven by
 * this and by nothing else.
 *
 * Axis letters used throughout the project:
 * B prompts, T positions, D residual width, H query heads, K kv-heads (H = K·G), h head width, F MLP width,
 * V vocabulary, L layers, S gradient streams.
 */

export type NormKind = "layer" | "rms";

/** `gelu` is the exact (erf) form, `gelu-tanh` the approximation that GPT-2 calls `gelu_new`. */
export type Activation = "gelu" | "gelu-tanh" | "silu" | "relu";

/** Rotary embedding in the half-split form of every supported family: pair i is (x_i, x_{i + dims/2}). */
export interface Rotary {
  /** How many of the head's leading dimensions turn; the rest pass through. Even, at most `headWidth`. */
  readonly dims: number;
  /** `dims / 2` angles per position, any frequency scaling (linear, Llama-3) already applied. */
  readonly inverseFrequencies: readonly number[];
}

export interface ModelConfig {
  /** The Hugging Face `model_type`. */
  readonly family: string;
  readonly layers: number;
  /** D, the width of the residual stream. */
  readonly width: number;
  /** H, the number of query heads. */
  readonly heads: number;
  /** K, the number of key/value heads; divides H. */
  readonly kvHeads: number;
  readonly headWidth: number;
  /** F, the number of neurons of a layer. */
  readonly mlpWidth: number;
  readonly vocabulary: number;
  /** The longest prompt that this implementation computes correctly: trained positions, or the sliding window if shorter. */
  readonly maxPositions: number;
  /** Why `maxPositions` is what it is, for the error text of a longer prompt. */
  readonly maxPositionsReason: string;
  readonly norm: NormKind;
  readonly normEps: number;
  /** Absent: learned absolute positions. */
  readonly rotary?: Rotary;
  readonly activation: Activation;
  /** Gated: neuron = act(gate) · in. Otherwise neuron = act(in). */
  readonly gated: boolean;
  /** Parallel: attention and MLP both read residPre, and there is no residMid. */
  readonly parallelResidual: boolean;
  /** RMS norm over the head width on q and k, before the rotary embedding (Qwen3). */
  readonly qkNorm: boolean;
}
