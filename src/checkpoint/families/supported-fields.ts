/**
 * @file Fields of a config.json that would change what a model computes, and the values of them that are computed here. They stand
 * in the files of these families because someone derived a model from one, or dumped the fields of another: whoever reads them as
 * the plain family gets other numbers, without a word.
 *
 * Not here, as they change nothing when a trained model is run: dropouts, `use_cache`, `initializer_range`, `pretraining_tp`,
 * `torch_dtype`, labels, `is_decoder` (transformers writes `false` for decoders that never look at it).
 */

import type { ConfigFields } from "../config-fields.js";

/** What is supported where the field is there at all, and why nothing else is. */
type Rule = readonly [field: string, accepted: readonly unknown[], because: string];

const ENCODERS = "encoders are not supported";
const BIDIRECTIONAL = "attention to later tokens is not supported";
const CAPPED = "soft caps are not supported";
const SCALED = "this scaling is not supported";
const EXPERTS = "mixtures of experts are not supported";
const POSITIONS = "other positions are not supported";
const QUANTIZED =
  "quantized weights are not supported: take the checkpoint that it was made from, or a GGUF file of it";

const OF_ALL_FAMILIES: readonly Rule[] = [
  ["is_encoder_decoder", [false], ENCODERS],
  ["add_cross_attention", [false], "cross-attention is not supported"],
  ["is_causal", [true], BIDIRECTIONAL],
  ["causal", [true], BIDIRECTIONAL],
  ["bidirectional", [false], BIDIRECTIONAL],
  ["bidirectional_attention", [false], BIDIRECTIONAL],
  ["use_bidirectional_attention", [false], BIDIRECTIONAL],
  ["quantization_config", [], QUANTIZED],
  ["quantization", [], QUANTIZED],
  ["compression_config", [], QUANTIZED],
  ["attn_logit_softcapping", [], CAPPED],
  ["final_logit_softcapping", [], CAPPED],
  ["router_logit_softcapping", [], CAPPED],
  ["logits_soft_cap", [], CAPPED],
  ["logits_scaling", [1], SCALED],
  ["logit_scale", [1], SCALED],
  ["attention_multiplier", [], SCALED],
  ["attention_scale", [1], SCALED],
  ["query_pre_attn_scalar", [], SCALED],
  ["embedding_multiplier", [1], SCALED],
  ["embedding_scale", [1], SCALED],
  ["lm_head_multiplier", [1], SCALED],
  ["residual_multiplier", [1], SCALED],
  ["scale_emb", [1], SCALED],
  ["scale_depth", [], SCALED],
  ["scale_embedding", [false], SCALED],
  ["scale_embeddings", [false], SCALED],
  ["clip_qkv", [], "clipping is not supported"],
  ["num_experts", [0, 1], EXPERTS],
  ["num_local_experts", [0, 1], EXPERTS],
  ["n_routed_experts", [0, 1], EXPERTS],
  ["alibi", [false], POSITIONS],
  ["use_alibi", [false], POSITIONS],
  ["use_mrope", [false], POSITIONS],
  ["rope_interleave", [false], POSITIONS],
  ["rope_interleaved", [false], POSITIONS],
  ["no_rope_layer_interval", [0], POSITIONS],
];

/** Rules of one family, beside those of all. */
export type FamilyRules = readonly Rule[];

/** For the families whose attention has no window. */
export const WITHOUT_WINDOW: Rule = ["sliding_window", [], "windows are not supported in this family"];

/** For the families without a norm on q and k. */
export const WITHOUT_QK_NORM: FamilyRules = ["use_qk_norm", "qk_norm", "qk_layernorm"].map((field) => [
  field,
  [false],
  "a norm on q and k is not supported in this family",
]);

/** A decoder that ends in scores of the next token; transformers' names, and those of the decoders without that end. */
const ARCHITECTURE =
  /ForCausalLM$|LMHeadModel$|^GPT2DoubleHeadsModel$|^(?:GPT2|GPTNeoX|Llama|Mistral|Qwen[23])Model$/i;

/**
 * @throws InputError naming the field that asks for something that is not computed here
 */
export function checkSupported(fields: ConfigFields, rules: FamilyRules): void {
  for (const [field, accepted, because] of [...OF_ALL_FAMILIES, ...rules]) {
    fields.only(field, accepted, because);
  }
  checkArchitectures(fields);
  checkEmpty(fields, "pruned_heads", "pruned heads are not supported");
  const ropes: unknown = fields.value("no_rope_layers");
  // One for each layer: 1 where it has a rotary embedding.
  if (fields.has("no_rope_layers") && !(Array.isArray(ropes) && ropes.every((rope) => rope === 1))) {
    throw fields.error("no_rope_layers", "1 for every layer (layers without positions are not supported)");
  }
}

/** @throws InputError for a classifier, a reward model, or whatever else ends in something other than scores of the next token */
function checkArchitectures(fields: ConfigFields): void {
  if (!fields.has("architectures")) return;
  const names: unknown = fields.value("architectures");
  const isFitting = (name: unknown) => typeof name === "string" && ARCHITECTURE.test(name);
  if (Array.isArray(names) && names.every(isFitting)) return;
  throw fields.error(
    "architectures",
    "a decoder's with a language model head, …ForCausalLM (classifiers, reward models and encoders are not supported)",
  );
}

function checkEmpty(fields: ConfigFields, name: string, because: string): void {
  const value: unknown = fields.value(name);
  if (!fields.has(name) || (typeof value === "object" && value !== null && Object.keys(value).length === 0)) {
    return;
  }
  throw fields.error(name, `empty (${because})`);
}

/**
 * The kinds of attention, layer by layer: all of them full, or some with the window that limits the prompt.
 * @param hasWindow whether attention has a window, beyond which no prompt goes here
 * @throws InputError for another kind, or for a number of kinds that is not the number of layers
 */
export function checkLayerTypes(fields: ConfigFields, layers: number, hasWindow: boolean): void {
  if (!fields.has("layer_types")) return;
  const types: unknown = fields.value("layer_types");
  const supported = hasWindow ? ["full_attention", "sliding_attention"] : ["full_attention"];
  if (Array.isArray(types) && types.length === layers && types.every((type) => supported.includes(type))) {
    return;
  }
  throw fields.error("layer_types", `${supported.join(" or ")} for each of ${layers} layers`);
}
