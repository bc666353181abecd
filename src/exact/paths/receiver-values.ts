/**
 * @file What receivers compute from a residual stream that is not the run's own: queries, keys, values, the MLP's output
 * and the final norm. Their norms take their statistics from that stream, or, frozen, from the base run's.
 *
 * Frozen is the scale 1/√(var x + ε) of every norm between the stream and the receiver's value (the q/k norm of a head
 * included), so that queries, keys, values and the final norm are linear in what the sender adds. Layer norm's centring
 * is linear as it is.
 */

import * as tf from "@tensorflow/tfjs-core";
import { type BlockContext, splitHeads } from "../../model/block.js";
import type { ModelConfig, NormKind } from "../../model/config.js";
import { linear } from "../../model/ops/linear.js";
import { neurons } from "../../model/ops/mlp.js";
import { norm } from "../../model/ops/norm.js";
import { rotate } from "../../model/ops/rotary.js";
import type { BlockWeights, Linear, NormWeights } from "../../model/weights.js";
import type { BlockReceiver } from "./receivers.js";

/** A residual stream as receivers see it. */
export interface Heard {
  /** Base run + what the sender changes, [..., D]. */
  readonly stream: tf.Tensor;
  /** The base run's, where norms are frozen to its statistics; absent where they are not. */
  readonly frozenTo?: tf.Tensor;
}

/** The norm of `stream`, with the scale that the norm has on `frozenTo` where that is given. */
function normHeard(
  kind: NormKind,
  eps: number,
  weights: NormWeights,
  { stream, frozenTo }: Heard,
): tf.Tensor {
  if (!frozenTo) return norm(kind, eps, weights, stream).y;
  const { inverseStd } = norm(kind, eps, weights, frozenTo).saved;
  const centred = kind === "layer" ? tf.sub(stream, tf.mean(stream, -1, true)) : stream;
  const scaled = tf.mul(tf.mul(centred, inverseStd), weights.scale);
  return weights.bias ? tf.add(scaled, weights.bias) : scaled;
}

/** The final norm of what is heard: [R, D] -> [R, D], owned by the caller. */
export function heardFinal(
  { norm: kind, normEps }: ModelConfig,
  weights: NormWeights,
  heard: Heard,
): tf.Tensor2D {
  return tf.tidy(() => normHeard(kind, normEps, weights, heard) as tf.Tensor2D);
}

/**
 * What a block's receivers compute of the stream they hear, in the shape of their site; owned by the caller.
 * @param heard [R, T, D]
 */
export function heardInBlock(
  { config, rotary }: BlockContext,
  weights: BlockWeights,
  site: BlockReceiver["site"],
  heard: Heard,
): tf.Tensor {
  const { norm: kind, normEps, heads, kvHeads, activation } = config;
  const turned = (x: tf.Tensor) => (rotary ? rotate(rotary, x) : x);

  /** [R, n, T, h] */
  const perHead = (projection: Linear, n: number, scale?: tf.Tensor1D): tf.Tensor => {
    const raw = (x: Heard) =>
      splitHeads(linear(normHeard(kind, normEps, weights.attnNorm, x), projection), n);
    const stream = raw(heard);
    if (!scale) return stream;
    const { frozenTo } = heard;
    const frozen = frozenTo && { frozenTo: raw({ stream: frozenTo }) };
    return normHeard("rms", normEps, { scale }, { stream, ...frozen });
  };

  return tf.tidy(() => {
    switch (site) {
      case "q":
        return turned(perHead(weights.q, heads, weights.qNorm));
      case "k":
        return turned(perHead(weights.k, kvHeads, weights.kNorm));
      case "v":
        return perHead(weights.v, kvHeads);
      case "mlpOut": {
        const { neuron } = neurons(activation, weights, normHeard(kind, normEps, weights.mlpNorm, heard));
        return linear(neuron, weights.mlpOut);
      }
    }
  });
}
