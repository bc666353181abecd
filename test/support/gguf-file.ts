/** @file GGUF files that a test writes byte by byte, so that single keys and tensors can be wrong. */

/** Types of metadata values that tests need, with their numbers in the format. */
const VALUE_TYPES = { u32: 4, f32: 6, bool: 7, text: 8, u64: 10 } as const;

const TENSOR_TYPES: Readonly<Record<string, number>> = { F32: 0, F16: 1, Q4_0: 2, Q2_K: 10, BF16: 30 };

export type GgufValue = readonly [type: keyof typeof VALUE_TYPES, value: number | string | boolean];

export interface GgufTensor {
  readonly dtype: string;
  /** As the project has shapes: the innermost axis last. */
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
  /** In the data part; default behind the tensor before, aligned. */
  readonly offset?: number;
}

export interface GgufParts {
  readonly metadata: readonly (readonly [key: string, ...value: GgufValue])[];
  readonly tensors: readonly (readonly [name: string, tensor: GgufTensor])[];
}

const ALIGNMENT = 32;

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, "utf8");
  return Buffer.concat([u64(bytes.length), bytes]);
}

function valueBytes([type, value]: GgufValue): Buffer {
  switch (type) {
    case "u32":
      return u32(Number(value));
    case "u64":
      return u64(Number(value));
    case "f32":
      return Buffer.from(Float32Array.of(Number(value)).buffer);
    case "bool":
      return Buffer.of(value ? 1 : 0);
    case "text":
      return text(String(value));
  }
}

/** The bytes of a file of version 3. */
export function ggufBytes({ metadata, tensors }: GgufParts): Buffer {
  const header = [Buffer.from("GGUF"), u32(3), u64(tensors.length), u64(metadata.length)];
  for (const [key, type, value] of metadata) {
    header.push(text(key), u32(VALUE_TYPES[type]), valueBytes([type, value]));
  }
  let end = 0;
  const data: [offset: number, bytes: Uint8Array][] = [];
  for (const [name, { dtype, shape, bytes, offset = end }] of tensors) {
    header.push(text(name), u32(shape.length), ...[...shape].reverse().map(u64));
    header.push(u32(TENSOR_TYPES[dtype]), u64(offset));
    data.push([offset, bytes]);
    end = Math.max(end, Math.ceil((offset + bytes.length) / ALIGNMENT) * ALIGNMENT);
  }
  const start = Buffer.concat(header);
  const file = Buffer.alloc(Math.ceil(start.length / ALIGNMENT) * ALIGNMENT + end);
  start.copy(file);
  for (const [offset, bytes] of data) {
    file.set(bytes, Math.ceil(start.length / ALIGNMENT) * ALIGNMENT + offset);
  }
  return file;
}
