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
import type { StoredSlice } from "./stored-slice.js";
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
    const values = new Float32Array(entry.bytes / bytesPerFloat(floatType(entry, file)));
    return this.#limit(async () => {
      await readValues(file, entry, 0, values);
      return values;
    });
  }

  /**
   * Reads single rows of a matrix.
   * @param rows in any order, repeated or not; each is read once, neighbours together
   * @returns the rows in the order asked for, and how many bytes were read
   * @throws as `read` does
   */
  async readRows(name: string, rows: readonly number[]): Promise<{ values: Float32Array; bytes: number }> {
    const { entry, file } = this.#locate(name);
    const [count, width] = entry.shape;
    const wrong = rows.find((row) => !Number.isInteger(row) || row < 0 || row >= count);
    if (wrong !== undefined) {
      throw new InputError(`readRows: expected rows from 0 to ${count - 1} of ${name}, got ${wrong}`);
    }
    const distinct = [...new Set(rows)].sort((a, b) => a - b);
    const stored = new Float32Array(distinct.length * width);
    const place = new Map(distinct.map((row, at) => [row, at]));
    const reads: Promise<void>[] = [];
    for (let at = 0; at < distinct.length; ) {
      let end = at + 1;
      while (end < distinct.length && distinct[end] === distinct[end - 1] + 1) end++;
      const target = stored.subarray(at * width, end * width);
      const first = distinct[at] * width;
      reads.push(this.#limit(() => readValues(file, entry, first, target)));
      at = end;
    }
    await Promise.all(reads);
    const bytes = stored.length * bytesPerFloat(floatType(entry, file));
    if (rows.every((row, at) => row === distinct[at])) return { values: stored, bytes };
    const values = new Float32Array(rows.length * width);
    rows.forEach((row, at) => {
      const from = (place.get(row) ?? 0) * width;
      values.set(stored.subarray(from, from + width), at * width);
    });
    return { values, bytes };
  }

  /**
   * Where another thread finds a tensor.
   * @throws InputError when there is no such tensor or it does not hold floats
   */
  place(name: string): Pick<StoredSlice, "fd" | "file" | "dtype" | "start"> {
    const { entry, file } = this.#locate(name);
    return { fd: file.handle.fd, file: file.path, dtype: floatType(entry, file), start: entry.start };
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

/** Reads the values of a tensor from `from` on, which fill `target`. */
async function readValues(
  file: OpenFile,
  entry: TensorEntry,
  from: number,
  target: Float32Array,
): Promise<void> {
  const dtype = floatType(entry, file);
  const width = bytesPerFloat(dtype);
  const perChunk = CHUNK_BYTES / width;
  const stored = dtype === "F32" ? undefined : new Uint16Array(Math.min(perChunk, target.length));
  for (let i = 0; i < target.length; i += perChunk) {
    const part = target.subarray(i, i + perChunk);
    const read = stored?.subarray(0, part.length) ?? part;
    // Float32Array and Uint16Array are little-endian, as the file is, on every machine that Node has binaries for
    // except s390x.
    const bytes = new Uint8Array(read.buffer, read.byteOffset, read.byteLength);
    await readBytes(file.handle, file.path, bytes, entry.start + (from + i) * width);
    if (stored !== undefined && dtype !== "F32") widen(dtype, stored.subarray(0, part.length), part);
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
