/**
 * @file The MLP, plain or gated, and its VJP. The input of the last matrix is the `neuron` site.
 *
 *   plain:  neuron = act(x·W_in + b_in)                  gated:  neuron = act(x·W_gate)·(x·W_in)
 *   out = neuron·W_out + b_out
 */

import * as tf from "@tensorflow/tfjs-core";
import type { Activation } from "../config.js";
import type { BlockWeights } from "../weights.js";
import { activation, activationVjp } from "./activation.js";
import { linear, linearVjp } from "./linear.js";

type MlpWeights = Pick<BlockWeights, "mlpGate" | "mlpIn">;

export type MlpSaved = {
  /** Input of the activation, [B, T, F]. */
  readonly preActivation: tf.Tensor;
  /** s of `activation`, [B, T, F]. */
  readonly gate: tf.Tensor;
  /** Gated only: act(x·W_gate) and x·W_in, [B, T, F] each. */
  readonly gated?: { readonly active: tf.Tensor; readonly linear: tf.Tensor };
};

/** x [B, T, D] -> neuron [B, T, F] and what `neuronsVjp` needs. */
export function neurons(
  kind: Activation,
  { mlpGate, mlpIn }: MlpWeights,
  x: tf.Tensor,
): { neuron: tf.Tensor; saved: MlpSaved } {
  return tf.tidy(() => {
    const lin = linear(x, mlpIn);
    const preActivation = mlpGate ? linear(x, mlpGate) : lin;
    const { y, gate } = activation(kind, preActivation);
    if (!mlpGate) return { neuron: y, saved: { preActivation, gate } };
    return { neuron: tf.mul(y, lin), saved: { preActivation, gate, gated: { active: y, linear: lin } } };
  });
}

/** dNeuron [S, B, T, F] -> dx [S, B, T, D]. */
export function neuronsVjp(
  kind: Activation,
  { mlpGate, mlpIn }: MlpWeights,
  { preActivation, gate, gated }: MlpSaved,
  dNeuron: tf.Tensor,
): tf.Tensor {
  return tf.tidy(() => {
    if (!mlpGate || !gated) return linearVjp(mlpIn, activationVjp(kind, preActivation, gate, dNeuron));
    const dGate = activationVjp(kind, preActivation, gate, tf.mul(dNeuron, gated.linear));
    return tf.add(linearVjp(mlpGate, dGate), linearVjp(mlpIn, tf.mul(dNeuron, gated.active)));
  });
}
