/**
 * Every VJP against two independent references on the engine: TensorFlow.js autodiff of the forward pass, and central
 * finite differences of it.
 */

import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs"; // registers the gradients that autodiff needs
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Activation } from "../../src/model/config.js";
import { activation, activationVjp } from "../../src/model/ops/activation.js";
import {
  attend,
  attendVjp,
  attentionPattern,
  attentionScores,
  causalMask,
  patternVjp,
} from "../../src/model/ops/attention.js";
import { linear, linearVjp } from "../../src/model/ops/linear.js";
import { neurons, neuronsVjp } from "../../src/model/ops/mlp.js";
import { norm, normVjp } from "../../src/model/ops/norm.js";
import { rotaryTables, rotate, rotateVjp } from "../../src/model/ops/rotary.js";
import { startTestEngine } from "../support/engine.js";
import { largestError, relativeError } from "../support/errors.js";

/** Two float32 ways to the same derivative. */
const AUTODIFF_TOLERANCE = 1e-5;
/** Central differences in float32: truncation ε² and rounding 1e-7/ε balance near ε = 5e-3. */
const EPSILON = 5e-3;
const DIFFERENCE_TOLERANCE = 2e-3;

beforeAll(async () => {
  await startTestEngine();
});

// Tests own what they make: everything is freed at the end of each.
beforeEach(() => tf.engine().startScope());
afterEach(() => tf.engine().endScope());

const normal = (shape: number[], seed: number) => tf.randomNormal(shape, 0, 1, "float32", seed);

/**
 * Checks `vjp` at `x` for two streams of output gradients at once, so that the stream axis is tested with it.
 * @param forward of one tensor
 * @param vjp [S, ...output] -> [S, ...input]
 */
function checkVjp(
  x: tf.Tensor,
  forward: (x: tf.Tensor) => tf.Tensor,
  vjp: (dy: tf.Tensor) => tf.Tensor,
): void {
  const y = forward(x);
  const streams = [normal(y.shape, 101), normal(y.shape, 102)];
  const got = tf.unstack(vjp(tf.stack(streams)));
  streams.forEach((dy, s) => {
    expect(got[s].shape).toEqual(x.shape);
    const along = (at: tf.Tensor) => tf.sum(tf.mul(forward(at), dy)) as tf.Scalar;
    const byAutodiff = tf.grad(along)(x);
    expect(relativeError(got[s].dataSync(), byAutodiff.dataSync())).toBeLessThan(AUTODIFF_TOLERANCE);

    const step = normal(x.shape, 103 + s);
    const ahead = along(tf.add(x, tf.mul(step, EPSILON))).dataSync()[0];
    const behind = along(tf.sub(x, tf.mul(step, EPSILON))).dataSync()[0];
    const slope = tf.sum(tf.mul(got[s], step)).dataSync()[0];
    const scale = Math.sqrt(tf.sum(tf.square(got[s])).dataSync()[0] * x.size);
    expect(Math.abs((ahead - behind) / (2 * EPSILON) - slope) / scale).toBeLessThan(DIFFERENCE_TOLERANCE);
  });
}

describe("linear", () => {
  it.each(["in-out", "out-in"] as const)("layout %s: equals hand arithmetic, and its VJP", (layout) => {
    // x = [1, 2], W = [[1, 10, 100], [2, 20, 200]] (in × out), b = [0.5, 0, 0]: y = [1 + 4 + 0.5, 10 + 40, 100 + 400]
    const inOut = tf.tensor2d([1, 10, 100, 2, 20, 200], [2, 3]);
    const weight = layout === "in-out" ? inOut : (tf.transpose(inOut) as tf.Tensor2D);
    const weights = { weight, layout, bias: tf.tensor1d([0.5, 0, 0]) };
    expect([...linear(tf.tensor3d([1, 2], [1, 1, 2]), weights).dataSync()]).toEqual([5.5, 50, 500]);
    checkVjp(
      normal([2, 3, 2], 1),
      (x) => linear(x, weights),
      (dy) => linearVjp(weights, dy),
    );
  });
});

describe("norm", () => {
  it("layer: equals hand arithmetic", () => {
    // x = [1, 3]: mean 2, variance 1, x̂ = [−1, 1] (ε = 0); scale [2, 3], bias [10, 20]: [8, 23]
    const weights = { scale: tf.tensor1d([2, 3]), bias: tf.tensor1d([10, 20]) };
    expect([...norm("layer", 0, weights, tf.tensor2d([[1, 3]])).y.dataSync()]).toEqual([8, 23]);
  });

  it("rms: equals hand arithmetic", () => {
    // x = [3, 4, 0, 0]: mean square 25/4, root 2.5, x̂ = [1.2, 1.6, 0, 0]; scale [1, 2, 1, 1]
    const weights = { scale: tf.tensor1d([1, 2, 1, 1]) };
    const { y } = norm("rms", 0, weights, tf.tensor2d([[3, 4, 0, 0]]));
    expect(largestError(y.dataSync(), [1.2, 3.2, 0, 0])).toBeLessThan(1e-6);
  });

  it.each(["layer", "rms"] as const)("%s: VJP", (kind) => {
    const weights = {
      scale: normal([6], 2) as tf.Tensor1D,
      ...(kind === "layer" && { bias: normal([6], 3) as tf.Tensor1D }),
    };
    const x = normal([2, 3, 6], 4);
    const { saved } = norm(kind, 1e-5, weights, x);
    checkVjp(
      x,
      (at) => norm(kind, 1e-5, weights, at).y,
      (dy) => normVjp(kind, weights, saved, dy),
    );
  });
});

