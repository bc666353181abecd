/** @file A model of weights that are made in memory, for benches and tests. */

import { inMemoryWeights, type MemoryWeights } from "../src/checkpoint/provider.js";
import type { ModelConfig } from "../src/model/config.js";
import type { Model } from "../src/model/model.js";

/** A model without a tokenizer. The weights become its own: disposing it frees them. */
export function inMemoryModel(name: string, config: ModelConfig, parts: MemoryWeights): Model {
  const weights = inMemoryWeights(parts);
  return { name, config, weights, dispose: () => weights.dispose() };
}
