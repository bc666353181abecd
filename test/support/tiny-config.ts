/** @file Small configs that between them use every branch of the block. */

import type { ModelConfig } from "../../src/model/config.js";

const BASE: ModelConfig = {
  family: "test",
  layers: 3,
  width: 12,
  heads: 4,
  kvHeads: 4,
  headWidth: 3,
  mlpWidth: 10,
  vocabulary: 17,
  maxPositions: 16,
  maxPositionsReason: "made for a test",
  norm: "layer",
  normEps: 1e-5,
  activation: "gelu-tanh",
  gated: false,
  parallelResidual: false,
  qkNorm: false,
};

export const TINY_CONFIGS: Readonly<Record<"plain" | "parallel" | "gated", ModelConfig>> = {
  plain: BASE,
  parallel: {
    ...BASE,
    parallelResidual: true,
    activation: "gelu",
    headWidth: 4,
    rotary: { dims: 2, inverseFrequencies: [1] },
  },
  gated: {
    ...BASE,
    norm: "rms",
    activation: "silu",
    gated: true,
    qkNorm: true,
    kvHeads: 2,
    headWidth: 4,
    rotary: { dims: 4, inverseFrequencies: [1, 0.1] },
  },
};
