/** @file Where the weights of a checkpoint folder are: one safetensors file, or shards named by an index. */

import { InputError } from "../errors.js";
import { shown, shownName } from "../shown-text.js";
import { membersOf, parseJsonObject } from "./json-file.js";

export const WEIGHTS_FILE = "model.safetensors";
export const INDEX_FILE = "model.safetensors.index.json";

/** A file of the checkpoint's own folder: nothing that leads out of it. */
const SHARD_NAME = /^\w[\w.-]*\.safetensors$/;

/**
 * The shard file that each tensor is in.
 * @param text of a model.safetensors.index.json
 * @param index its path, for error texts
 * @throws InputError when it is not one
 */
export function parseWeightMap(text: string, index: string): ReadonlyMap<string, string> {
  const weightMap = membersOf(parseJsonObject(text, index).get("weight_map"));
  if (weightMap === undefined) {
    throw new InputError(`loadModel: expected weight_map of ${index} to give each tensor's file, got none`);
  }
  const shardOf = new Map<string, string>();
  for (const [name, shard] of weightMap) {
    if (typeof shard !== "string" || !SHARD_NAME.test(shard)) {
      throw new InputError(
        `loadModel: expected weight_map of ${index} to name safetensors files beside it, got ${shown(shard)} for ${shownName(name)}`,
      );
    }
    shardOf.set(name, shard);
  }
  return shardOf;
}
