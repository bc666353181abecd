/**
 * @file Layer norm and RMS norm over the last axis, and their VJP.
 *
 *   layer:  x̂ = (x − mean x)·r,  r = 1/√(var x + ε)     y = x̂·scale + bias
 *   rms:    x̂ = x·r,             r = 1/√(mean x² + ε)    y = x̂·scale
 *
 *   with g = dy·scale:   layer  dx = r·(g − mean g − x̂·mean(g·x̂))     rms  dx = r·(g − x̂·mean(g·x̂))
 */

import * as tf from "@tensorflow/tfjs-core";
import type { NormKind } from "../config.js";
import type { NormWeights } from "../weights.js";

/** What the VJP needs of a forward run. */
export type NormSaved = {
  /** x̂, the shape of x */
  readonly normalized: tf.Tensor;
  /** r, the shape of x with last axis 1 */
  readonly inverseStd: tf.Tensor;
};

/** x [..., D] -> y [..., D] and what `normVjp` needs; both owned by the caller. */
export function norm(
  kind: NormKind,
  eps: number,
  { scale, bias }: NormWeights,
  x: tf.Tensor,
): { y: tf.Tensor; saved: NormSaved } {
  return tf.tidy(() => {
    const centred = kind === "layer" ? tf.sub(x, tf.mean(x, -1, true)) : x;
    const inverseStd = tf.rsqrt(tf.add(tf.mean(tf.square(centred), -1, true), eps));
    const normalized = tf.mul(centred, inverseStd);
    const scaled = tf.mul(normalized, scale);
    return { y: bias ? tf.add(scaled, bias) : scaled, saved: { normalized, inverseStd } };
  });
}

/** Gradient with respect to x: dy [..., D] -> [..., D]; `dy` may have leading stream axes that x lacks. */
export function normVjp(
  kind: NormKind,
  { scale }: NormWeights,
  { normalized, inverseStd }: NormSaved,
  dy: tf.Tensor,
): tf.Tensor {
  return tf.tidy(() => {
    const g = tf.mul(dy, scale);
    const along = tf.mul(normalized, tf.mean(tf.mul(g, normalized), -1, true));
    const inner = tf.sub(g, along);
    return tf.mul(kind === "layer" ? tf.sub(inner, tf.mean(g, -1, true)) : inner, inverseStd);
  });
}
