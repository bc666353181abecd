/**
 * @file The header of one safetensors file: 8 bytes of little-endian length, then JSON that gives each tensor's type,
 * shape and byte range behind the header. Everything that can be wrong with a file is found here, before any weight
 * is read. Format: https://github.com/huggingface/safetensors
 */

import type { FileHandle } from "node:fs/promises";
import { z } from "zod";
import { InputError } from "../errors.js";
import { parseJson } from "./json-file.js";
import { readBytes } from "./read-bytes.js";
import type { TensorEntry } from "./stored-tensors.js";

const LENGTH_BYTES = 8;

/** The limit of the format's own reader: a longer header is a sign of a file that is something else. */
const MAX_HEADER_BYTES = 100_000_000;

/** Bits per value of every type of the format; a type that is not here is left to whoever asks for the tensor. */
const BITS: Readonly<Record<string, number>> = {
  BOOL: 8,
  U8: 8,
  I8: 8,
  F8_E4M3: 8,
  F8_E5M2: 8,
  F8_E8M0: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  I64: 64,
  U64: 64,
  F64: 64,
  C64: 64,
};

const natural = z.int().nonnegative();
const headerSchema = z.record(
  z.string(),
  z.object({ dtype: z.string(), shape: z.array(natural), data_offsets: z.tuple([natural, natural]) }),
);

/**
 * Reads and checks the header of an open safetensors file.
 * @param file the file's path, for error texts
 * @throws InputError when the file is truncated, is not safetensors, or contradicts itself
 */
export async function readSafetensorsHeader(
  handle: FileHandle,
  file: string,
): Promise<ReadonlyMap<string, TensorEntry>> {
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
  const text = Buffer.alloc(Number(length));
  await readBytes(handle, file, text, LENGTH_BYTES);
  const dataStart = LENGTH_BYTES + text.length;

  const entries = new Map<string, TensorEntry>();
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(parseHeader(text, file))) {
    const [begin, end] = data_offsets;
    if (end < begin || dataStart + end > size) {
      throw new InputError(
        `loadModel: expected the bytes of tensor ${name} within the ${size - dataStart} data bytes of ${file}, ` +
          `got offsets ${begin} to ${end}: the file is truncated or corrupt`,
      );
    }
    const bits = BITS[dtype];
    const needed = bits === undefined ? undefined : (shape.reduce((a, b) => a * b, 1) * bits) / 8;
    if (needed !== undefined && needed !== end - begin) {
      throw new InputError(
        `loadModel: expected ${needed} bytes for tensor ${name} (${dtype} [${shape.join(", ")}]) in ${file}, ` +
          `got offsets ${begin} to ${end} (${end - begin} bytes)`,
      );
    }
    entries.set(name, { name, dtype, shape, start: dataStart + begin, bytes: end - begin });
  }
  return entries;
}

async function readHeaderLength(handle: FileHandle, file: string): Promise<bigint> {
  const buffer = Buffer.alloc(LENGTH_BYTES);
  await readBytes(handle, file, buffer, 0);
  return buffer.readBigUInt64LE();
}

function parseHeader(text: Buffer, file: string): z.infer<typeof headerSchema> {
  const json = parseJson(text.toString("utf8"), `the safetensors header of ${file}`);
  const tensors = z.record(z.string(), z.unknown()).safeParse(json);
  if (!tensors.success) {
    throw new InputError(
      `loadModel: expected the safetensors header of ${file} to be a JSON object, got another value`,
    );
  }
  // The one entry that is not a tensor: free text of whoever wrote the file.
  const { __metadata__: _, ...rest } = tensors.data;
  const parsed = headerSchema.safeParse(rest);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new InputError(
      `loadModel: expected dtype, shape and data_offsets for every tensor in the header of ${file}, ` +
        `got ${issue?.path.join(".")}: ${issue?.message}`,
    );
  }
  return parsed.data;
}
