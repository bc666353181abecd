/** @file Values of sites as tables with a row per token, and rows taken out of them. */

import * as tf from "@tensorflow/tfjs-core";

/** [B, T, n], or [B, n, T, h] of a site with heads -> [B·T, n or n·h]. */
export function tableOf(value: tf.Tensor): tf.Tensor2D {
  if (value.rank === 3) {
    const [B, T, n] = value.shape;
    return tf.reshape(value, [B * T, n]);
  }
  const [B, n, T, h] = value.shape;
  return tf.reshape(tf.transpose(value, [0, 2, 1, 3]), [B * T, n * h]);
}

/** Rows of a table, or entries of a list, by number. */
export function take<Value extends tf.Tensor>(table: Value, rows: Int32Array): Value {
  return tf.gather(table, tf.tensor1d(rows, "int32")) as Value;
}
