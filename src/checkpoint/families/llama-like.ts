/**
 * @file What Llama, Mistral, Qwen2 and Qwen3 share: RMS norm, rotary embedding, grouped kv-heads, a gated MLP,
 * a sequential residual, and the names of their tensors. Each of them is a set of traits.
 */

import type { ModelConfig } from "../../model/config.js";
import type { BlockWeights, Linear, NormWeights } from "../../model/weights.js";
import type { ConfigFields } from "../config-fields.js";
import { readRotary } from "../rotary-config.js";
import { type ModelPlan, type Part, type Plan, TensorSource, torchLinear } from "../weight-plan.js";
import {
  equalHeadWidth,
  type Family,
  namePrefix,
  ownHeadWidth,
  readActivation,
  readMaxPositions,
} from "./family.js";
import { embeddingName, type Head, unembeddingSource } from "./head.js";
import { checkLayerTypes, checkSupported, WITHOUT_QK_NORM } from "./supported-fields.js";

const HEAD: Head = { names: ["lm_head.weight"], tiedByDefault: false };

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

export interface Biases {
  readonly qkv: boolean;
  readonly o: boolean;
  readonly mlp: boolean;
}

/** What a format calls the tensors of these families, without ".weight" and ".bias". */
export interface LlamaNames {
  readonly tokens: string;
  readonly norm: string;
  /** Prefix of the names below in layer `l`. */
  layer(l: number): string;
  readonly attnNorm: string;
  readonly q: string;
  readonly k: string;
  readonly v: string;
  readonly o: string;
  readonly qNorm: string;
  readonly kNorm: string;
  readonly mlpNorm: string;
  readonly gate: string;
  readonly up: string;
  readonly down: string;
}

/** What else a format has to say of where the weights are. */
export interface LlamaPlacing {
  readonly biases: Biases;
  /** The unembedding, given the token embedding. */
  unembedding(tokens: TensorSource): TensorSource;
  /**
   * The rows of q or k in the order in which a head's i-th and (i + h/2)-th dimension turn together; left out, they are stored so.
   * @param heads query heads or kv-heads
   * @param shape of the weight or bias
   */
  turningRows?(heads: number, shape: readonly number[]): Part;
}

export function llamaLike(traits: LlamaTraits): Family {
  return {
    modelType: traits.modelType,
    head: HEAD,
    layers: {
      field: "num_hidden_layers",
      pattern: /^(?:model\.)?layers\.(\d+)\./,
      buffers: /^(?:model\.)?(?:layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq$/,
    },
    plan(fields, names) {
      checkSupported(fields, traits.qkNorm ? [] : WITHOUT_QK_NORM);
      const config = readLlamaConfig(fields, traits);
      checkLayerTypes(fields, config.layers, traits.window(fields) !== undefined);
      const prefix = namePrefix(names, "model.", "embed_tokens.weight");
      const tokens = embeddingName(fields, names, HEAD, `${prefix}embed_tokens`);
      return planLlama(config, huggingFaceNames(prefix, tokens), {
        biases: traits.biases(fields),
        unembedding: (source) => unembeddingSource(fields, names, HEAD, source),
      });
    },
  };
}

function huggingFaceNames(prefix: string, tokens: string): LlamaNames {
  return {
    tokens,
    norm: `${prefix}norm`,
    layer: (l) => `${prefix}layers.${l}.`,
    attnNorm: "input_layernorm",
    q: "self_attn.q_proj",
    k: "self_attn.k_proj",
    v: "self_attn.v_proj",
    o: "self_attn.o_proj",
    qNorm: "self_attn.q_norm",
    kNorm: "self_attn.k_norm",
    mlpNorm: "post_attention_layernorm",
    gate: "mlp.gate_proj",
    up: "mlp.up_proj",
    down: "mlp.down_proj",
  };
}

/** Where every weight is, in the names of a format. */
export function planLlama(config: ModelConfig, names: LlamaNames, placing: LlamaPlacing): ModelPlan {
  const { vocabulary, width } = config;
  const tokens = new TensorSource(`${names.tokens}.weight`, [vocabulary, width]);
  return {
    config,
    embedding: { tokens },
    unembedding: { norm: rmsNorm(names.norm, width), rows: placing.unembedding(tokens) },
    layer: (l) => planBlock(config, names, placing, names.layer(l)),
  };
}

function rmsNorm(name: string, width: number): Plan<NormWeights> {
  return { scale: new TensorSource(`${name}.weight`, [width]) };
}

/** The window of the Qwen families, which is off unless it is switched on. */
export function qwenWindow(fields: ConfigFields): number | undefined {
  if (!fields.flag("use_sliding_window", false) || fields.isNull("sliding_window")) return undefined;
  return fields.count("sliding_window", 4096);
}

/** @throws InputError when a field is unusable or asks for something that is not supported */
export function readLlamaConfig(fields: ConfigFields, traits: LlamaTraits): ModelConfig {
  const heads = fields.count("num_attention_heads");
  const kvHeads = fields.count(
    "num_key_value_heads",
    fields.isNull("num_key_value_heads") ? heads : (traits.defaultKvHeads ?? heads),
  );
  if (heads % kvHeads !== 0)
    throw fields.error("num_key_value_heads", `a divisor of num_attention_heads ${heads}`);
  const headWidth = fields.has("head_dim")
    ? ownHeadWidth(fields, "head_dim")
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

function planBlock(
  config: ModelConfig,
  names: LlamaNames,
  { biases, turningRows }: LlamaPlacing,
  layer: string,
): Plan<BlockWeights> {
  const { width, headWidth, mlpWidth, heads, kvHeads } = config;
  const turning = (name: string, ofHeads: number): Plan<Linear> => {
    const linear = torchLinear(`${layer}${name}`, ofHeads * headWidth, width, biases.qkv);
    const inOrder = ({ name: stored, shape }: TensorSource) =>
      new TensorSource(stored, shape, turningRows?.(ofHeads, shape));
    return {
      ...linear,
      weight: inOrder(linear.weight),
      ...(linear.bias && { bias: inOrder(linear.bias) }),
    };
  };
  return {
    attnNorm: rmsNorm(`${layer}${names.attnNorm}`, width),
    q: turning(names.q, heads),
    k: turning(names.k, kvHeads),
    v: torchLinear(`${layer}${names.v}`, kvHeads * headWidth, width, biases.qkv),
    o: torchLinear(`${layer}${names.o}`, width, heads * headWidth, biases.o),
    ...(config.qkNorm && {
      qNorm: new TensorSource(`${layer}${names.qNorm}.weight`, [headWidth]),
      kNorm: new TensorSource(`${layer}${names.kNorm}.weight`, [headWidth]),
    }),
    mlpNorm: rmsNorm(`${layer}${names.mlpNorm}`, width),
    mlpGate: torchLinear(`${layer}${names.gate}`, mlpWidth, width, biases.mlp),
    mlpIn: torchLinear(`${layer}${names.up}`, mlpWidth, width, biases.mlp),
    mlpOut: torchLinear(`${layer}${names.down}`, width, mlpWidth, biases.mlp),
  };
}
