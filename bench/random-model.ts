/** @file Models with random weights of any shape, for timing and for tests that need no trained model. */

import * as tf from "@tensorflow/tfjs-core";
import type { ModelConfig } from "../src/model/config.js";
import type { Model } from "../src/model/model.js";
import type { BlockWeights, Linear, NormWeights } from "../src/model/weights.js";
import { inMemoryModel } from "./in-memory-model.js";

/** GPT-2 small: 124 million parameters. */
export const GPT2_SMALL: ModelConfig = {
  family: "gpt2",
  layers: 12,
  width: 768,
  heads: 12,
  kvHeads: 12,
  headWidth: 64,
  mlpWidth: 3072,
  vocabulary: 50257,
  maxPositions: 1024,
  maxPositionsReason: "n_positions",
  norm: "layer",
  normEps: 1e-5,
  activation: "gelu-tanh",
  gated: false,
  parallelResidual: false,
  qkNorm: false,
};

/** Seeded uniform numbers in (−1, 1): a 32-bit linear congruential generator is random enough for weights. */
function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
}

/**
 * A model of the given shape with uniform weights of standard deviation `gain`/√(inputs), without a tokenizer.
 * @param layout of its matrices; the two layouts take different ways through the products
 */
export function randomModel(
  config: ModelConfig,
  { seed = 1, gain = 1, layout = "in-out" }: { seed?: number; gain?: number; layout?: Linear["layout"] } = {},
): Model {
  const next = uniform(seed);
  const { width: D, headWidth: h, heads: H, kvHeads: K, mlpWidth: F } = config;
  const values = (size: number, deviation: number) =>
    Float32Array.from({ length: size }, () => next() * deviation * Math.sqrt(3));
  const matrix = (rows: number, columns: number, deviation: number) =>
    tf.tensor2d(values(rows * columns, deviation), [rows, columns]);
  const vector = (size: number, centre: number) => {
    const data = values(size, 0.1);
    return tf.tensor1d(data.map((value) => centre + value));
  };
  const linear = (inputs: number, outputs: number): Linear => ({
    weight:
      layout === "in-out"
        ? matrix(inputs, outputs, gain / Math.sqrt(inputs))
        : matrix(outputs, inputs, gain / Math.sqrt(inputs)),
    layout,
    bias: vector(outputs, 0),
  });
  const norm = (): NormWeights => ({
    scale: vector(D, 1),
    ...(config.norm === "layer" && { bias: vector(D, 0) }),
  });
  const block = (): BlockWeights => ({
    attnNorm: norm(),
    q: linear(D, H * h),
    k: linear(D, K * h),
    v: linear(D, K * h),
    o: linear(H * h, D),
    ...(config.qkNorm && { qNorm: vector(h, 1), kNorm: vector(h, 1) }),
    mlpNorm: norm(),
    ...(config.gated && { mlpGate: linear(D, F) }),
    mlpIn: linear(D, F),
    mlpOut: linear(F, D),
  });
  const tokens = matrix(config.vocabulary, D, 1);
  const embedding = config.rotary ? { tokens } : { tokens, positions: matrix(config.maxPositions, D, 0.5) };
  const layers = Array.from({ length: config.layers }, block);
  const unembedding = { norm: norm(), rows: tokens };
  return inMemoryModel("random", config, { embedding, layers, unembedding });
}
