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

/** All weights of a model. */
export interface MemoryWeights {
  readonly embedding: EmbeddingWeights;
  readonly layers: readonly BlockWeights[];
  readonly unembedding: UnembeddingWeights;
}

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
    return inMemoryWeights({ embedding, layers, unembedding });
  } catch (error) {
    tf.dispose(held);
    throw error;
  }
}

/** A provider of weights that are in memory, which become its own: disposing it frees them. */
export function inMemoryWeights({ embedding, layers, unembedding }: MemoryWeights): WeightsProvider {
  let disposed = false;
  const alive = <T>(weights: T): T => {
    if (disposed) throw disposedModel();
    return weights;
  };
  return {
    tokenRows: async (ids) => rowsOf(alive(embedding.tokens), ids),
    positions: async () => alive(embedding.positions),
    async layer(l) {
      checkLayer(l, alive(layers).length);
      return layers[l];
    },
    release() {
      // Everything stays until dispose().
    },
    finalNorm: async () => alive(unembedding.norm),
    unembeddingRows: async (ids) => rowsOf(alive(unembedding.rows), ids),
    unembedding: async () => alive(unembedding.rows),
    releaseUnembedding() {
      // As above.
    },
    dispose() {
      disposed = true;
      tf.dispose([embedding, ...layers, unembedding]);
    },
  };
}

function rowsOf(matrix: tf.Tensor2D, ids: readonly number[]): tf.Tensor2D {
  return tf.tidy(() => tf.gather(matrix, tf.tensor1d(Int32Array.from(ids), "int32")));
}

/** The error of every call to a provider that was disposed. */
export function disposedModel(): InputError {
  return new InputError("weights: expected a model in use, got one that was disposed");
}

/** @throws InputError for a layer that the model does not have */
export function checkLayer(l: number, layers: number): void {
  if (Number.isInteger(l) && l >= 0 && l < layers) return;
  throw new InputError(`layer: expected a layer from 0 to ${layers - 1}, got ${l}`);
}
