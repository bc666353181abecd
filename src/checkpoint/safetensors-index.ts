/** @file Where the weights of a checkpoint folder are: one safetensors file, or shards named by an index. */

import { z } from "zod";
import { InputError } from "../errors.js";
import { shown } from "../shown-text.js";
import { parseJson } from "./json-file.js";

export const WEIGHTS_FILE = "model.safetensors";
export const INDEX_FILE = "model.safetensors.index.json";

const indexSchema = z.object({ weight_map: z.record(z.string(), z.string()) });

/** A file of the checkpoint's own folder: nothing that leads out of it. */
const SHARD_NAME = /^\w[\w.-]*\.safetensors$/;

/**
 * The shard file that each tensor is in.
 * @param text of a model.safetensors.index.json
 * @param index its path, for error texts
 * @throws InputError when it is not one
 */
export function parseWeightMap(text: string, index: string): Readonly<Record<string, string>> {
  const parsed = indexSchema.safeParse(parseJson(text, index));
  if (!parsed.success) {
    throw new InputError(`loadModel: expected weight_map of ${index} to give each tensor's file, got none`);
  }
  const weightMap = parsed.data.weight_map;
  for (const [name, shard] of Object.entries(weightMap)) {
    if (!SHARD_NAME.test(shard)) {
      throw new InputError(
        `loadModel: expected weight_map of ${index} to name safetensors files beside it, got ${shown(shard)} for ${name}`,
      );
    }
  }
  return weightMap;
}
