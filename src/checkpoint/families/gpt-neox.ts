/**
 * @file GPT-NeoX and Pythia: layer norm, partial rotary embedding, a parallel residual unless the config says
 * otherwise, and q, k, v interleaved per head in the rows of one matrix, [H, 3, h, D].
 */

import type { ModelConfig } from "../../model/config.js";
import type { BlockWeights, Linear } from "../../model/weights.js";
import type { ConfigFields } from "../config-fields.js";
import { readRotary } from "../rotary-config.js";
import { interleavedPart, layerNorm, type Plan, TensorSource, torchLinear } from "../weight-plan.js";
import { equalHeadWidth, type Family, namePrefix, readActivation, readMaxPositions } from "./family.js";
import { embeddingName, type Head, unembeddingSource } from "./head.js";
import {
  checkLayerTypes,
  checkSupported,
  type FamilyRules,
  WITHOUT_QK_NORM,
  WITHOUT_WINDOW,
} from "./supported-fields.js";

const HEAD: Head = { names: ["embed_out.weight", "lm_head.weight"], tiedByDefault: false };

const RULES: FamilyRules = [WITHOUT_WINDOW, ...WITHOUT_QK_NORM];

export const gptNeox: Family = {
  modelType: "gpt_neox",
  head: HEAD,
  layers: {
    field: "num_hidden_layers",
    pattern: /^(?:gpt_neox\.)?layers\.(\d+)\./,
    buffers:
      /^(?:gpt_neox\.)?(?:layers\.\d+\.attention\.(?:bias|masked_bias|rotary_emb\.inv_freq)|rotary_emb\.inv_freq)$/,
  },
  plan(fields, names) {
    checkSupported(fields, RULES);
    const config = readConfig(fields);
    checkLayerTypes(fields, config.layers, false);
    const attentionBias = fields.flag("attention_bias", true);
    const prefix = namePrefix(names, "gpt_neox.", "embed_in.weight");
    const stored = embeddingName(fields, names, HEAD, `${prefix}embed_in`);
    const tokens = new TensorSource(`${stored}.weight`, [config.vocabulary, config.width]);
    return {
      config,
      embedding: { tokens },
      unembedding: {
        norm: layerNorm(`${prefix}final_layer_norm`, config.width),
        rows: unembeddingSource(fields, names, HEAD, tokens),
      },
      layer: (l) => planBlock(config, attentionBias, `${prefix}layers.${l}.`),
    };
  },
};

function readConfig(fields: ConfigFields): ModelConfig {
  const heads = fields.count("num_attention_heads");
  const headWidth = equalHeadWidth(fields, "hidden_size", "num_attention_heads");
  return {
    family: "gpt_neox",
    layers: fields.count("num_hidden_layers"),
    width: fields.count("hidden_size"),
    heads,
    kvHeads: heads,
    headWidth,
    mlpWidth: fields.count("intermediate_size"),
    vocabulary: fields.count("vocab_size"),
    ...readMaxPositions(fields, "max_position_embeddings", 2048),
    norm: "layer",
    normEps: fields.positive("layer_norm_eps", 1e-5),
    rotary: readRotary(fields, headWidth, {
      theta: "rotary_emb_base",
      fraction: "rotary_pct",
      defaultFraction: 0.25,
    }),
    activation: readActivation(fields, "hidden_act", "gelu"),
    gated: false,
    parallelResidual: fields.flag("use_parallel_residual", true),
    qkNorm: false,
  };
}

function planBlock(config: ModelConfig, attentionBias: boolean, layer: string): Plan<BlockWeights> {
  const { width, mlpWidth } = config;
  const fused = `${layer}attention.query_key_value`;
  return {
    attnNorm: layerNorm(`${layer}input_layernorm`, width),
    q: attentionPart(fused, config, attentionBias, 0),
    k: attentionPart(fused, config, attentionBias, 1),
    v: attentionPart(fused, config, attentionBias, 2),
    o: torchLinear(`${layer}attention.dense`, width, width, attentionBias),
    mlpNorm: layerNorm(`${layer}post_attention_layernorm`, width),
    mlpIn: torchLinear(`${layer}mlp.dense_h_to_4h`, mlpWidth, width, true),
    mlpOut: torchLinear(`${layer}mlp.dense_4h_to_h`, width, mlpWidth, true),
  };
}

/** q, k or v (`index` 0, 1, 2) of the rows [H, 3, h, D] of query_key_value. */
function attentionPart(name: string, config: ModelConfig, bias: boolean, index: number): Plan<Linear> {
  const { width, heads, headWidth } = config;
  const parts = { outer: heads, parts: 3, index };
  return {
    weight: new TensorSource(
      `${name}.weight`,
      [3 * width, width],
      interleavedPart({ ...parts, inner: headWidth * width, shape: [width, width] }),
    ),
    layout: "out-in",
    ...(bias && {
      bias: new TensorSource(
        `${name}.bias`,
        [3 * width],
        interleavedPart({ ...parts, inner: headWidth, shape: [width] }),
      ),
    }),
  };
}
