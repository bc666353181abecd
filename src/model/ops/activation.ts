/**
 * @file The nonlinearities of MLPs and their derivatives. All but ReLU have the form y = x·s(x) with a gate s
 * between 0 and 1, so forward and derivative share s:
 *
 *   silu       s = σ(x)                                  s' = s(1 − s)
 *   gelu-tanh  s = σ(u), u = x(c + 0.044715·c·x²)        s' = s(1 − s)·(c + 3·0.044715·c·x²),  c = 2√(2/π)
 *   gelu       s = Φ(x)                                  s' = φ(x)
 *   dy/dx = s + x·s'
 *
 * The tanh form of GELU is written with σ because tanh(a) = 2σ(2a) − 1 makes them equal, and σ is several times
 * faster on both engines.
 */

import * as tf from "@tensorflow/tfjs-core";
import type { Activation } from "../config.js";

const C = 2 * Math.sqrt(2 / Math.PI);
const CUBIC = 0.044715 * C;

/** s(x), elementwise. */
function gate(kind: Activation, x: tf.Tensor): tf.Tensor {
  switch (kind) {
    case "silu":
      return tf.sigmoid(x);
    case "gelu-tanh":
      return tf.sigmoid(tf.mul(x, tf.add(tf.mul(tf.square(x), CUBIC), C)));
    case "gelu":
      return tf.mul(tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1), 0.5);
    case "relu":
      return tf.step(x);
  }
}

/** s'(x), elementwise, given s. */
function gateSlope(kind: Activation, x: tf.Tensor, s: tf.Tensor): tf.Tensor {
  switch (kind) {
    case "silu":
      return tf.mul(s, tf.sub(1, s));
    case "gelu-tanh":
      return tf.mul(tf.mul(s, tf.sub(1, s)), tf.add(tf.mul(tf.square(x), 3 * CUBIC), C));
    case "gelu":
      return tf.mul(tf.exp(tf.mul(tf.square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
    case "relu":
      return tf.zerosLike(x);
  }
}

/** y = x·s(x) of any shape, and s for `activationVjp`. */
export function activation(kind: Activation, x: tf.Tensor): { y: tf.Tensor; gate: tf.Tensor } {
  return tf.tidy(() => {
    const s = gate(kind, x);
    return { y: tf.mul(x, s), gate: s };
  });
}

/** dx = dy·(s + x·s'(x)); `dy` may have leading stream axes that x lacks. */
export function activationVjp(kind: Activation, x: tf.Tensor, s: tf.Tensor, dy: tf.Tensor): tf.Tensor {
  return tf.tidy(() => {
    const slope = kind === "relu" ? s : tf.add(s, tf.mul(x, gateSlope(kind, x, s)));
    return tf.mul(dy, slope);
  });
}
