/** @file What an architecture of GGUF files has to say, and what all of them say alike. */

import type { StoredTensors } from "../stored-tensors.js";
import { type ModelPlan, TensorSource } from "../weight-plan.js";
import type { GgufMetadata } from "./gguf-file.js";
import type { KeyMeaning } from "./metadata-fields.js";

export interface GgufArchitecture {
  /** As `general.architecture` says it; the prefix of its keys. */
  readonly name: string;
  /**
   * Reads the metadata and says where every weight is.
   * @throws InputError naming the key or tensor that is missing, unusable, or asks for something that is not supported
   */
  plan(metadata: GgufMetadata, file: string, tensors: StoredTensors): Promise<ModelPlan>;
}

export const TOKEN_EMBEDDING = "token_embd";
export const FINAL_NORM = "output_norm";
const UNEMBEDDING = "output.weight";

/** Prefix of the tensors of layer `l`. */
export const layerPrefix = (l: number): string => `blk.${l}.`;

/** The beginning of the name of a tensor of a layer, its number as the only group. */
export const LAYER_NAME = /^blk\.(\d+)\./;

/** Rows of the token embedding, for architectures whose metadata does not say how many tokens there are. */
export function embeddingRows(tensors: StoredTensors): number {
  return tensors.shapeOf(`${TOKEN_EMBEDDING}.weight`)[0];
}

/** A model without an unembedding of its own is tied. */
export function unembedding(tensors: StoredTensors, tokens: TensorSource): TensorSource {
  return tensors.has(UNEMBEDDING) ? new TensorSource(UNEMBEDDING, tokens.storedShape) : tokens;
}

/** Keys that every architecture has, and the fields of a config.json that say the same. */
export const COMMON_KEYS = {
  "attention.causal": { only: [true], because: "attention to later tokens is not supported" },
  expert_count: { only: [0], because: "mixtures of experts are not supported" },
  expert_used_count: { only: [0], because: "mixtures of experts are not supported" },
} as const satisfies Readonly<Record<string, KeyMeaning>>;
