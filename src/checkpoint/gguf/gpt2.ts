/** @file GPT-2 in a GGUF file: the matrices lie transposed, [out, in], and the activation is not named, as it is always the same. */

import { type Gpt2Names, planGpt2, readGpt2Config } from "../families/gpt2.js";
import {
  COMMON_KEYS,
  embeddingRows,
  FINAL_NORM,
  type GgufArchitecture,
  layerPrefix,
  TOKEN_EMBEDDING,
  unembedding,
} from "./architecture.js";
import { type KeyMeaning, metadataFields } from "./metadata-fields.js";

const KEYS: Readonly<Record<string, KeyMeaning>> = {
  ...COMMON_KEYS,
  block_count: { field: "n_layer" },
  context_length: { field: "n_positions" },
  embedding_length: { field: "n_embd" },
  feed_forward_length: { field: "n_inner" },
  vocab_size: { field: "vocab_size" },
  "attention.head_count": { field: "n_head" },
  "attention.layer_norm_epsilon": { field: "layer_norm_epsilon" },
};

/** Fields that have a default in a config.json, and none here. */
const REQUIRED = ["n_positions", "n_inner", "layer_norm_epsilon"];

const NAMES: Gpt2Names = {
  tokens: TOKEN_EMBEDDING,
  positions: "position_embd",
  norm: FINAL_NORM,
  layer: layerPrefix,
  attnNorm: "attn_norm",
  qkv: "attn_qkv",
  o: "attn_output",
  mlpNorm: "ffn_norm",
  mlpIn: "ffn_up",
  mlpOut: "ffn_down",
};

export const gpt2: GgufArchitecture = {
  name: "gpt2",
  async plan(metadata, file, tensors) {
    const fields = metadataFields(metadata, file, "gpt2", KEYS, { vocab_size: embeddingRows(tensors) });
    for (const name of REQUIRED) fields.require(name);
    return planGpt2(readGpt2Config(fields), NAMES, {
      layout: "out-in",
      unembedding: (tokens) => unembedding(tensors, tokens),
    });
  },
};
