/** @file A model of weights that are made in memory, for benches and tests. */

import * as tf from "@tensorflow/tfjs-core";
import type { ModelConfig } from "../src/model/config.js";
import type { Model } from "../src/model/model.js";
import type { BlockWeights, EmbeddingWeights, UnembeddingWeights } from "../src/model/weights.js";

/** Everything that a provider hands out. */
export interface MemoryWeights {
  readonly embedding: EmbeddingWeights;
  readonly layers: readonly BlockWeights[];
  readonly unembedding: UnembeddingWeights;
}

/** A model without a tokenizer. The weights become its own: disposing it frees them. */
export function inMemoryModel(
  name: string,
  config: ModelConfig,
  { embedding, layers, unembedding }: MemoryWeights,
): Model {
  const dispose = () => tf.dispose([embedding, ...layers, unembedding]);
  return {
    name,
    config,
    weights: {
      embedding: async () => embedding,
      layer: async (l) => layers[l],
      release: () => {},
      unembedding: async () => unembedding,
      dispose,
    },
    dispose,
  };
}
