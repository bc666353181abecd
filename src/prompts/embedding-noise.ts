/** @file Noise on the token embeddings of a prompt, for pairs whose corrupted run is made of it. */

import * as tf from "@tensorflow/tfjs-core";
import type { Pair } from "./pair.js";

/** What is added to the embeddings of one prompt. Made when it is asked for: held for every pair it would fill the memory. */
export interface EmbeddingNoise {
  /** Where something is added, in order, each position once. */
  readonly positions: readonly number[];
  /** The same numbers in every call, [positions, D] row-major. */
  values(): Float32Array;
}

/**
 * Adds to each prompt's embeddings the noise of its pair; those of pairs without noise stay as they are.
 * @param embedded [B, T, D], stays the caller's
 * @param pairs B pairs
 * @returns [B, T, D], owned by the caller
 */
export function addNoise(embedded: tf.Tensor3D, pairs: readonly Pair[]): tf.Tensor3D {
  const [, T, D] = embedded.shape;
  const added = new Float32Array(embedded.size);
  pairs.forEach(({ noise }, b) => {
    if (!noise) return;
    const values = noise.values();
    noise.positions.forEach((position, p) => {
      added.set(values.subarray(p * D, (p + 1) * D), (b * T + position) * D);
    });
  });
  return tf.tidy(() => tf.add(embedded, tf.tensor3d(added, embedded.shape)));
}
