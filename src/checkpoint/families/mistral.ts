/** @file Mistral: a sliding window, which is 4096 when the config leaves it out and none when it says null. */

import { llamaLike } from "./llama-like.js";

export const mistral = llamaLike({
  modelType: "mistral",
  defaultKvHeads: 8,
  defaultMaxPositions: 131_072,
  qkNorm: false,
  biases: () => ({ qkv: false, o: false, mlp: false }),
  window: (fields) => (fields.isNull("sliding_window") ? undefined : fields.count("sliding_window", 4096)),
});
