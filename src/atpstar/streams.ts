/**
 * @file GradDrop's dropped backward passes, carried through one sweep as gradient streams.
 *
 * In dropped pass d the contribution of layer d to the residual stream (attention and MLP) is treated as constant. Above
 * layer d that pass equals the plain one, so stream d forks from the main stream at layer d, where its gradient just
 * passes from residPost to residPre. Layer l then has 1 + (L − 1 − l) live streams: L(L + 1)/2 layer-backwards in all,
 * not L². Streams beyond the memory budget run in later sweeps of their own, from the main stream's gradient kept at the
 * layers where they fork.
 */

import * as tf from "@tensorflow/tfjs-core";

/**
 * The dropped layers whose streams share a sweep, from the last down. Layer 0 needs none: nothing lies below it.
 * @param layers how many are dropped, from layer 0 on
 */
export function planStreams(layers: number, streamsPerSweep: number): number[][] {
  const dropped = Array.from({ length: layers - 1 }, (_, i) => layers - 1 - i);
  const sweeps = Math.ceil(dropped.length / streamsPerSweep);
  return Array.from({ length: sweeps }, (_, s) =>
    dropped.slice(s * streamsPerSweep, (s + 1) * streamsPerSweep),
  );
}

/**
 * How many streams fit beside the main one.
 *
 * @param budgetBytes for the gradients of one layer, all streams together; at least one stream runs in any case
 */
export function streamsWithin(
  budgetBytes: number,
  { B, T, D, F, H }: { B: number; T: number; D: number; F: number; H: number },
): number {
  // Live at the worst moment of a layer's VJP: gradients of the MLP (neuron, gate, product, sum), of the residual stream
  // (in, out, norm and its terms), and of the pattern (itself, weighted, difference, product) in float32.
  const floatsPerPrompt = T * (4 * F + 8 * D + 4 * H * T);
  return Math.max(1, Math.floor(budgetBytes / (4 * B * floatsPerPrompt)) - 1);
}

/** The main stream of a gradient [S, B, T, D], as [1, B, T, D]. */
export function mainStream(gradient: tf.Tensor4D): tf.Tensor4D {
  const [S, B, T, D] = gradient.shape;
  return S === 1 ? tf.clone(gradient) : tf.slice(gradient, [0, 0, 0, 0], [1, B, T, D]);
}
