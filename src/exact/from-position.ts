/** @file Values of a run without the positions that another run does not cover. */

import * as tf from "@tensorflow/tfjs-core";

/** Values of a site, [B, I, T, h] or [B, T, I], at the positions from `from` on. */
export function fromPosition<Value extends tf.Tensor>(value: Value, from: number): Value {
  if (from === 0) return tf.clone(value);
  return tf.slice(value, value.rank === 4 ? [0, 0, from, 0] : [0, from, 0]) as Value;
}
