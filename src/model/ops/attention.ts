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

/** Queries `from` … T−1 against all T keys, [T − from, T]: 0 where key ≤ query, −1e30 elsewhere. The caller owns it. */
export function causalMask(T: number, from = 0): tf.Tensor2D {
  const mask = new Float32Array((T - from) * T);
  for (let t = from; t < T; t++) mask.fill(MASKED, (t - from) * T + t + 1, (t - from + 1) * T);
  return tf.tensor2d(mask, [T - from, T]);
}

/** Rows of all query heads that read a kv-head, one after the other: [..., H, T, n] -> [..., K, G·T, n]. */
export function byKvHead(x: tf.Tensor, kvHeads: number): tf.Tensor {
  const [heads, T, n] = x.shape.slice(-3);
  return tf.reshape(x, [...x.shape.slice(0, -3), kvHeads, (heads / kvHeads) * T, n]);
}

/**
 * Scores before the mask. Q queries may look at more keys than there are queries: those of the positions before them.
 * @param q [B, H, Q, h]
 * @param k [B, K, T, h]
 * @returns q·kᵀ·scale of every query and key, [B, H, Q, T]
 */
export function attentionScores(q: tf.Tensor4D, k: tf.Tensor4D): tf.Tensor4D {
  const [B, H, Q, h] = q.shape;
  const [, K, T] = k.shape;
  return tf.tidy(() => {
    const scaled = tf.mul(q, 1 / Math.sqrt(h));
    const scores = batchedProduct(byKvHead(scaled, K), k, { transposeB: true });
    return tf.reshape(scores, [B, H, Q, T]);
  });
}

/** Softmax of the masked scores [B, H, Q, T] over the keys. */
export function attentionPattern(scores: tf.Tensor4D, mask: tf.Tensor2D): tf.Tensor4D {
  return tf.tidy(() => tf.softmax(tf.add(scores, mask)));
}

/** pattern [B, H, Q, T] and v [B, K, T, h] -> z [B, H, Q, h] */
export function attend(pattern: tf.Tensor4D, v: tf.Tensor4D): tf.Tensor4D {
  const [B, H, Q] = pattern.shape;
  const [, K, , h] = v.shape;
  return tf.tidy(() => tf.reshape(batchedProduct(byKvHead(pattern, K), v), [B, H, Q, h]));
}

/** dz [S, B, H, T, h] -> gradients of the pattern [S, B, H, T, T] and of v [S, B, K, T, h]. */
export function attendVjp(
  { pattern, v }: Pick<AttentionSaved, "pattern" | "v">,
  dz: tf.Tensor,
): { dPattern: tf.Tensor; dv: tf.Tensor } {
  const [B, H, T] = pattern.shape;
  const K = v.shape[1];
  return tf.tidy(() => {
    const dzRows = byKvHead(dz, K); // [S, B, K, G·T, h]
    const dPattern = tf.reshape(batchedProduct(dzRows, v, { transposeB: true }), [dz.shape[0], B, H, T, T]);
    const dv = batchedProduct(byKvHead(pattern, K), dzRows, { transposeA: true });
    return { dPattern, dv };
  });
}

/** Gradient of the pattern [S, B, H, T, T] -> gradients of q [S, B, H, T, h] and k [S, B, K, T, h]. */
export function patternVjp(
  { q, k, pattern }: Pick<AttentionSaved, "q" | "k" | "pattern">,
  dPattern: tf.Tensor,
): { dq: tf.Tensor; dk: tf.Tensor } {
  const [B, H, T, h] = q.shape;
  const K = k.shape[1];
  return tf.tidy(() => {
    const scale = 1 / Math.sqrt(h);
    const weighted = tf.mul(dPattern, pattern);
    const dScores = byKvHead(tf.sub(weighted, tf.mul(pattern, tf.sum(weighted, -1, true))), K);
    const dq = tf.reshape(tf.mul(batchedProduct(dScores, k), scale), [dPattern.shape[0], B, H, T, h]);
    const dk = tf.mul(batchedProduct(dScores, byKvHead(q, K), { transposeA: true }), scale);
    return { dq, dk };
  });
}
