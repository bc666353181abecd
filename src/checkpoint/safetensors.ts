/**
 * @file The tensors of a checkpoint folder, one safetensors file or several shards behind an index. Headers are read
 * and checked when the folder is opened; values are read later, tensor by tensor, from their byte range, so that no
 * file is ever held in memory as a whole.
 */

import { access, type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import pLimit from "p-limit";
import { InputError, RunError } from "../errors.js";
import { readText } from "./json-file.js";
import { readBytes } from "./read-bytes.js";
import { readSafetensorsHeader, type TensorEntry } from "./safetensors-header.js";
import { INDEX_FILE, parseWeightMap, WEIGHTS_FILE } from "./safetensors-index.js";
import { bytesPerFloat, FLOAT_TYPES, isFloatType, widen } from "./widen.js";

/** Bytes per read: Node refuses reads of 2 GiB and more, and a small buffer for 16-bit tensors is enough. */
const CHUNK_BYTES = 32 * 2 ** 20;

/** Tensors read at once: while one is converted to float32, the next ones are on their way from disk. */
const CONCURRENT_READS = 4;

interface OpenFile {
  readonly path: string;
  readonly handle: FileHandle;
  readonly entries: ReadonlyMap<string, TensorEntry>;
}

interface LocatedTensor {
  readonly entry: TensorEntry;
  readonly file: OpenFile;
}

export class SafetensorsFolder {
  readonly #files: readonly OpenFile[];
  readonly #tensors: ReadonlyMap<string, LocatedTensor>;
  readonly #limit = pLimit(CONCURRENT_READS);

  private constructor(
    /** The file that says which tensors there are: the index or the single file. */
    readonly listing: string,
    files: readonly OpenFile[],
    tensors: ReadonlyMap<string, LocatedTensor>,
  ) {
    this.#files = files;
    this.#tensors = tensors;
  }

  /**
   * Opens every safetensors file of a checkpoint and checks its header.
   * @throws InputError when there is none, or one is broken, missing, or lacks a tensor that the index promises
   */
  static async open(folder: string): Promise<SafetensorsFolder> {
    if (await exists(join(folder, WEIGHTS_FILE))) {
      const file = await openFile(join(folder, WEIGHTS_FILE));
      const tensors = new Map([...file.entries].map(([name, entry]) => [name, { entry, file }]));
      return new SafetensorsFolder(file.path, [file], tensors);
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
        files.set(shard, await openFile(join(folder, shard)));
      }
      const tensors = locate(shardOf, files, index);
      return new SafetensorsFolder(index, [...files.values()], tensors);
    } catch (error) {
      await Promise.all([...files.values()].map((file) => file.handle.close()));
      throw error;
    }
  }

  has(name: string): boolean {
    return this.#tensors.has(name);
  }

  /**
   * Checks that a tensor is there, has this shape, and holds floats. Returns what the header says of it.
   * @throws InputError naming the tensor and the file
   */
  check(name: string, shape: readonly number[]): TensorEntry {
    const { entry, file } = this.#locate(name);
    if (entry.shape.length !== shape.length || entry.shape.some((size, axis) => size !== shape[axis])) {
      throw new InputError(
        `loadModel: expected tensor ${name} of ${file.path} to have shape [${shape.join(", ")}], as config.json ` +
          `says, got [${entry.shape.join(", ")}]`,
      );
    }
    floatType(entry, file);
    return entry;
  }

  /**
   * Reads one tensor's values, row-major.
   * @throws InputError when there is no such tensor or it does not hold floats; RunError when the file ends early
   */
  read(name: string): Promise<Float32Array> {
    const { entry, file } = this.#locate(name);
    const dtype = floatType(entry, file);
    return this.#limit(async () => {
      const width = bytesPerFloat(dtype);
      const values = new Float32Array(entry.bytes / width);
      const perChunk = CHUNK_BYTES / width;
      const stored = dtype === "F32" ? undefined : new Uint16Array(Math.min(perChunk, values.length));
      for (let i = 0; i < values.length; i += perChunk) {
        const part = values.subarray(i, i + perChunk);
        const target = stored?.subarray(0, part.length) ?? part;
        // Float32Array and Uint16Array are little-endian, as the file is, on every machine that Node has binaries for
        // except s390x.
        const bytes = new Uint8Array(target.buffer, target.byteOffset, target.byteLength);
        await readBytes(file.handle, file.path, bytes, entry.start + i * width);
        if (stored !== undefined && dtype !== "F32") widen(dtype, stored.subarray(0, part.length), part);
      }
      return values;
    });
  }

  async close(): Promise<void> {
    await Promise.all(this.#files.map((file) => file.handle.close()));
  }

  #locate(name: string): LocatedTensor {
    const tensor = this.#tensors.get(name);
    if (tensor === undefined) {
      throw new InputError(
        `loadModel: expected tensor ${name} in ${this.listing}, got a checkpoint without it`,
      );
    }
    return tensor;
  }
}

function floatType(entry: TensorEntry, file: OpenFile) {
  if (!isFloatType(entry.dtype)) {
    throw new InputError(
      `loadModel: expected tensor ${entry.name} of ${file.path} to be stored as one of ${FLOAT_TYPES.join(", ")}, ` +
        `got ${entry.dtype}`,
    );
  }
  return entry.dtype;
}

async function openFile(path: string): Promise<OpenFile> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, "r");
    return { path, handle, entries: await readSafetensorsHeader(handle, path) };
  } catch (error) {
    await handle?.close();
    if (error instanceof InputError || error instanceof RunError) throw error;
    throw new InputError(`loadModel: expected ${path} to be readable, got ${error}`);
  }
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

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
