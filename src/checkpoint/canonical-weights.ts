/** @file From a plan and the values behind its sources to tensors in the structures of `model/weights.ts`. */

import type * as tf from "@tensorflow/tfjs-core";
import type { BlockWeights, Linear, NormWeights } from "../model/weights.js";
import type { Plan, TensorSource } from "./weight-plan.js";

/** Makes tensors of sources whose values have been read; the caller owns them. */
export interface Values {
  matrix(source: TensorSource): tf.Tensor2D;
  vector(source: TensorSource): tf.Tensor1D;
}

export function makeBlock(plan: Plan<BlockWeights>, values: Values): BlockWeights {
  return {
    attnNorm: makeNorm(plan.attnNorm, values),
    q: makeLinear(plan.q, values),
    k: makeLinear(plan.k, values),
    v: makeLinear(plan.v, values),
    o: makeLinear(plan.o, values),
    ...(plan.qNorm && { qNorm: values.vector(plan.qNorm) }),
    ...(plan.kNorm && { kNorm: values.vector(plan.kNorm) }),
    mlpNorm: makeNorm(plan.mlpNorm, values),
    ...(plan.mlpGate && { mlpGate: makeLinear(plan.mlpGate, values) }),
    mlpIn: makeLinear(plan.mlpIn, values),
    mlpOut: makeLinear(plan.mlpOut, values),
  };
}

function makeLinear(plan: Plan<Linear>, values: Values): Linear {
  return {
    weight: values.matrix(plan.weight),
    layout: plan.layout,
    ...(plan.bias && { bias: values.vector(plan.bias) }),
  };
}

export function makeNorm(plan: Plan<NormWeights>, values: Values): NormWeights {
  return { scale: values.vector(plan.scale), ...(plan.bias && { bias: values.vector(plan.bias) }) };
}
