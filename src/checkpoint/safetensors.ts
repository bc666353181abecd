/** @file The tensors of a folder with safetensors, one file or several shards behind an index: headers are read and checked. */

import { join } from "node:path";
import { InputError } from "../errors.js";
import { shownName } from "../shown-text.js";
import { exists, readText } from "./json-file.js";
import { readSafetensorsHeader, type SafetensorsHeader } from "./safetensors-header.js";
import { INDEX_FILE, parseWeightMap, WEIGHTS_FILE } from "./safetensors-index.js";
import { type LocatedTensor, type OpenFile, openFile, StoredTensors } from "./stored-tensors.js";
import { FLOAT_TYPES } from "./stored-types.js";

/** An open file whose header may name tensors that share memory with others. */
interface SafetensorsFile extends OpenFile {
  readonly metadata: SafetensorsHeader["metadata"];
}

/**
 * Opens every safetensors file of a checkpoint and checks its header.
 * @throws InputError when there is none, or one is broken, missing, or lacks a tensor that the index promises; or two of them have
 *   the same tensor
 */
export async function openSafetensors(folder: string): Promise<StoredTensors> {
  if (await exists(join(folder, WEIGHTS_FILE))) {
    const file = await openSafetensorsFile(join(folder, WEIGHTS_FILE));
    return storedTensors(file.path, tensorsOf([file]), [file]);
  }
  const index = join(folder, INDEX_FILE);
  const text = await readText(index);
  if (text === undefined) throw await noSafetensors(folder);
  const shardOf = parseWeightMap(text, index);
  const files = new Map<string, SafetensorsFile>();
  try {
    for (const [name, shard] of shardOf) {
      if (files.has(shard)) continue;
      if (!(await exists(join(folder, shard)))) {
        throw new InputError(
          `loadModel: expected shard ${shard} beside ${index}, which has tensor ${shownName(name)} in it, got no such file`,
        );
      }
      files.set(shard, await openSafetensorsFile(join(folder, shard)));
    }
    checkIndex(shardOf, files, index);
    const opened = [...files.values()];
    return storedTensors(index, tensorsOf(opened), opened);
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

function openSafetensorsFile(path: string): Promise<SafetensorsFile> {
  return openFile(path, (handle) => readSafetensorsHeader(handle, path));
}

/** @throws InputError for a tensor that is not in the shard that the index names */
function checkIndex(
  shardOf: ReadonlyMap<string, string>,
  files: ReadonlyMap<string, OpenFile>,
  index: string,
): void {
  for (const [name, shard] of shardOf) {
    if (files.get(shard)?.entries.has(name)) continue;
    throw new InputError(
      `loadModel: expected tensor ${shownName(name)} in shard ${shard}, as ${index} says, got a shard without it`,
    );
  }
}

/** Those of all files, whether or not an index lists them, as other readers take them. */
function tensorsOf(files: readonly SafetensorsFile[]): ReadonlyMap<string, LocatedTensor> {
  const tensors = new Map<string, LocatedTensor>();
  for (const file of files) {
    for (const [name, entry] of file.entries) {
      const other = tensors.get(name);
      if (other !== undefined) {
        throw new InputError(
          `loadModel: expected tensor ${shownName(name)} in one file, got it in ${other.file.path} and in ${file.path}`,
        );
      }
      tensors.set(name, { entry, file });
    }
  }
  for (const file of files) {
    // What safetensors' save_model writes where tensors share memory: the name that was left out, and the one that was kept.
    for (const [name, kept] of file.metadata) {
      const entry = file.entries.get(kept);
      if (entry && !tensors.has(name)) tensors.set(name, { entry: { ...entry, name }, file });
    }
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
