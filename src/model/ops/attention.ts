/**
 * @file Causal softmax attention with grouped kv-heads, and its VJP.
 *
 *   score = q·kᵀ·scale,  A = softmax over the keys s ≤ t,  z = A·v
 *   dA = dz·vᵀ,  dscore = A·(dA − Σ_s A·dA),  dq = dscore·k·scale,  dk = dscoreᵀ·q·scale,  dv = Aᵀ·dz
 *
 * The G query heads that read one kv-head are laid out as G·T rows over it ([B, H, T, h] read as [B, K, G·T, h]), so
 * keys and values are never repeated, and dk and dv come out summed over their readers.
 */

import * as tf from "@tensorflow/tfjs-core";
import { batchedProduct } from "../../engine/matmul.js";

/** Added to the score of a key in the future; exp(MASKED − max) is exactly 0 in float32 for any real scores. */
const MASKED = -1e30;

export type AttentionSaved = {
  readonly q: tf.Tensor4D; // [B, H, T, h] as it entered the dot product
  readonly k: tf.Tensor4D; // [B, K, T, h]
  readonly v: tf.Tensor4D; // [B, K, T, h]
  readonly pattern: tf.Tensor4D; // [B, H, T, T], rows sum to 1
};

/** [T, T]: 0 where key ≤ query, −1e30 elsewhere. The caller owns it. */
export function causalMask(T: number): tf.Tensor2D {
  const mask = new Float32Array(T * T);
  for (let t = 0; t < T; t++) mask.fill(MASKED, t * T + t + 1, (t + 1) * T);
  return tf.tensor2d(mask, [T, T]);
}

/** Rows of all query heads that read a kv-head, one after the other: [..., H, T, n] -> [..., K, G·T, n]. */
function byKvHead(x: tf.Tensor, kvHeads: number): tf.Tensor {
  const [heads, T, n] = x.shape.slice(-3);
  return tf.reshape(x, [...x.shape.slice(0, -3), kvHeads, (heads / kvHeads) * T, n]);
}

/** q [B, H, T, h], k and v [B, K, T, h] -> z [B, H, T, h] and the pattern [B, H, T, T]. */
export function attention(
  q: tf.Tensor4D,
  k: tf.Tensor4D,
  v: tf.Tensor4D,
  mask: tf.Tensor2D,
): { z: tf.Tensor4D; pattern: tf.Tensor4D } {
  const [B, H, T, h] = q.shape;
  const K = k.shape[1];
  return tf.tidy(() => {
    const scaled = tf.mul(q, 1 / Math.sqrt(h));
    const scores = batchedProduct(byKvHead(scaled, K), k, { transposeB: true });
    const pattern = tf.softmax(tf.add(tf.reshape(scores, [B, H, T, T]), mask)) as tf.Tensor4D;
    const z = tf.reshape(batchedProduct(byKvHead(pattern, K), v), [B, H, T, h]) as tf.Tensor4D;
    return { z, pattern };
  });
}

export interface AttentionGradients {
  readonly dq: tf.Tensor; // [S, B, H, T, h]
  readonly dk: tf.Tensor; // [S, B, K, T, h]
  readonly dv: tf.Tensor; // [S, B, K, T, h]
}

/** dz [S, B, H, T, h] -> gradients of q, k and v, each with the stream axis in front. */
export function attentionVjp({ q, k, v, pattern }: AttentionSaved, dz: tf.Tensor): AttentionGradients {
  const [B, H, T, h] = q.shape;
  const K = k.shape[1];
  const S = dz.shape[0];
  return tf.tidy(() => {
    const scale = 1 / Math.sqrt(h);
    const dzRows = byKvHead(dz, K); // [S, B, K, G·T, h]
    const dPattern = tf.reshape(batchedProduct(dzRows, v, { transposeB: true }), [S, B, H, T, T]);
    const weighted = tf.mul(dPattern, pattern);
    const dScores = byKvHead(tf.sub(weighted, tf.mul(pattern, tf.sum(weighted, -1, true))), K);
    const dq = tf.reshape(tf.mul(batchedProduct(dScores, k), scale), [S, B, H, T, h]);
    const dk = tf.mul(batchedProduct(dScores, byKvHead(q, K), { transposeA: true }), scale);
    const dv = batchedProduct(byKvHead(pattern, K), dzRows, { transposeA: true });
    return { dq, dk, dv };
  });
}