describe("activation", () => {
  // Φ(1) = 0.841344746, σ(1) = 0.731058579; the tanh form of GELU at 1 is 0.5·(1 + tanh(√(2/π)·1.044715)) = 0.841191991.
  it.each([
    ["gelu", 0.841344746],
    ["gelu-tanh", 0.841191991],
    ["silu", 0.731058579],
    ["relu", 1],
  ] as [Activation, number][])("%s at 1 is %f", (kind, wanted) => {
    expect(activation(kind, tf.tensor1d([1])).y.dataSync()[0]).toBeCloseTo(wanted, 6);
  });

  it.each(["gelu", "gelu-tanh", "silu", "relu"] as const)("%s: VJP", (kind) => {
    // No point within ε of 0, where ReLU has a corner.
    const x = tf.tidy(() => {
      const raw = normal([2, 3, 8], 5);
      return tf.add(raw, tf.mul(tf.sign(raw), 0.05));
    });
    const { gate } = activation(kind, x);
    checkVjp(
      x,
      (at) => activation(kind, at).y,
      (dy) => activationVjp(kind, x, gate, dy),
    );
  });
});

describe("rotary", () => {
  it("equals hand arithmetic, with dimensions beyond the rotary ones unchanged", () => {
    // Two rotary dims of three, angle 1 per position: at position 1, (1, 0) -> (cos 1, sin 1), the third stays 7.
    const tables = rotaryTables({ dims: 2, inverseFrequencies: [1] }, 2, 3);
    const y = rotate(tables, tf.tensor2d([1, 0, 7, 1, 0, 7], [2, 3])).dataSync();
    expect(largestError(y, [1, 0, 7, Math.cos(1), Math.sin(1), 7])).toBeLessThan(1e-6);
  });

  it.each([4, 8])("%i of 8 dims: VJP", (dims) => {
    const inverseFrequencies = Array.from({ length: dims / 2 }, (_, i) => 0.7 ** i);
    const tables = rotaryTables({ dims, inverseFrequencies }, 5, 8);
    checkVjp(
      normal([2, 3, 5, 8], 6),
      (x) => rotate(tables, x),
      (dy) => rotateVjp(tables, dy),
    );
  });
});

describe("attention", () => {
  it("equals hand arithmetic: two positions, one head of width 1", () => {
    // scores of query 1: q·k = [ln 3, 0], softmax [3/4, 1/4], v = [4, 8]: z = 5. Query 0 sees only itself: z = 4.
    const column = (values: number[]) => tf.tensor4d(values, [1, 1, 2, 1]);
    const pattern = attentionPattern(
      attentionScores(column([1, 1]), column([Math.log(3), 0])),
      causalMask(2),
    );
    expect(largestError(pattern.dataSync(), [1, 0, 0.75, 0.25])).toBeLessThan(1e-6);
    expect(largestError(attend(pattern, column([4, 8])).dataSync(), [4, 5])).toBeLessThan(1e-6);
  });

  it.each([1, 2, 4])("4 query heads on %i kv-heads: VJP of q, k, v and the pattern", (K) => {
    const [B, H, T, h] = [2, 4, 5, 3];
    const q = normal([B, H, T, h], 7) as tf.Tensor4D;
    const k = normal([B, K, T, h], 8) as tf.Tensor4D;
    const v = normal([B, K, T, h], 9) as tf.Tensor4D;
    const mask = causalMask(T);
    const patternOf = (queries: tf.Tensor, keys: tf.Tensor) =>
      attentionPattern(attentionScores(queries as tf.Tensor4D, keys as tf.Tensor4D), mask);
    const pattern = patternOf(q, k);
    checkVjp(
      q,
      (x) => patternOf(x, k),
      (dPattern) => patternVjp({ q, k, pattern }, dPattern).dq,
    );
    checkVjp(
      k,
      (x) => patternOf(q, x),
      (dPattern) => patternVjp({ q, k, pattern }, dPattern).dk,
    );
    checkVjp(
      pattern,
      (x) => attend(x as tf.Tensor4D, v),
      (dz) => attendVjp({ pattern, v }, dz).dPattern,
    );
    checkVjp(
      v,
      (x) => attend(pattern, x as tf.Tensor4D),
      (dz) => attendVjp({ pattern, v }, dz).dv,
    );
  });
});

describe("neurons", () => {
  it.each([true, false])("gated %s: VJP", (gated) => {
    const weights = {
      mlpIn: {
        weight: normal([4, 6], 10) as tf.Tensor2D,
        layout: "in-out" as const,
        bias: normal([6], 11) as tf.Tensor1D,
      },
      ...(gated && { mlpGate: { weight: normal([6, 4], 12) as tf.Tensor2D, layout: "out-in" as const } }),
    };
    const x = normal([2, 3, 4], 13);
    const { saved } = neurons("silu", weights, x);
    checkVjp(
      x,
      (at) => neurons("silu", weights, at).neuron,
      (dy) => neuronsVjp("silu", weights, saved, dy),
    );
  });
});
