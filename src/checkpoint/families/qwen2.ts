/** @file Qwen2: q, k and v always have biases. */

import { llamaLike, qwenWindow } from "./llama-like.js";

export const qwen2 = llamaLike({
  modelType: "qwen2",
  defaultKvHeads: 32,
  defaultMaxPositions: 32_768,
  qkNorm: false,
  biases: () => ({ qkv: true, o: false, mlp: false }),
  window: qwenWindow,
});
