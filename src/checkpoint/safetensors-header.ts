/**
 * @file The header of one safetensors file: 8 bytes of little-endian length, then JSON that gives each tensor's type,
 * shape and byte range behind the header. Everything that can be wrong with a file is found here, before any weight
 * is read. Format: https://github.com/huggingface/safetensors
 */

import type { FileHandle } from "node:fs/promises";
import { InputError } from "../errors.js";
import { shown, shownName } from "../shown-text.js";
import { membersOf, parseJsonObject } from "./json-file.js";
import { readBytes } from "./read-bytes.js";
import { shapeText, type TensorEntry } from "./stored-tensors.js";

const LENGTH_BYTES = 8;

/** The limit of the format's own reader: a longer header is a sign of a file that is something else. */
const MAX_HEADER_BYTES = 100_000_000;

/** Bits per value of every type of the format; a type that is not here is left to whoever asks for the tensor. */
const BITS: ReadonlyMap<string, number> = new Map([
  ...["F4"].map((type) => [type, 4] as const),
  ...["F6_E2M3", "F6_E3M2"].map((type) => [type, 6] as const),
  ...["BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"].map(
    (type) => [type, 8] as const,
  ),
  ...["I16", "U16", "F16", "BF16"].map((type) => [type, 16] as const),
  ...["I32", "U32", "F32"].map((type) => [type, 32] as const),
  ...["I64", "U64", "F64", "C64"].map((type) => [type, 64] as const),
]);

/** The one entry that is not a tensor: texts of whoever wrote the file. */
const METADATA = "__metadata__";

/** What the header of a file says. */
export interface SafetensorsHeader {
  readonly entries: ReadonlyMap<string, TensorEntry>;
  /** Texts by name. Where tensors share memory, one of them is stored, and the name of each other is here with that one's. */
  readonly metadata: ReadonlyMap<string, string>;
}

/**
 * Reads and checks the header of an open safetensors file, as strictly as the format's own reader does: every byte behind the
 * header belongs to one tensor.
 * @param file the file's path, for error texts
 * @throws InputError when the file is truncated, is not safetensors, or contradicts itself
 */
export async function readSafetensorsHeader(handle: FileHandle, file: string): Promise<SafetensorsHeader> {
  const { size } = await handle.stat();
  if (size < LENGTH_BYTES) {
    throw new InputError(`loadModel: expected a safetensors file, got ${size} bytes in ${file}: truncated`);
  }
  const length = await readHeaderLength(handle, file);
  const room = Math.min(size - LENGTH_BYTES, MAX_HEADER_BYTES);
  if (length > BigInt(room)) {
    throw new InputError(
      `loadModel: expected a safetensors header of at most ${room} bytes in ${file}, got a header length of ` +
        `${length}: the file is truncated or not safetensors`,
    );
  }
  const bytes = Buffer.alloc(Number(length));
  await readBytes(handle, file, bytes, LENGTH_BYTES);
  const header = new Map(parseJsonObject(textOf(bytes, file), `the safetensors header of ${file}`));
  const metadata = parseMetadata(header.get(METADATA), file);
  header.delete(METADATA);
  const dataStart = LENGTH_BYTES + bytes.length;
  const entries = new Map<string, TensorEntry>();
  for (const [name, value] of header) entries.set(name, parseEntry(name, value, dataStart, size, file));
  checkCover([...entries.values()], dataStart, size, file);
  return { entries, metadata };
}

async function readHeaderLength(handle: FileHandle, file: string): Promise<bigint> {
  const buffer = Buffer.alloc(LENGTH_BYTES);
  await readBytes(handle, file, buffer, 0);
  return buffer.readBigUInt64LE();
}

function textOf(bytes: Buffer, file: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new InputError(
      `loadModel: expected the safetensors header of ${file} to be UTF-8 text, got bytes that are not`,
    );
  }
}

function parseMetadata(value: unknown, file: string): ReadonlyMap<string, string> {
  const texts = new Map<string, string>();
  const found = value === undefined ? texts : membersOf(value);
  for (const [name, text] of found ?? []) if (typeof text === "string") texts.set(name, text);
  if (texts.size === found?.size) return texts;
  throw new InputError(
    `loadModel: expected ${METADATA} in the header of ${file} to be an object of texts, got ${shown(value)}`,
  );
}

function parseEntry(
  name: string,
  value: unknown,
  dataStart: number,
  size: number,
  file: string,
): TensorEntry {
  const members = membersOf(value);
  const [dtype, shape, offsets] = ["dtype", "shape", "data_offsets"].map((part) => members?.get(part));
  if (typeof dtype !== "string") throw notThere(file, name, "dtype", dtype);
  if (!isSizes(shape)) throw notThere(file, name, "shape", shape);
  if (!isSizes(offsets) || offsets.length !== 2) throw notThere(file, name, "data_offsets", offsets);
  const [begin, end] = offsets;
  if (end < begin || dataStart + end > size) {
    throw new InputError(
      `loadModel: expected the bytes of tensor ${shownName(name)} within the ${size - dataStart} data bytes of ${file}, ` +
        `got offsets ${begin} to ${end}: the file is truncated or corrupt`,
    );
  }
  const bits = BITS.get(dtype);
  const needed = bits === undefined ? undefined : (shape.reduce((a, b) => a * b, 1) * bits) / 8;
  if (needed !== undefined && needed !== end - begin) {
    throw new InputError(
      `loadModel: expected ${needed} bytes for tensor ${shownName(name)} (${shownName(dtype)} ${shapeText(shape)}) in ${file}, ` +
        `got offsets ${begin} to ${end} (${end - begin} bytes)`,
    );
  }
  return { name, dtype, shape, start: dataStart + begin, bytes: end - begin };
}

/** Whether a value is a list of integers of 0 or more. A header may be long: nothing is copied. */
function isSizes(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

function notThere(file: string, name: string, part: string, found: unknown): InputError {
  return new InputError(
    `loadModel: expected dtype, shape and data_offsets for every tensor in the header of ${file}, ` +
      `got ${shownName(name)}.${part}: ${found === undefined ? "nothing" : shown(found)}`,
  );
}

/** Tensors lie one behind another, without holes, and to the end of the file. */
function checkCover(entries: readonly TensorEntry[], dataStart: number, size: number, file: string): void {
  const inOrder = [...entries].sort((a, b) => a.start - b.start || a.bytes - b.bytes);
  let before: TensorEntry | undefined;
  for (const entry of inOrder) {
    const free = before === undefined ? dataStart : before.start + before.bytes;
    if (entry.start < free) {
      throw notOnce(file, `${shownName(before?.name ?? "")} and ${shownName(entry.name)}, which overlap`);
    }
    if (entry.start > free) {
      throw notOnce(file, `${entry.start - free} bytes before ${shownName(entry.name)} that are in none`);
    }
    before = entry;
  }
  const end = before === undefined ? dataStart : before.start + before.bytes;
  if (end < size) throw notOnce(file, `${size - end} bytes at its end that are in none`);
}

function notOnce(file: string, found: string): InputError {
  return new InputError(
    `loadModel: expected every byte behind the header of ${file} to be in one tensor, got ${found}`,
  );
}
