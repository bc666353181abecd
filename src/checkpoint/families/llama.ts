/** @file Llama 1 to 3: biases only where the config asks for them; a window only where whoever derived a model wrote one. */

import { type LlamaTraits, llamaLike } from "./llama-like.js";

export const LLAMA_TRAITS: LlamaTraits = {
  modelType: "llama",
  defaultMaxPositions: 2048,
  qkNorm: false,
  biases(fields) {
    const attention = fields.flag("attention_bias", false);
    return { qkv: attention, o: attention, mlp: fields.flag("mlp_bias", false) };
  },
  window: (fields) => (fields.has("sliding_window") ? fields.count("sliding_window") : undefined),
};

export const llama = llamaLike(LLAMA_TRAITS);
