/**
 * @file The tensors of a checkpoint as they are stored: in one file or several, of whatever format, once their headers have been
 * read. Values are read later, tensor by tensor or row by row, from their byte range, so that no file is ever held in memory as
 * a whole.
 */

import type { FileHandle } from "node:fs/promises";
import pLimit from "p-limit";
import { InputError, RunError } from "../errors.js";
import { shownName } from "../shown-text.js";
import { openPlainFile } from "../text-file.js";
import { readBytes } from "./read-bytes.js";
import type { StoredSlice } from "./stored-slice.js";
import { bytesOf, decode, isStoredType, type StoredTypeName, valuesPerBlock } from "./stored-types.js";

/** One tensor as the header of its file describes it. */
export interface TensorEntry {
  readonly name: string;
  /** As the format spells it: "F32", "BF16", "Q4_1", "BOOL". */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** First byte, counted from the beginning of the file. */
  readonly start: number;
  readonly bytes: number;
}

/** An open file and what its header says. */
export interface OpenFile {
  readonly path: string;
  readonly handle: FileHandle;
  readonly entries: ReadonlyMap<string, TensorEntry>;
}

export interface LocatedTensor {
  readonly entry: TensorEntry;
  readonly file: OpenFile;
}

/** What the files have to say of themselves in error texts. */
interface Description {
  /** The file that says which tensors there are: an index or the single file. */
  readonly listing: string;
  /** What says which shapes they should have: "config.json". */
  readonly config: string;
  /** The types of weights that files of this format can have here. */
  readonly types: readonly string[];
}

/** Values per read: Node refuses reads of 2 GiB and more, and a small buffer is enough. A whole number of blocks of any type. */
const CHUNK_VALUES = 2 ** 23;

/** Values of two tensors that are compared at a time, 16 MB of each. */
const COMPARED_VALUES = 2 ** 22;

/** Tensors read at once: while one is converted to float32, the next ones are on their way from disk. */
const CONCURRENT_READS = 4;

export class StoredTensors {
  readonly #limit = pLimit(CONCURRENT_READS);
  readonly #checked = new Set<string>();

  /**
   * @param tensors by name
   * @param files all files, which become this one's to close
   */
  constructor(
    private readonly description: Description,
    private readonly tensors: ReadonlyMap<string, LocatedTensor>,
    private readonly files: readonly OpenFile[],
  ) {}

  /** The file that lists the tensors, for error texts. */
  get listing(): string {
    return this.description.listing;
  }

  has(name: string): boolean {
    return this.tensors.has(name);
  }

  names(): string[] {
    return [...this.tensors.keys()];
  }

