/** @file Weights in memory: every layer is read once and stays until the provider is disposed. */

import * as tf from "@tensorflow/tfjs-core";
import { InputError } from "../errors.js";
import type {
  BlockWeights,
  EmbeddingWeights,
  UnembeddingWeights,
  WeightsProvider,
} from "../model/weights.js";
import type { Checkpoint } from "./checkpoint.js";

export interface LoadWeightsOptions {
  /** Called with the number of layers that are in memory, after each one. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Reads all weights of a checkpoint, one layer at a time. The checkpoint stays open; closing it is the caller's.
 * @throws RunError when a file ends early; nothing stays in memory then
 */
export async function loadWeights(
  checkpoint: Checkpoint,
  options: LoadWeightsOptions = {},
): Promise<WeightsProvider> {
  const total = checkpoint.config.layers;
  const held: (BlockWeights | EmbeddingWeights | UnembeddingWeights)[] = [];
  try {
    const embedding = await checkpoint.readEmbedding();
    held.push(embedding);
    const unembedding = await checkpoint.readUnembedding(embedding);
    held.push(unembedding);
    const layers: BlockWeights[] = [];
    for (let l = 0; l < total; l++) {
      const layer = await checkpoint.readLayer(l);
      held.push(layer);
      layers.push(layer);
      options.onProgress?.(layers.length, total);
    }
    return inMemory(embedding, layers, unembedding);
  } catch (error) {
    tf.dispose(held);
    throw error;
  }
}

function inMemory(
  embedding: EmbeddingWeights,
  layers: readonly BlockWeights[],
  unembedding: UnembeddingWeights,
): WeightsProvider {
  let disposed = false;
  const alive = <T>(weights: T): T => {
    if (disposed) throw new InputError("weights: expected a model in use, got one that was disposed");
    return weights;
  };
  return {
    embedding: async () => alive(embedding),
    async layer(l) {
      const layer = alive(layers)[l];
      if (layer === undefined) {
        throw new InputError(`layer: expected a layer from 0 to ${layers.length - 1}, got ${l}`);
      }
      return layer;
    },
    release() {
      // Everything stays until dispose().
    },
    unembedding: async () => alive(unembedding),
    dispose() {
      disposed = true;
      tf.dispose([embedding, ...layers, unembedding]);
    },
  };
}
