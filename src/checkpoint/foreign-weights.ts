/**
 * @file Checkpoints that are not plain weights: quantized in a format of their own, or an adapter that belongs onto another model.
 * Their tensors give them away by their names, also where no config says it.
 */

import { join } from "node:path";
import { InputError } from "../errors.js";
import { shown, shownName } from "../shown-text.js";
import { exists, parseJson, readText } from "./json-file.js";
import type { StoredTensors } from "./stored-tensors.js";

const QUANTIZED = "take the checkpoint that it was made from, or a GGUF file of it";
const MERGE =
  "merge it into its model in Python first: PeftModel.from_pretrained(model, adapter).merge_and_unload(), then save_pretrained";

/** How names end, what that is, and what to do. */
const KINDS: readonly (readonly [names: RegExp, kind: string, cure: string])[] = [
  [/\.(?:lora_[AB]|lora_embedding_[AB]|lora_magnitude_vector|base_layer)\b/, "of a LoRA adapter", MERGE],
  [/\.(?:qweight|qzeros|g_idx)$/, "of weights quantized by GPTQ or AWQ", QUANTIZED],
  [
    /\.(?:absmax|nested_absmax|quant_map|nested_quant_map|SCB)$/,
    "of weights quantized by bitsandbytes",
    QUANTIZED,
  ],
  [/\.quant_state\.bitsandbytes__\w+$/, "of weights quantized by bitsandbytes", QUANTIZED],
  [/\.(?:scales|biases)$/, "of weights quantized by MLX", QUANTIZED],
  [
    /\.(?:weight_scale|weight_scale_inv|weight_packed|weight_zero_point|input_scale)$/,
    "of quantized weights",
    QUANTIZED,
  ],
];

/** @throws InputError naming the tensor, what it is part of, and what to do */
export function refuseForeignTensors(tensors: StoredTensors): void {
  for (const name of tensors.names()) {
    const kind = KINDS.find(([names]) => names.test(name));
    if (kind === undefined) continue;
    throw new InputError(
      `loadModel: expected plain weights in ${tensors.listing}, got tensor ${shownName(name)}, as ${kind[1]}: ${kind[2]}`,
    );
  }
}

export const ADAPTER_FILE = "adapter_config.json";

/** @throws InputError where a folder holds an adapter: transformers would load it on top of the model that it names */
export async function refuseAdapter(folder: string): Promise<void> {
  const file = join(folder, ADAPTER_FILE);
  if (!(await exists(file))) return;
  const text = await readText(file);
  const adapter = text === undefined ? undefined : parseJson(text, file);
  const base: unknown =
    typeof adapter === "object" && adapter !== null
      ? Reflect.get(adapter, "base_model_name_or_path")
      : undefined;
  throw adapterError("loadModel", folder, typeof base === "string" ? ` of ${shown(base)}` : "");
}

/**
 * The error for an adapter in a model's place.
 * @param place the folder, or the model on the hub
 * @param base " of …": the model that it belongs to, if that is known
 */
export function adapterError(caller: string, place: string, base: string): InputError {
  return new InputError(
    `${caller}: expected a whole model in ${place}, got an adapter${base} (${ADAPTER_FILE}): ${MERGE}`,
  );
}
