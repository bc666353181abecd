/**
 * @file Rotary position embedding in the half-split form, full or partial, and its VJP.
 *
 * With the dimensions i and i + r/2 as a pair (r = rotary dims) and angle θ_i·t at position t:
 *   y = x·cos + turn(x)·sin,   turn(x)_i = −x_{i+r/2},  turn(x)_{i+r/2} = x_i,  0 beyond r, where cos = 1
 * `turn` is a fixed matrix of entries 0 and ±1, so it is one small product (exact, and faster on both engines than
 * slicing and concatenating), and the VJP is the transposed product: dx = dy·cos + turnᵀ(dy·sin).
 */

import * as tf from "@tensorflow/tfjs-core";
import { product } from "../../engine/matmul.js";
import type { Rotary } from "../config.js";

export interface RotaryTables {
  /** [T − from, h], or one row for each vector that is turned, in a shape that fits theirs. */
  readonly cos: tf.Tensor;
  /** Likewise. */
  readonly sin: tf.Tensor;
  /** [h, h], and its transpose: x·turn is turn(x) for a row x */
  readonly turn: tf.Tensor2D;
  readonly turnBack: tf.Tensor2D;
}

/** Tables for positions `from` … T−1 and head width h. The caller owns and disposes them. */
export function rotaryTables(
  { dims, inverseFrequencies }: Rotary,
  T: number,
  h: number,
  from = 0,
): RotaryTables {
  const half = dims / 2;
  const cos = new Float32Array((T - from) * h).fill(1);
  const sin = new Float32Array((T - from) * h);
  for (let t = from; t < T; t++) {
    for (let i = 0; i < dims; i++) {
      const angle = t * inverseFrequencies[i % half];
      cos[(t - from) * h + i] = Math.cos(angle);
      sin[(t - from) * h + i] = Math.sin(angle);
    }
  }
  const turn = new Float32Array(h * h);
  const turnBack = new Float32Array(h * h);
  for (let i = 0; i < half; i++) {
    const j = i + half;
    turn[j * h + i] = turnBack[i * h + j] = -1;
    turn[i * h + j] = turnBack[j * h + i] = 1;
  }
  return {
    cos: tf.tensor2d(cos, [T - from, h]),
    sin: tf.tensor2d(sin, [T - from, h]),
    turn: tf.tensor2d(turn, [h, h]),
    turnBack: tf.tensor2d(turnBack, [h, h]),
  };
}

function times(x: tf.Tensor, matrix: tf.Tensor2D): tf.Tensor {
  const h = matrix.shape[0];
  return tf.reshape(product(tf.reshape(x, [x.size / h, h]) as tf.Tensor2D, matrix), x.shape);
}

/** x [..., T, h] -> the same shape, turned by its position. */
export function rotate(tables: RotaryTables, x: tf.Tensor): tf.Tensor {
  return tf.tidy(() => tf.add(tf.mul(x, tables.cos), tf.mul(times(x, tables.turn), tables.sin)));
}

/** dy [..., T, h] -> dx of the same shape. */
export function rotateVjp(tables: RotaryTables, dy: tf.Tensor): tf.Tensor {
  return tf.tidy(() => tf.add(tf.mul(dy, tables.cos), times(tf.mul(dy, tables.sin), tables.turnBack)));
}
