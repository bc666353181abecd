/**
 * @file What a family of checkpoints has to say, and what several of them say alike.
 */

import { basename } from "node:path";
import type { Activation, ModelConfig } from "../../model/config.js";
import type { ConfigFields } from "../config-fields.js";
import type { ModelPlan } from "../weight-plan.js";
import type { Head } from "./head.js";

/** Which tensors the checkpoint holds. */
export interface TensorNames {
  has(name: string): boolean;
  /** The file that lists them, for error texts. */
  readonly listing: string;
}

/** How a family's files name what belongs to a layer. */
export interface LayerNames {
  /** The field that counts layers. */
  readonly field: string;
  /** The beginning of the name of a tensor of a layer, whose number is the only group. */
  readonly pattern: RegExp;
  /** Masks and frequencies that older versions of transformers saved beside weights: what they hold is computed here. */
  readonly buffers: RegExp;
}

export interface Family {
  /** The `model_type` of its config.json. */
  readonly modelType: string;
  readonly head: Head;
  readonly layers: LayerNames;
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

/**
 * Dimensions of a head, at most: some hundred times what any model has. Frequencies are made of it before the files have been asked
 * for tensors of that width.
 */
const LARGEST_HEAD_WIDTH = 2 ** 16;

/** The width of one of `heads` equal heads. */
export function equalHeadWidth(fields: ConfigFields, widthField: string, headsField: string): number {
  const heads = fields.count(headsField);
  const width = fields.count(widthField);
  if (width % heads !== 0) throw fields.error(headsField, `a divisor of ${widthField} ${width}`);
  if (width / heads > LARGEST_HEAD_WIDTH) {
    throw fields.error(widthField, `at most ${LARGEST_HEAD_WIDTH} for each of ${headsField} ${heads}`);
  }
  return width / heads;
}

/** The width of a head that a field gives. */
export function ownHeadWidth(fields: ConfigFields, name: string): number {
  const width = fields.count(name);
  if (width > LARGEST_HEAD_WIDTH) throw fields.error(name, `at most ${LARGEST_HEAD_WIDTH}`);
  return width;
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
