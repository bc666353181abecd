/** @file The tensors of a folder with safetensors, one file or several shards behind an index: headers are read and checked. */

import { join } from "node:path";
import { InputError } from "../errors.js";
import { exists, readText } from "./json-file.js";
import { readSafetensorsHeader } from "./safetensors-header.js";
import { INDEX_FILE, parseWeightMap, WEIGHTS_FILE } from "./safetensors-index.js";
import { type LocatedTensor, type OpenFile, openFile, StoredTensors } from "./stored-tensors.js";
import { FLOAT_TYPES } from "./stored-types.js";

/**
 * Opens every safetensors file of a checkpoint and checks its header.
 * @throws InputError when there is none, or one is broken, missing, or lacks a tensor that the index promises
 */
export async function openSafetensors(folder: string): Promise<StoredTensors> {
  if (await exists(join(folder, WEIGHTS_FILE))) {
    const file = await openSafetensorsFile(join(folder, WEIGHTS_FILE));
    const tensors = new Map([...file.entries].map(([name, entry]) => [name, { entry, file }]));
    return storedTensors(file.path, tensors, [file]);
  }
  const index = join(folder, INDEX_FILE);
  const text = await readText(index);
  if (text === undefined) throw await noSafetensors(folder);
  const shardOf = parseWeightMap(text, index);
  const files = new Map<string, OpenFile>();
  try {
    for (const [name, shard] of Object.entries(shardOf)) {
      if (files.has(shard)) continue;
      if (!(await exists(join(folder, shard)))) {
        throw new InputError(
          `loadModel: expected shard ${shard} beside ${index}, which has tensor ${name} in it, got no such file`,
        );
      }
      files.set(shard, await openSafetensorsFile(join(folder, shard)));
    }
    return storedTensors(index, locate(shardOf, files, index), [...files.values()]);
  } catch (error) {
    await Promise.all([...files.values()].map((file) => file.handle.close()));
    throw error;
  }
}

function storedTensors(
  listing: string,
  tensors: ReadonlyMap<string, LocatedTensor>,
  files: readonly OpenFile[],
): StoredTensors {
  return new StoredTensors({ listing, config: "config.json", types: FLOAT_TYPES }, tensors, files);
}

function openSafetensorsFile(path: string): Promise<OpenFile> {
  return openFile(path, async (handle) => ({ entries: await readSafetensorsHeader(handle, path) }));
}

function locate(
  shardOf: Readonly<Record<string, string>>,
  files: ReadonlyMap<string, OpenFile>,
  index: string,
): ReadonlyMap<string, LocatedTensor> {
  const tensors = new Map<string, LocatedTensor>();
  for (const [name, shard] of Object.entries(shardOf)) {
    const file = files.get(shard);
    const entry = file?.entries.get(name);
    if (file === undefined || entry === undefined) {
      throw new InputError(
        `loadModel: expected tensor ${name} in shard ${shard}, as ${index} says, got a shard without it`,
      );
    }
    tensors.set(name, { entry, file });
  }
  return tensors;
}

async function noSafetensors(folder: string): Promise<InputError> {
  const pickled = await exists(join(folder, "pytorch_model.bin"));
  return new InputError(
    `loadModel: expected ${WEIGHTS_FILE} or ${INDEX_FILE} in ${folder}, got neither` +
      (pickled
        ? " (pytorch_model.bin is there, but pickled weights are not supported: convert to safetensors)"
        : ""),
  );
}
