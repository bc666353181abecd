/**
 * @file What Llama, Mistral, Qwen2 and Qwen3 share: RMS norm, rotary embedding, grouped kv-heads, a gated MLP,
 * a sequential residual, and the names of their tensors. Each of them is a set of traits.
 */

import type { ModelConfig } from "../../model/config.js";
import type { BlockWeights } from "../../model/weights.js";
import type { ConfigFields } from "../config-fields.js";
import { readRotary } from "../rotary-config.js";
import { type Plan, TensorSource, torchLinear } from "../weight-plan.js";
import {
  equalHeadWidth,
  type Family,
  namePrefix,
  readActivation,
  readMaxPositions,
  unembeddingSource,
} from "./family.js";

/** What one family says differently from the others. */
export interface LlamaTraits {
  readonly modelType: string;
  /** kv-heads where `num_key_value_heads` is left out; absent: as many as query heads. */
  readonly defaultKvHeads?: number;
  /** Head width where `head_dim` is left out; absent: hidden_size / num_attention_heads. */
  readonly defaultHeadWidth?: number;
  readonly defaultMaxPositions: number;
  readonly qkNorm: boolean;
  biases(fields: ConfigFields): Biases;
  /** The sliding window in tokens, if attention has one. */
  window(fields: ConfigFields): number | undefined;
}

interface Biases {
  readonly qkv: boolean;
  readonly o: boolean;
  readonly mlp: boolean;
}

export function llamaLike(traits: LlamaTraits): Family {
  return {
    modelType: traits.modelType,
    plan(fields, names) {
      const config = readConfig(fields, traits);
      const biases = traits.biases(fields);
      const prefix = namePrefix(names, "model.", "embed_tokens.weight");
      const tokens = new TensorSource(`${prefix}embed_tokens.weight`, [config.vocabulary, config.width]);
      return {
        config,
        embedding: { tokens },
        unembedding: {
          norm: { scale: new TensorSource(`${prefix}norm.weight`, [config.width]) },
          rows: unembeddingSource(fields, names, false, tokens, ["lm_head.weight"]),
        },
        layer: (l) => planBlock(config, biases, `${prefix}layers.${l}.`),
      };
    },
  };
}

/** The window of the Qwen families, which is off unless it is switched on. */
export function qwenWindow(fields: ConfigFields): number | undefined {
  if (!fields.flag("use_sliding_window", false) || fields.isNull("sliding_window")) return undefined;
  return fields.count("sliding_window", 4096);
}

function readConfig(fields: ConfigFields, traits: LlamaTraits): ModelConfig {
  const heads = fields.count("num_attention_heads");
  const kvHeads = fields.count(
    "num_key_value_heads",
    fields.isNull("num_key_value_heads") ? heads : (traits.defaultKvHeads ?? heads),
  );
  if (heads % kvHeads !== 0)
    throw fields.error("num_key_value_heads", `a divisor of num_attention_heads ${heads}`);
  const headWidth = fields.has("head_dim")
    ? fields.count("head_dim")
    : (traits.defaultHeadWidth ?? equalHeadWidth(fields, "hidden_size", "num_attention_heads"));
  return {
    family: traits.modelType,
    layers: fields.count("num_hidden_layers"),
    width: fields.count("hidden_size"),
    heads,
    kvHeads,
    headWidth,
    mlpWidth: fields.count("intermediate_size"),
    vocabulary: fields.count("vocab_size"),
    ...readMaxPositions(fields, "max_position_embeddings", traits.defaultMaxPositions, traits.window(fields)),
    norm: "rms",
    normEps: fields.positive("rms_norm_eps", 1e-6),
    rotary: readRotary(fields, headWidth, {
      theta: "rope_theta",
      fraction: "partial_rotary_factor",
      defaultFraction: 1,
    }),
    activation: readActivation(fields, "hidden_act", "silu"),
    gated: true,
    parallelResidual: false,
    qkNorm: traits.qkNorm,
  };
}

function planBlock(config: ModelConfig, biases: Biases, layer: string): Plan<BlockWeights> {
  const { width, headWidth, mlpWidth } = config;
  const queries = config.heads * headWidth;
  const keys = config.kvHeads * headWidth;
  const attention = `${layer}self_attn.`;
  return {
    attnNorm: { scale: new TensorSource(`${layer}input_layernorm.weight`, [width]) },
    q: torchLinear(`${attention}q_proj`, queries, width, biases.qkv),
    k: torchLinear(`${attention}k_proj`, keys, width, biases.qkv),
    v: torchLinear(`${attention}v_proj`, keys, width, biases.qkv),
    o: torchLinear(`${attention}o_proj`, width, queries, biases.o),
    ...(config.qkNorm && {
      qNorm: new TensorSource(`${attention}q_norm.weight`, [headWidth]),
      kNorm: new TensorSource(`${attention}k_norm.weight`, [headWidth]),
    }),
    mlpNorm: { scale: new TensorSource(`${layer}post_attention_layernorm.weight`, [width]) },
    mlpGate: torchLinear(`${layer}mlp.gate_proj`, mlpWidth, width, biases.mlp),
    mlpIn: torchLinear(`${layer}mlp.up_proj`, mlpWidth, width, biases.mlp),
    mlpOut: torchLinear(`${layer}mlp.down_proj`, width, mlpWidth, biases.mlp),
  };
}
