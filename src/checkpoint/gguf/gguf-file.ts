/**
 * @file One open GGUF file: its metadata and its tensors. The header is parsed by @huggingface/gguf, and what it says is checked
 * against the file before anything is read by it: the parser fills a file that ends early with zeros, and cuts a text that lies
 * across the end of what it has read. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */

import type { FileHandle } from "node:fs/promises";
import { GGMLQuantizationType, GGUFValueType, gguf } from "@huggingface/gguf";
import { InputError } from "../../errors.js";
import { shown, shownName } from "../../shown-text.js";
import { readBytes } from "../read-bytes.js";
import { openFile, StoredTensors, type TensorEntry } from "../stored-tensors.js";
import { bytesOf, GGUF_TYPES, isStoredType, valuesPerBlock } from "../stored-types.js";

/** The file's key-value pairs, in its order. Integers of 64 bits are bigints. */
export type GgufMetadata = ReadonlyMap<string, unknown>;

export interface GgufFile {
  readonly metadata: GgufMetadata;
  readonly tensors: StoredTensors;
  /** A sentence for the user where the file has bytes that nothing in it speaks of. */
  readonly notice?: string;
}

/** Keys that the parser puts beside those of the file. */
const COUNTS: ReadonlySet<string> = new Set(["version", "tensor_count", "kv_count"]);

const MAGIC = "GGUF";

/** Bytes that tensors begin at multiples of, where a file says nothing else. */
const DEFAULT_ALIGNMENT = 32;

/** Magic, version, number of tensors, number of keys. */
const START_BYTES = 24;

/** The layout of blocks that is read here; files of quantized tensors name it. */
const QUANTIZATION_VERSION = 2;

/**
 * Opens a GGUF file and checks its header.
 * @throws InputError when it is missing, truncated, not GGUF, contradicts itself, or is one of several parts
 */
export async function openGguf(path: string): Promise<GgufFile> {
  const file = await openFile(path, (handle) => readHeader(handle, path));
  const tensors = new Map([...file.entries].map(([name, entry]) => [name, { entry, file }]));
  const description = { listing: path, config: "its metadata", types: GGUF_TYPES };
  const { metadata, notice } = file;
  return { metadata, tensors: new StoredTensors(description, tensors, [file]), ...(notice && { notice }) };
}

/** Whether a path is meant to be a GGUF file. */
export function isGgufPath(path: string): boolean {
  return /\.gguf$/i.test(path);
}

async function readHeader(handle: FileHandle, file: string) {
  const { size } = await handle.stat();
  await checkStart(handle, size, file);
  const header = await parse(handle, size, file);
  const [infosStart, infosEnd] = header.tensorInfoByteRange;
  if (infosEnd > size) {
    throw broken(file, `a header within its ${size} bytes`, `one of ${infosEnd}: the file is truncated`);
  }
  const pairs: readonly [string, TypedValue][] = Object.entries(header.typedMetadata).filter(
    ([key]) => !COUNTS.has(key),
  );
  const metadata: GgufMetadata = new Map(pairs.map(([key, { value }]) => [key, value]));
  const written = metadataBytes(pairs, header.typedMetadata.version.value === 1 ? 4 : 8);
  if (written !== infosStart) {
    throw broken(
      file,
      "every key of its metadata once, with texts in UTF-8",
      `${infosStart} bytes of metadata of which ${written} can be accounted for`,
    );
  }
  checkWhole(metadata, file);
  const entries = tensorEntries(header, metadata, size, file);
  const quantized = [...entries.values()].some(
    ({ dtype }) => isStoredType(dtype) && valuesPerBlock(dtype) > 1,
  );
  const version = metadata.get("general.quantization_version");
  if (quantized && version !== undefined && Number(version) !== QUANTIZATION_VERSION) {
    throw broken(
      file,
      `general.quantization_version ${QUANTIZATION_VERSION} (older layouts are not supported)`,
      String(version),
    );
  }
  const notice = behindTensors(entries, metadata, size, file);
  return { entries, metadata, ...(notice && { notice }) };
}

