/**
 * @file GPT-2: learned positions, matrices stored [in, out] (Conv1D), and q, k, v as the three column blocks of one
 * matrix `c_attn`.
 */

import type { ModelConfig } from "../../model/config.js";
import type { BlockWeights, Linear } from "../../model/weights.js";
import type { ConfigFields } from "../config-fields.js";
import { interleavedPart, layerNorm, type ModelPlan, type Plan, TensorSource } from "../weight-plan.js";
import { equalHeadWidth, type Family, namePrefix, readActivation, readMaxPositions } from "./family.js";
import { embeddingName, type Head, unembeddingSource } from "./head.js";
import {
  checkLayerTypes,
  checkSupported,
  type FamilyRules,
  WITHOUT_QK_NORM,
  WITHOUT_WINDOW,
} from "./supported-fields.js";

const HEAD: Head = { names: ["lm_head.weight"], tiedByDefault: true };

const RULES: FamilyRules = [
  WITHOUT_WINDOW,
  ...WITHOUT_QK_NORM,
  ["scale_attn_by_inverse_layer_idx", [false], "scaling by layer is not supported"],
  ["scale_attn_weights", [true], "unscaled attention is not supported"],
  ["multi_query", [false], "shared keys and values are not supported in this family"],
];

export const gpt2: Family = {
  modelType: "gpt2",
  head: HEAD,
  layers: {
    field: "n_layer",
    pattern: /^(?:transformer\.)?h\.(\d+)\./,
    buffers: /^(?:transformer\.)?h\.\d+\.attn\.(?:bias|masked_bias)$/,
  },
  plan(fields, names) {
    checkSupported(fields, RULES);
    const config = readGpt2Config(fields);
    checkLayerTypes(fields, config.layers, false);
    const prefix = namePrefix(names, "transformer.", "wte.weight");
    const tokens = embeddingName(fields, names, HEAD, `${prefix}wte`);
    return planGpt2(config, huggingFaceNames(prefix, tokens), {
      layout: "in-out",
      unembedding: (source) => unembeddingSource(fields, names, HEAD, source),
    });
  },
};

/** What a format calls GPT-2's tensors, without ".weight" and ".bias". */
export interface Gpt2Names {
  readonly tokens: string;
  readonly positions: string;
  readonly norm: string;
  /** Prefix of the names below in layer `l`. */
  layer(l: number): string;
  readonly attnNorm: string;
  readonly qkv: string;
  readonly o: string;
  readonly mlpNorm: string;
  readonly mlpIn: string;
  readonly mlpOut: string;
}

/** What else a format has to say of where the weights are. */
export interface Gpt2Placing {
  /** How matrices are stored. */
  readonly layout: Linear["layout"];
  /** The unembedding, given the token embedding. */
  unembedding(tokens: TensorSource): TensorSource;
}

function huggingFaceNames(prefix: string, tokens: string): Gpt2Names {
  return {
    tokens,
    positions: `${prefix}wpe`,
    norm: `${prefix}ln_f`,
    layer: (l) => `${prefix}h.${l}.`,
    attnNorm: "ln_1",
    qkv: "attn.c_attn",
    o: "attn.c_proj",
    mlpNorm: "ln_2",
    mlpIn: "mlp.c_fc",
    mlpOut: "mlp.c_proj",
  };
}

/** Where every weight is, in the names of a format. */
export function planGpt2(config: ModelConfig, names: Gpt2Names, placing: Gpt2Placing): ModelPlan {
  const { vocabulary, width, maxPositions } = config;
  const tokens = new TensorSource(`${names.tokens}.weight`, [vocabulary, width]);
  return {
    config,
    embedding: { tokens, positions: new TensorSource(`${names.positions}.weight`, [maxPositions, width]) },
    unembedding: { norm: layerNorm(names.norm, width), rows: placing.unembedding(tokens) },
    layer: (l) => planBlock(config, names, placing.layout, names.layer(l)),
  };
}

/** @throws InputError when a field is unusable or asks for something that is not supported */
export function readGpt2Config(fields: ConfigFields): ModelConfig {
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

function planBlock(
  config: ModelConfig,
  names: Gpt2Names,
  layout: Linear["layout"],
  layer: string,
): Plan<BlockWeights> {
  const { width, mlpWidth } = config;
  return {
    attnNorm: layerNorm(`${layer}${names.attnNorm}`, width),
    q: attentionPart(`${layer}${names.qkv}`, width, layout, 0),
    k: attentionPart(`${layer}${names.qkv}`, width, layout, 1),
    v: attentionPart(`${layer}${names.qkv}`, width, layout, 2),
    o: linear(`${layer}${names.o}`, width, width, layout),
    mlpNorm: layerNorm(`${layer}${names.mlpNorm}`, width),
    mlpIn: linear(`${layer}${names.mlpIn}`, width, mlpWidth, layout),
    mlpOut: linear(`${layer}${names.mlpOut}`, mlpWidth, width, layout),
  };
}

/** Of q, k and v together, [D, 3·D] or [3·D, D]: a block of columns of the first, a block of rows of the second. */
function attentionPart(name: string, width: number, layout: Linear["layout"], index: number): Plan<Linear> {
  const whole = linear(name, width, 3 * width, layout);
  const part = (outer: number, inner: number, shape: readonly number[]) =>
    interleavedPart({ outer, parts: 3, inner, index, shape });
  const ofMatrix =
    layout === "in-out" ? part(width, width, [width, width]) : part(1, width * width, [width, width]);
  return {
    weight: new TensorSource(whole.weight.name, whole.weight.storedShape, ofMatrix),
    layout,
    bias: new TensorSource(`${name}.bias`, [3 * width], part(1, width, [width])),
  };
}

function linear(name: string, into: number, out: number, layout: Linear["layout"]): Plan<Linear> {
  return {
    weight: new TensorSource(`${name}.weight`, layout === "in-out" ? [into, out] : [out, into]),
    layout,
    bias: new TensorSource(`${name}.bias`, [out]),
  };
}