  /** The names of the tensors that nobody has asked `check` for. */
  unchecked(): string[] {
    return [...this.tensors.keys()].filter((name) => !this.#checked.has(name));
  }

  /**
   * As the header gives it.
   * @throws InputError when there is no such tensor
   */
  shapeOf(name: string): readonly number[] {
    return this.#locate(name).entry.shape;
  }

  /**
   * Checks that a tensor is there, has this shape, and is stored in a way that can be read. Returns what the header says of it.
   * @throws InputError naming the tensor and the file
   */
  check(name: string, shape: readonly number[]): TensorEntry {
    const { entry, file } = this.#locate(name);
    if (entry.shape.length !== shape.length || entry.shape.some((size, axis) => size !== shape[axis])) {
      throw new InputError(
        `loadModel: expected tensor ${name} of ${file.path} to have shape ${shapeText(shape)}, as ` +
          `${this.description.config} says, got ${shapeText(entry.shape)}`,
      );
    }
    const perBlock = valuesPerBlock(this.#type(entry, file));
    const row = entry.shape[entry.shape.length - 1];
    if (row % perBlock !== 0) {
      throw new InputError(
        `loadModel: expected rows of tensor ${name} of ${file.path} to be blocks of ${perBlock} values, as ${entry.dtype} has ` +
          `them, got rows of ${row}`,
      );
    }
    this.#checked.add(name);
    return entry;
  }

  /**
   * Reads one tensor's values, row-major.
   * @throws InputError when there is no such tensor or it cannot be read as floats; RunError when the file ends early
   */
  read(name: string): Promise<Float32Array> {
    const { entry, file } = this.#locate(name);
    const dtype = this.#type(entry, file);
    const values = new Float32Array(sizeOf(entry));
    return this.#limit(async () => {
      await readValues(file, { ...entry, dtype }, 0, values);
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
    const dtype = this.#type(entry, file);
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
      reads.push(this.#limit(() => readValues(file, { ...entry, dtype }, first, target)));
      at = end;
    }
    await Promise.all(reads);
    const bytes = bytesOf(dtype, stored.length);
    if (rows.every((row, at) => row === distinct[at])) return { values: stored, bytes };
    const values = new Float32Array(rows.length * width);
    rows.forEach((row, at) => {
      const from = (place.get(row) ?? 0) * width;
      values.set(stored.subarray(from, from + width), at * width);
    });
    return { values, bytes };
  }

  /**
   * Whether two tensors of one shape have the same values, bit for bit, once they are float32. They are read piece by piece, up to
   * the first difference: an embedding may take gigabytes.
   * @throws as `read` does
   */
  async haveSameValues(a: string, b: string): Promise<boolean> {
    const both = [a, b].map((name) => {
      const { entry, file } = this.#locate(name);
      return { file, entry: { ...entry, dtype: this.#type(entry, file) } };
    });
    const [first, second] = both.map(({ file, entry }) => `${file.path} ${entry.start}`);
    if (first === second) return true;
    const size = sizeOf(both[0].entry);
    const pieces = both.map(() => new Float32Array(Math.min(size, COMPARED_VALUES)));
    for (let from = 0; from < size; from += COMPARED_VALUES) {
      const parts = pieces.map((piece) => piece.subarray(0, size - from));
      await Promise.all(both.map(({ file, entry }, i) => readValues(file, entry, from, parts[i])));
      const [left, right] = parts.map((part) => new Uint8Array(part.buffer, 0, part.byteLength));
      if (Buffer.compare(left, right) !== 0) return false;
    }
    return true;
  }

  /**
   * Where another thread finds a tensor.
   * @throws InputError when there is no such tensor or it cannot be read as floats
   */
  place(name: string): Pick<StoredSlice, "fd" | "file" | "dtype" | "start"> {
    const { entry, file } = this.#locate(name);
    return { fd: file.handle.fd, file: file.path, dtype: this.#type(entry, file), start: entry.start };
  }

  async close(): Promise<void> {
    await Promise.all(this.files.map((file) => file.handle.close()));
  }

  #locate(name: string): LocatedTensor {
    const tensor = this.tensors.get(name);
    if (tensor === undefined) {
      throw new InputError(
        `loadModel: expected tensor ${name} in ${this.listing}, got a checkpoint without it`,
      );
    }
    return tensor;
  }

  #type({ name, dtype }: TensorEntry, file: OpenFile): StoredTypeName {
    if (isStoredType(dtype) && this.description.types.includes(dtype)) return dtype;
    throw new InputError(
      `loadModel: expected tensor ${name} of ${file.path} to be stored as one of ${this.description.types.join(", ")}, ` +
        `got ${shownName(dtype)}`,
    );
  }
}

/**
 * Opens a file and reads its header.
 * @throws InputError for a file that cannot be opened, and what `readHeader` throws; the file is closed then
 */
export async function openFile<Header extends Pick<OpenFile, "entries">>(
  path: string,
  readHeader: (handle: FileHandle) => Promise<Header>,
): Promise<Header & OpenFile> {
  const unreadable = (error: unknown) =>
    new InputError(
      error instanceof InputError
        ? `loadModel: ${error.message}`
        : `loadModel: expected ${path} to be readable, got ${error}`,
    );
  const handle = await openPlainFile(path).catch((error: unknown) => Promise.reject(unreadable(error)));
  try {
    return { path, handle, ...(await readHeader(handle)) };
  } catch (error) {
    await handle.close();
    throw error instanceof InputError || error instanceof RunError ? error : unreadable(error);
  }
}

/** "[2, 3]", however many axes a file says there are. */
export function shapeText(shape: readonly number[]): string {
  const more = shape.length - SHOWN_AXES;
  return `[${shape.slice(0, SHOWN_AXES).join(", ")}${more > 0 ? `, … ${more} more` : ""}]`;
}

const SHOWN_AXES = 8;

function sizeOf({ shape }: TensorEntry): number {
  return shape.reduce((size, axis) => size * axis, 1);
}

/** Reads the values of a tensor from `from` on, which fill `target`. Both are whole numbers of blocks. */
async function readValues(
  file: OpenFile,
  entry: TensorEntry & { readonly dtype: StoredTypeName },
  from: number,
  target: Float32Array,
): Promise<void> {
  const { dtype, start } = entry;
  const staging =
    dtype === "F32" ? undefined : new Uint8Array(bytesOf(dtype, Math.min(CHUNK_VALUES, target.length)));
  for (let done = 0; done < target.length; done += CHUNK_VALUES) {
    const part = target.subarray(done, done + CHUNK_VALUES);
    const stored =
      staging?.subarray(0, bytesOf(dtype, part.length)) ??
      new Uint8Array(part.buffer, part.byteOffset, part.byteLength);
    await readBytes(file.handle, file.path, stored, start + bytesOf(dtype, from + done));
    if (staging !== undefined) decode(dtype, stored, part);
  }
}
