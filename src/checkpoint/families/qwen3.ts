/** @file Qwen3: RMS norm on q and k, and heads of 128 dimensions unless the config says otherwise. */

import { type LlamaTraits, llamaLike, qwenWindow } from "./llama-like.js";

export const QWEN3_TRAITS: LlamaTraits = {
  modelType: "qwen3",
  defaultKvHeads: 32,
  defaultHeadWidth: 128,
  defaultMaxPositions: 32_768,
  qkNorm: true,
  biases(fields) {
    const attention = fields.flag("attention_bias", false);
    return { qkv: attention, o: attention, mlp: false };
  },
  window: qwenWindow,
};

export const qwen3 = llamaLike(QWEN3_TRAITS);
