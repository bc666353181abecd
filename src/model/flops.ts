/**
 * @file Floating-point operations of the parts of a block, a multiplication and an addition counted as two. Only matrix
 * products count: norms, activations and softmax are a percent of them. The vocabulary is left out: how much of it is
 * needed depends on the metric.
 */

import type { ModelConfig } from "./config.js";

type Sizes = Pick<ModelConfig, "layers" | "width" | "heads" | "kvHeads" | "headWidth" | "mlpWidth" | "gated">;

/** Of one token. */
export interface TokenFlops {
  /** Residual stream -> query. */
  readonly query: number;
  /** Residual stream -> key and value. */
  readonly keyValue: number;
  /** Head outputs -> residual stream. */
  readonly output: number;
  readonly mlp: number;
  /** Score and weighted value of one key, all heads. */
  readonly perKey: number;
}

export function tokenFlops({ width, heads, kvHeads, headWidth, mlpWidth, gated }: Sizes): TokenFlops {
  return {
    query: 2 * width * heads * headWidth,
    keyValue: 4 * width * kvHeads * headWidth,
    output: 2 * width * heads * headWidth,
    mlp: (gated ? 6 : 4) * width * mlpWidth,
    perKey: 4 * heads * headWidth,
  };
}

/** One block over `tokens` tokens of a prompt that look at `keys` keys each. */
export function blockFlops(config: Sizes, tokens: number, keys: number): number {
  const { query, keyValue, output, mlp, perKey } = tokenFlops(config);
  return tokens * (query + keyValue + output + mlp + perKey * keys);
}

/** The cost unit: an unpatched forward pass of one prompt of T tokens. */
export function forwardFlops(config: Sizes, T: number): number {
  return config.layers * blockFlops(config, T, T);
}
