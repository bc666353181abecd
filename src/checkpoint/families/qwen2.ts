/** @file Qwen2: q, k and v always have biases. */

import { type LlamaTraits, llamaLike, qwenWindow } from "./llama-like.js";

export const QWEN2_TRAITS: LlamaTraits = {
  modelType: "qwen2",
  defaultKvHeads: 32,
  defaultMaxPositions: 32_768,
  qkNorm: false,
  biases: () => ({ qkv: true, o: false, mlp: false }),
  window: qwenWindow,
};

export const qwen2 = llamaLike(QWEN2_TRAITS);
