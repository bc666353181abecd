/** @file How fast the engine multiplies large matrices: the most that a forward pass can hope for. */

import * as tf from "@tensorflow/tfjs-core";
import { product } from "../src/engine/matmul.js";

/** [m, k]·[k, n] */
export type ProductSize = readonly [m: number, k: number, n: number];

/** The best of a few products of a size, in GFLOP/s. A warm-up comes first. */
export function productGigaflops([m, k, n]: ProductSize, times = 3): number {
  const a = tf.ones([m, k]) as tf.Tensor2D;
  const b = tf.ones([k, n]) as tf.Tensor2D;
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i <= times; i++) {
    const start = performance.now();
    const c = product(a, b);
    // Waits for the product without moving it.
    const corner = tf.slice(c, [0, 0], [1, 1]);
    corner.dataSync();
    const seconds = (performance.now() - start) / 1000;
    tf.dispose([c, corner]);
    if (i > 0) best = Math.min(best, seconds);
  }
  tf.dispose([a, b]);
  return (2 * m * k * n) / best / 1e9;
}
