/** @file Linear map y = x·W + b over the last axis, for weights in either file layout, and its VJP dx = dy·Wᵀ. */

import * as tf from "@tensorflow/tfjs-core";
import { product } from "../../engine/matmul.js";
import type { Linear } from "../weights.js";

function overLastAxis(x: tf.Tensor, weight: tf.Tensor2D, transposeB: boolean): tf.Tensor {
  const width = x.shape[x.rank - 1];
  const rows = tf.reshape(x, [x.size / width, width]) as tf.Tensor2D;
  const y = product(rows, weight, { transposeB });
  return tf.reshape(y, [...x.shape.slice(0, -1), y.shape[1]]);
}

/** x [..., in] -> [..., out] */
export function linear(x: tf.Tensor, { weight, layout, bias }: Linear): tf.Tensor {
  return tf.tidy(() => {
    const y = overLastAxis(x, weight, layout === "out-in");
    return bias ? tf.add(y, bias) : y;
  });
}

/** Gradient of `linear` with respect to x: dy [..., out] -> [..., in]. Any number of leading axes. */
export function linearVjp({ weight, layout }: Linear, dy: tf.Tensor): tf.Tensor {
  return tf.tidy(() => overLastAxis(dy, weight, layout === "in-out"));
}