/** Other readers pass over what follows the last tensor; it may be a sign that something was put in before. */
function behindTensors(
  entries: ReadonlyMap<string, TensorEntry>,
  metadata: GgufMetadata,
  size: number,
  file: string,
): string | undefined {
  const end = [...entries.values()].reduce((last, { start, bytes }) => Math.max(last, start + bytes), 0);
  if (size - end < alignmentOf(metadata)) return undefined;
  return `warning: ${file} has ${size - end} bytes behind its last tensor that nothing in it speaks of: it may be damaged`;
}

function alignmentOf(metadata: GgufMetadata): number {
  return Number(metadata.get("general.alignment") ?? DEFAULT_ALIGNMENT);
}

/** Magic, version and counts: of what a file says it has, the parser makes as much, whether or not the file could hold it. */
async function checkStart(handle: FileHandle, size: number, file: string): Promise<void> {
  const start = Buffer.alloc(Math.min(START_BYTES, size));
  await readBytes(handle, file, start, 0);
  if (start.toString("latin1", 0, MAGIC.length) !== MAGIC) {
    throw broken(file, `a file that begins with "${MAGIC}" and a header`, "one that does not begin so");
  }
  if (size < START_BYTES) {
    throw broken(file, `a file that begins with "${MAGIC}" and a header`, `${size} bytes: truncated`);
  }
  const version = start.readUInt32LE(4);
  if ((version & 0xffff) === 0) throw broken(file, "a little-endian file", "a big-endian one");
  const lengthBytes = version === 1 ? 4 : 8;
  const countAt = (at: number) =>
    version === 1 ? start.readUInt32LE(at) : Number(start.readBigUInt64LE(at));
  const [tensors, keys] = [countAt(8), countAt(8 + lengthBytes)];
  // A tensor is at least a name's length, a number of axes, a type and an offset; a key its length, a type and a byte.
  if (tensors * (lengthBytes + 16) + keys * (lengthBytes + 5) > size) {
    throw broken(
      file,
      `a header within its ${size} bytes`,
      `one of ${tensors} tensors and ${keys} keys: the file is truncated`,
    );
  }
}

async function parse(handle: FileHandle, size: number, file: string) {
  try {
    return await gguf(PARSED_URL, { fetch: rangesOf(handle, size, file), typedMetadata: true });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw broken(
      file,
      "a GGUF header",
      `${reason}: the file is truncated, corrupt or larger than is read here`,
    );
  }
}

/** Stands for the open file: the parser asks for ranges of an address. */
const PARSED_URL = "http://gguf.invalid";

/** The parser reads ahead so far; asked for more than that behind the end, it is making values of nothing. */
const READ_AHEAD_BYTES = 500_000;

/** Answers requests for ranges from an open file. */
function rangesOf(handle: FileHandle, size: number, file: string): typeof fetch {
  return async (_, init) => {
    const range = new Headers(init?.headers).get("Range") ?? "";
    const [from, to] = range.replace("bytes=", "").split("-").map(Number);
    if (from > size + READ_AHEAD_BYTES) throw new Error(`a header that goes on behind its ${size} bytes`);
    const bytes = Buffer.alloc(Math.max(0, Math.min(to + 1, size) - from));
    await readBytes(handle, file, bytes, from);
    return new Response(bytes);
  };
}

function broken(file: string, expected: string, found: string): InputError {
  return new InputError(`loadModel: expected ${file} to have ${expected}, got ${found}`);
}

/** One whole model, not an adapter or a part. */
function checkWhole(metadata: GgufMetadata, file: string): void {
  const type = metadata.get("general.type") ?? "model";
  if (type !== "model") throw broken(file, 'general.type "model"', shown(type));
  const parts = Number(metadata.get("split.count") ?? 1);
  if (parts > 1) {
    throw broken(
      file,
      "all of a model (files in parts are not supported: join them with llama-gguf-split --merge)",
      `split.count ${parts}`,
    );
  }
}

