/**
 * @file What a family of checkpoints has to say, and what several of them say alike.
 */

import { basename } from "node:path";
import { InputError } from "../../errors.js";
import type { Activation, ModelConfig } from "../../model/config.js";
import type { ConfigFields } from "../config-fields.js";
import { type ModelPlan, TensorSource } from "../weight-plan.js";

/** Which tensors the checkpoint holds. */
export interface TensorNames {
  has(name: string): boolean;
  /** The file that lists them, for error texts. */
  readonly listing: string;
}

export interface Family {
  /** The `model_type` of its config.json. */
  readonly modelType: string;
  /**
   * Reads the config and says where every weight is.
   * @throws InputError when a field is unusable or asks for something that is not supported
   */
  plan(fields: ConfigFields, names: TensorNames): ModelPlan;
}

/** Names that transformers gives to the activations here. `gelu_fast` is the tanh form with its constants inlined. */
const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  gelu: "gelu",
  gelu_new: "gelu-tanh",
  gelu_pytorch_tanh: "gelu-tanh",
  gelu_fast: "gelu-tanh",
  silu: "silu",
  swish: "silu",
  relu: "relu",
};

export function readActivation(fields: ConfigFields, name: string, fallback: string): Activation {
  const text = fields.text(name, fallback);
  if (!Object.hasOwn(ACTIVATIONS, text)) {
    throw fields.error(name, `one of the supported activations ${Object.keys(ACTIVATIONS).join(", ")}`);
  }
  return ACTIVATIONS[text];
}

/** The width of one of `heads` equal heads. */
export function equalHeadWidth(fields: ConfigFields, widthField: string, headsField: string): number {
  const heads = fields.count(headsField);
  const width = fields.count(widthField);
  if (width % heads !== 0) throw fields.error(headsField, `a divisor of ${widthField} ${width}`);
  return width / heads;
}

/** `maxPositions` and the reason for it: the trained positions, or a sliding window that is shorter. */
export function readMaxPositions(
  fields: ConfigFields,
  name: string,
  fallback: number,
  window?: number,
): Pick<ModelConfig, "maxPositions" | "maxPositionsReason"> {
  const trained = fields.count(name, fallback);
  if (window !== undefined && window < trained) {
    const reason = `sliding_window ${window} of ${basename(fields.file)}: attention beyond the window is not supported`;
    return { maxPositions: window, maxPositionsReason: reason };
  }
  return { maxPositions: trained, maxPositionsReason: fields.describe(name, trained) };
}

/**
 * The prefix of a checkpoint's names: checkpoints saved from the bare model, without its head, leave it out.
 * @param probe a name that every checkpoint of the family has, without prefix
 */
export function namePrefix(names: TensorNames, prefix: string, probe: string): string {
  return names.has(probe) && !names.has(`${prefix}${probe}`) ? "" : prefix;
}

/**
 * Where the unembedding comes from: the token embedding in a tied model, otherwise a tensor of its own.
 * @param candidates its names, the customary one first
 * @throws InputError when the model is not tied and none of them is there
 */
export function unembeddingSource(
  fields: ConfigFields,
  names: TensorNames,
  tiedByDefault: boolean,
  tokens: TensorSource,
  candidates: readonly string[],
): TensorSource {
  if (fields.flag("tie_word_embeddings", tiedByDefault)) return tokens;
  const name = candidates.find((candidate) => names.has(candidate));
  if (name === undefined) {
    throw new InputError(
      `loadModel: expected tensor ${candidates.join(" or ")} in ${names.listing}, as tie_word_embeddings of ` +
        `${fields.file} is ${fields.has("tie_word_embeddings") ? "" : "by default "}false, got a checkpoint without it`,
    );
  }
  return new TensorSource(name, tokens.storedShape);
}
