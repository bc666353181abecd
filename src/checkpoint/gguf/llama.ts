/**
 * @file Llama, Mistral (which calls itself llama), Qwen2 and Qwen3 in a GGUF file. Whether there are biases is seen by the tensors.
 *
 * In Llama's files the rows of q and k of a head are stored in the order 0, h/2, 1, h/2 + 1, …: dimensions that turn together are
 * neighbours there, and lie h/2 apart here. Llama 3.1's stretched rotary frequencies are a tensor of divisors, `rope_freqs.weight`.
 */

import { InputError } from "../../errors.js";
import type { ModelConfig } from "../../model/config.js";
import { shown } from "../../shown-text.js";
import { LLAMA_TRAITS } from "../families/llama.js";
import { type LlamaNames, type LlamaTraits, planLlama, readLlamaConfig } from "../families/llama-like.js";
import { QWEN2_TRAITS } from "../families/qwen2.js";
import { QWEN3_TRAITS } from "../families/qwen3.js";
import type { StoredTensors } from "../stored-tensors.js";
import type { Part } from "../weight-plan.js";
import {
  COMMON_KEYS,
  embeddingRows,
  FINAL_NORM,
  type GgufArchitecture,
  layerPrefix,
  TOKEN_EMBEDDING,
  unembedding,
} from "./architecture.js";
import type { GgufMetadata } from "./gguf-file.js";
import { type KeyMeaning, metadataFields } from "./metadata-fields.js";

const KEYS: Readonly<Record<string, KeyMeaning>> = {
  ...COMMON_KEYS,
  block_count: { field: "num_hidden_layers" },
  context_length: { field: "max_position_embeddings" },
  embedding_length: { field: "hidden_size" },
  feed_forward_length: { field: "intermediate_size" },
  vocab_size: { field: "vocab_size" },
  "attention.head_count": { field: "num_attention_heads" },
  "attention.head_count_kv": { field: "num_key_value_heads" },
  "attention.key_length": { field: "head_dim" },
  "attention.value_length": "read elsewhere",
  "attention.layer_norm_rms_epsilon": { field: "rms_norm_eps" },
  "rope.dimension_count": "read elsewhere",
  "rope.freq_base": { field: "rope_theta" },
  "rope.scaling.type": "read elsewhere",
  "rope.scaling.factor": "read elsewhere",
};

/** Fields that have a default in a config.json, and none here. */
const REQUIRED = ["max_position_embeddings", "rms_norm_eps"];

const NAMES: LlamaNames = {
  tokens: TOKEN_EMBEDDING,
  norm: FINAL_NORM,
  layer: layerPrefix,
  attnNorm: "attn_norm",
  q: "attn_q",
  k: "attn_k",
  v: "attn_v",
  o: "attn_output",
  qNorm: "attn_q_norm",
  kNorm: "attn_k_norm",
  mlpNorm: "ffn_norm",
  gate: "ffn_gate",
  up: "ffn_up",
  down: "ffn_down",
};

/** Divisors of the rotary frequencies, [h/2]. */
const FREQUENCY_DIVISORS = "rope_freqs.weight";

export const llama = architecture("llama", LLAMA_TRAITS, true);
export const qwen2 = architecture("qwen2", QWEN2_TRAITS, false);
export const qwen3 = architecture("qwen3", QWEN3_TRAITS, false);

function architecture(name: string, traits: LlamaTraits, neighboursTurn: boolean): GgufArchitecture {
  return {
    name,
    async plan(metadata, file, tensors) {
      const fields = metadataFields(metadata, file, name, KEYS, {
        vocab_size: embeddingRows(tensors),
        ...withoutKeys(metadata, name),
        ...scaling(metadata, file, name),
      });
      for (const required of REQUIRED) fields.require(required);
      const config = await withDivisors(readLlamaConfig(fields, traits), tensors);
      checkHeads(metadata, file, name, config);
      // Before its rows are told apart head by head: there may be said to be any number of heads.
      tensors.check(`${layerPrefix(0)}${NAMES.q}.weight`, [config.heads * config.headWidth, config.width]);
      const hasBias = (tensor: string) => tensors.has(`${layerPrefix(0)}${tensor}.bias`);
      return planLlama(config, NAMES, {
        biases: { qkv: hasBias(NAMES.q), o: hasBias(NAMES.o), mlp: hasBias(NAMES.up) },
        unembedding: (tokens) => unembedding(tensors, tokens),
        ...(neighboursTurn && { turningRows: neighboursApart }),
      });
    },
  };
}

/** What the format's readers assume where a key is left out: all heads have keys of their own, heads share the width. */
function withoutKeys(metadata: GgufMetadata, name: string): Record<string, unknown> {
  const heads = metadata.get(`${name}.attention.head_count`);
  const width = metadata.get(`${name}.embedding_length`);
  const equal = typeof heads === "number" && typeof width === "number" && width % heads === 0;
  return { num_key_value_heads: heads, ...(equal && { head_dim: width / heads }) };
}

function scaling(metadata: GgufMetadata, file: string, name: string): Record<string, unknown> {
  const key = `${name}.rope.scaling.type`;
  const type = metadata.get(key) ?? "none";
  if (type === "none") return {};
  if (type === "linear")
    return { rope_scaling: { type, factor: metadata.get(`${name}.rope.scaling.factor`) } };
  throw new InputError(
    `loadModel: expected ${key} of ${file} to be none or linear (other rotary scalings are not supported), got ${shown(type)}`,
  );
}

/** Heads are as wide for values as for keys, and all of a head turns. */
function checkHeads(metadata: GgufMetadata, file: string, name: string, { headWidth }: ModelConfig): void {
  for (const suffix of ["attention.value_length", "rope.dimension_count"]) {
    const value = metadata.get(`${name}.${suffix}`);
    if (value === undefined || value === headWidth) continue;
    throw new InputError(
      `loadModel: expected ${name}.${suffix} of ${file} to be the width of a head, ${headWidth}, got ${String(value)}`,
    );
  }
}

async function withDivisors(config: ModelConfig, tensors: StoredTensors): Promise<ModelConfig> {
  if (!config.rotary || !tensors.has(FREQUENCY_DIVISORS)) return config;
  tensors.check(FREQUENCY_DIVISORS, [config.rotary.dims / 2]);
  const divisors = await tensors.read(FREQUENCY_DIVISORS);
  const inverseFrequencies = config.rotary.inverseFrequencies.map((frequency, i) => frequency / divisors[i]);
  return { ...config, rotary: { ...config.rotary, inverseFrequencies } };
}

/** Of each head the rows 0, 2, 4, …, then 1, 3, 5, …: neighbours come to lie half a head apart. */
function neighboursApart(heads: number, shape: readonly number[]): Part {
  const [rows, length = 1] = shape;
  const headRows = rows / heads;
  const runs = Array.from({ length: 2 * heads }, (_, half) => ({
    first: (Math.floor(half / 2) * headRows + (half % 2)) * length,
    count: headRows / 2,
    length,
    stride: 2 * length,
  }));
  return { shape, runs };
}
