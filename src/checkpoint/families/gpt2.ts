/**
 * @file GPT-2: learned positions, matrices stored [in, out] (Conv1D), and q, k, v as the three column blocks of one
 * matrix `c_attn`. The causal-mask buffers `attn.bias` and `attn.masked_bias` are never asked for.
 */

import type { ModelConfig } from "../../model/config.js";
import type { BlockWeights, Linear } from "../../model/weights.js";
import type { ConfigFields } from "../config-fields.js";
import { layerNorm, type Plan, TensorSource } from "../weight-plan.js";
import {
  equalHeadWidth,
  type Family,
  namePrefix,
  readActivation,
  readMaxPositions,
  unembeddingSource,
} from "./family.js";

export const gpt2: Family = {
  modelType: "gpt2",
  plan(fields, names) {
    const config = readConfig(fields);
    const { vocabulary, width, maxPositions } = config;
    const prefix = namePrefix(names, "transformer.", "wte.weight");
    const tokens = new TensorSource(`${prefix}wte.weight`, [vocabulary, width]);
    return {
      config,
      embedding: { tokens, positions: new TensorSource(`${prefix}wpe.weight`, [maxPositions, width]) },
      unembedding: {
        norm: layerNorm(`${prefix}ln_f`, width),
        rows: unembeddingSource(fields, names, true, tokens, ["lm_head.weight"]),
      },
      layer: (l) => planBlock(config, `${prefix}h.${l}.`),
    };
  },
};

function readConfig(fields: ConfigFields): ModelConfig {
  if (fields.flag("scale_attn_by_inverse_layer_idx", false)) {
    throw fields.error("scale_attn_by_inverse_layer_idx", "false (scaling by layer is not supported)");
  }
  if (!fields.flag("scale_attn_weights", true)) {
    throw fields.error("scale_attn_weights", "true (unscaled attention is not supported)");
  }
  if (fields.flag("add_cross_attention", false)) {
    throw fields.error("add_cross_attention", "false (cross-attention is not supported)");
  }
  const width = fields.count("n_embd");
  const heads = fields.count("n_head");
  return {
    family: "gpt2",
    layers: fields.count("n_layer"),
    width,
    heads,
    kvHeads: heads,
    headWidth: equalHeadWidth(fields, "n_embd", "n_head"),
    mlpWidth: fields.count("n_inner", 4 * width),
    vocabulary: fields.count("vocab_size"),
    ...readMaxPositions(fields, "n_positions", 1024),
    norm: "layer",
    normEps: fields.positive("layer_norm_epsilon", 1e-5),
    activation: readActivation(fields, "activation_function", "gelu_new"),
    gated: false,
    parallelResidual: false,
    qkNorm: false,
  };
}

function planBlock(config: ModelConfig, layer: string): Plan<BlockWeights> {
  const { width, mlpWidth } = config;
  return {
    attnNorm: layerNorm(`${layer}ln_1`, width),
    q: attentionPart(`${layer}attn.c_attn`, width, 0),
    k: attentionPart(`${layer}attn.c_attn`, width, 1),
    v: attentionPart(`${layer}attn.c_attn`, width, 2),
    o: conv1d(`${layer}attn.c_proj`, width, width),
    mlpNorm: layerNorm(`${layer}ln_2`, width),
    mlpIn: conv1d(`${layer}mlp.c_fc`, width, mlpWidth),
    mlpOut: conv1d(`${layer}mlp.c_proj`, mlpWidth, width),
  };
}

/** Column block `index` of c_attn [D, 3·D]: each of its rows holds D numbers for q, then for k, then for v. */
function attentionPart(name: string, width: number, index: number): Plan<Linear> {
  const parts = { parts: 3, inner: width, index };
  return {
    weight: new TensorSource(`${name}.weight`, [width, 3 * width], {
      ...parts,
      outer: width,
      shape: [width, width],
    }),
    layout: "in-out",
    bias: new TensorSource(`${name}.bias`, [3 * width], { ...parts, outer: 1, shape: [width] }),
  };
}

function conv1d(name: string, into: number, out: number): Plan<Linear> {
  return {
    weight: new TensorSource(`${name}.weight`, [into, out]),
    layout: "in-out",
    bias: new TensorSource(`${name}.bias`, [out]),
  };
}