interface TypedValue {
  readonly value: unknown;
  readonly type: GGUFValueType;
  /** Of the elements of an array. */
  readonly subType?: GGUFValueType;
}

/** Bytes up to the end of the metadata, as its keys and values take them in the file. */
function metadataBytes(pairs: readonly [string, TypedValue][], lengthBytes: 4 | 8): number {
  const textBytes = (text: string) => lengthBytes + Buffer.byteLength(text);
  const valueBytes = (value: unknown, type: GGUFValueType, inner?: GGUFValueType): number => {
    if (typeof value === "string") return textBytes(value);
    if (!Array.isArray(value)) return SCALAR_BYTES[type] ?? 0;
    const of = (part: unknown) =>
      inner === undefined ? 0 : valueBytes(part, inner, Array.isArray(part) ? undefined : inner);
    return 4 + lengthBytes + value.reduce((sum: number, part: unknown) => sum + of(part), 0);
  };
  let bytes = 8 + 2 * lengthBytes;
  for (const [key, { value, type, subType }] of pairs) {
    bytes += textBytes(key) + 4 + valueBytes(value, type, subType);
  }
  return bytes;
}

const SCALAR_BYTES: Readonly<Partial<Record<GGUFValueType, number>>> = {
  [GGUFValueType.UINT8]: 1,
  [GGUFValueType.INT8]: 1,
  [GGUFValueType.BOOL]: 1,
  [GGUFValueType.UINT16]: 2,
  [GGUFValueType.INT16]: 2,
  [GGUFValueType.UINT32]: 4,
  [GGUFValueType.INT32]: 4,
  [GGUFValueType.FLOAT32]: 4,
  [GGUFValueType.UINT64]: 8,
  [GGUFValueType.INT64]: 8,
  [GGUFValueType.FLOAT64]: 8,
};

/** The tensors, with shapes as everywhere here, the longest stride first: GGUF lists axes from the innermost one. */
function tensorEntries(
  { tensorInfos, tensorDataOffset }: Awaited<ReturnType<typeof parse>>,
  metadata: GgufMetadata,
  size: number,
  file: string,
): ReadonlyMap<string, TensorEntry> {
  const alignment = alignmentOf(metadata);
  if (!Number.isInteger(Math.log2(alignment))) {
    throw broken(file, "a power of two as general.alignment", String(alignment));
  }
  const entries = new Map<string, TensorEntry>();
  for (const { name, shape, dtype, offset } of tensorInfos) {
    if (entries.has(name)) throw broken(file, "every tensor once", `${shownName(name)} twice`);
    const axes = shape.map(Number).reverse();
    const type = GGMLQuantizationType[dtype] ?? `type ${dtype}`;
    const values = axes.reduce((product, axis) => product * axis, 1);
    // What is stored in a way that is not known here is refused by name as soon as it is asked for.
    const bytes = isStoredType(type) ? bytesOf(type, values) : 0;
    const start = Number(tensorDataOffset + offset);
    if (Number(offset) % alignment !== 0) {
      throw broken(file, `tensor ${shownName(name)} at a multiple of ${alignment} bytes`, `offset ${offset}`);
    }
    if (!(start + bytes <= size)) {
      throw broken(
        file,
        `the ${bytes} bytes of tensor ${shownName(name)} from ${start} on within its ${size}`,
        "fewer: the file is truncated or corrupt",
      );
    }
    entries.set(name, { name, dtype: type, shape: axes, start, bytes });
  }
  const inOrder = [...entries.values()].sort((a, b) => a.start - b.start);
  inOrder.forEach((entry, at) => {
    const before = inOrder[at - 1];
    if (before === undefined) return;
    const between = entry.start - (before.start + before.bytes);
    // Of a type that is not known here, neither is the size.
    if (between >= 0 && (between < alignment || !isStoredType(before.dtype))) return;
    throw broken(
      file,
      "every byte in one tensor",
      `${shownName(before.name)} and ${shownName(entry.name)}, ${between < 0 ? "which overlap" : `with ${between} bytes between them`}`,
    );
  });
  return entries;
}
