/**
 * @file How stored values become float32: plain floats, and the block formats of GGUF files. A block holds 32 or 256 values
 * of one row: its scale (an F16, with an offset in the formats of the second kind), and a few bits a value. Layouts and formulas:
 * ggml, ggml-quants.c. Every product of scale and bits is exact in float64, so each value is rounded once.
 *
 * F16 goes through a table of all 65,536 values, because a table look-up is several times faster than taking sign, exponent and
 * mantissa apart; BF16 is the upper half of a float32.
 */

/** A way to store values. A whole number of blocks makes up a row of a matrix. */
interface StoredType {
  /** Values in a block; 1 where each value stands alone. */
  readonly values: number;
  /** Bytes of a block. */
  readonly bytes: number;
  /** Writes the float32 values of whole blocks. */
  decode(stored: Uint8Array, values: Float32Array): void;
}

/** The formats that the types of a safetensors header and of a GGUF file name. */
const STORED_TYPES = {
  F32: { values: 1, bytes: 4, decode: copyFloats },
  F16: { values: 1, bytes: 2, decode: widenHalves },
  BF16: { values: 1, bytes: 2, decode: widenBrainFloats },
  Q4_0: { values: 32, bytes: 18, decode: eachBlock(18, 32, decodeQ4_0) },
  Q4_1: { values: 32, bytes: 20, decode: eachBlock(20, 32, decodeQ4_1) },
  Q5_0: { values: 32, bytes: 22, decode: eachBlock(22, 32, decodeQ5_0) },
  Q5_1: { values: 32, bytes: 24, decode: eachBlock(24, 32, decodeQ5_1) },
  Q8_0: { values: 32, bytes: 34, decode: eachBlock(34, 32, decodeQ8_0) },
  Q4_K: { values: 256, bytes: 144, decode: eachBlock(144, 256, decodeQ4_K) },
  Q5_K: { values: 256, bytes: 176, decode: eachBlock(176, 256, decodeQ5_K) },
  Q6_K: { values: 256, bytes: 210, decode: eachBlock(210, 256, decodeQ6_K) },
} as const satisfies Readonly<Record<string, StoredType>>;

export type StoredTypeName = keyof typeof STORED_TYPES;

/** The types of weights in a safetensors file. */
export const FLOAT_TYPES = ["F32", "F16", "BF16"] as const satisfies readonly StoredTypeName[];

/** The types of weights in a GGUF file. */
export const GGUF_TYPES: readonly string[] = Object.keys(STORED_TYPES);

export function isStoredType(dtype: string): dtype is StoredTypeName {
  return Object.hasOwn(STORED_TYPES, dtype);
}

/** How many values share a block: rows, and whatever is read of a tensor, are whole numbers of blocks. */
export function valuesPerBlock(dtype: StoredTypeName): number {
  return STORED_TYPES[dtype].values;
}

/** Bytes of `values` values, a whole number of blocks. */
export function bytesOf(dtype: StoredTypeName, values: number): number {
  const { values: perBlock, bytes } = STORED_TYPES[dtype];
  return (values / perBlock) * bytes;
}

/**
 * Turns what a file holds into float32.
 * @param stored whole blocks
 * @param values as many as the blocks hold; overwritten
 */
export function decode(dtype: StoredTypeName, stored: Uint8Array, values: Float32Array): void {
  STORED_TYPES[dtype].decode(stored, values);
}

let halfTable: Float32Array | undefined;

/** Value of each F16 bit pattern: 1 sign bit, 5 exponent bits with bias 15, 10 mantissa bits. */
function halfValues(): Float32Array {
  if (halfTable !== undefined) return halfTable;
  const table = new Float32Array(65_536);
  for (let bits = 0; bits < table.length; bits++) {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 0x1f;
    const mantissa = bits & 0x3ff;
    if (exponent === 0) table[bits] = sign * mantissa * 2 ** -24;
    else if (exponent === 31) table[bits] = mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
    else table[bits] = sign * (1024 + mantissa) * 2 ** (exponent - 25);
  }
  halfTable = table;
  return table;
}

// Typed arrays are little-endian, as the files are, on every machine that Node has binaries for except s390x.

function copyFloats(stored: Uint8Array, values: Float32Array): void {
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength).set(stored);
}

function widenHalves(stored: Uint8Array, values: Float32Array): void {
  const table = halfValues();
  const patterns = new Uint16Array(stored.buffer, stored.byteOffset, values.length);
  for (let i = 0; i < patterns.length; i++) values[i] = table[patterns[i]];
}

/** Two at a time, which takes two thirds of the time that one at a time does. */
function widenBrainFloats(stored: Uint8Array, values: Float32Array): void {
  const bits = new Int32Array(values.buffer, values.byteOffset, values.length);
  const count = stored.byteOffset % 4 === 0 ? values.length >> 1 : 0;
  const pairs = new Int32Array(stored.buffer, stored.byteOffset - (stored.byteOffset % 4), count);
  for (let i = 0; i < count; i++) {
    const pair = pairs[i];
    bits[2 * i] = pair << 16;
    bits[2 * i + 1] = pair & 0xffff0000;
  }
  const patterns = new Uint16Array(stored.buffer, stored.byteOffset, values.length);
  for (let i = 2 * count; i < patterns.length; i++) bits[i] = patterns[i] << 16;
}

/** Decodes the block that begins at byte `at` into the values from `to` on. */
type DecodeBlock = (stored: Uint8Array, at: number, values: Float32Array, to: number) => void;

function eachBlock(bytes: number, count: number, decodeBlock: DecodeBlock): StoredType["decode"] {
  return (stored, values) => {
    for (let at = 0, to = 0; to < values.length; at += bytes, to += count)
      decodeBlock(stored, at, values, to);
  };
}

function halfAt(stored: Uint8Array, at: number): number {
  return halfValues()[stored[at] | (stored[at + 1] << 8)];
}

/** Scale d, 16 bytes of two 4-bit values each: v = d·(q − 8). The low halves come first, here and below. */
function decodeQ4_0(stored: Uint8Array, at: number, values: Float32Array, to: number): void {
  const d = halfAt(stored, at);
  for (let i = 0; i < 16; i++) {
    const byte = stored[at + 2 + i];
    values[to + i] = d * ((byte & 15) - 8);
    values[to + 16 + i] = d * ((byte >> 4) - 8);
  }
}

/** Scale d, offset m, 16 bytes of two 4-bit values each: v = d·q + m. */
function decodeQ4_1(stored: Uint8Array, at: number, values: Float32Array, to: number): void {
  const d = halfAt(stored, at);
  const m = halfAt(stored, at + 2);
  for (let i = 0; i < 16; i++) {
    const byte = stored[at + 4 + i];
    values[to + i] = d * (byte & 15) + m;
    values[to + 16 + i] = d * (byte >> 4) + m;
  }
}

/** As Q4_0, with each value's fifth bit in 4 bytes before the others: v = d·(q − 16). */
function decodeQ5_0(stored: Uint8Array, at: number, values: Float32Array, to: number): void {
  const d = halfAt(stored, at);
  const high = bitsAt(stored, at + 2);
  for (let i = 0; i < 16; i++) {
    const byte = stored[at + 6 + i];
    values[to + i] = d * (((byte & 15) | (((high >>> i) & 1) << 4)) - 16);
    values[to + 16 + i] = d * (((byte >> 4) | (((high >>> (i + 16)) & 1) << 4)) - 16);
  }
}

/** As Q4_1, with each value's fifth bit in 4 bytes before the others. */
function decodeQ5_1(stored: Uint8Array, at: number, values: Float32Array, to: number): void {
  const d = halfAt(stored, at);
  const m = halfAt(stored, at + 2);
  const high = bitsAt(stored, at + 4);
  for (let i = 0; i < 16; i++) {
    const byte = stored[at + 8 + i];
    values[to + i] = d * ((byte & 15) | (((high >>> i) & 1) << 4)) + m;
    values[to + 16 + i] = d * ((byte >> 4) | (((high >>> (i + 16)) & 1) << 4)) + m;
  }
}

function bitsAt(stored: Uint8Array, at: number): number {
  return stored[at] | (stored[at + 1] << 8) | (stored[at + 2] << 16) | (stored[at + 3] << 24);
}

/** Scale d, 32 signed bytes: v = d·q. */
function decodeQ8_0(stored: Uint8Array, at: number, values: Float32Array, to: number): void {
  const d = halfAt(stored, at);
  for (let i = 0; i < 32; i++) values[to + i] = d * signed(stored[at + 2 + i]);
}

function signed(byte: number): number {
  return (byte << 24) >> 24;
}

/**
 * Scales d and e, 12 bytes with a 6-bit scale and a 6-bit offset for each of 8 groups of 32 values, 128 bytes of two 4-bit values
 * each, a pair of groups in 32 bytes: v = d·scale·q − e·offset.
 */
function decodeQ4_K(stored: Uint8Array, at: number, values: Float32Array, to: number): void {
  for (let group = 0; group < 8; group++) {
    const [scale, offset] = scaleAndOffset(stored, at, group);
    const first = at + 16 + (group >> 1) * 32;
    const shift = (group & 1) * 4;
    for (let i = 0; i < 32; i++) {
      values[to + group * 32 + i] = scale * ((stored[first + i] >> shift) & 15) - offset;
    }
  }
}

/** As Q4_K, with each value's fifth bit in 32 bytes before the others: bit g of byte i is that of value i of group g. */
function decodeQ5_K(stored: Uint8Array, at: number, values: Float32Array, to: number): void {
  for (let group = 0; group < 8; group++) {
    const [scale, offset] = scaleAndOffset(stored, at, group);
    const first = at + 48 + (group >> 1) * 32;
    const shift = (group & 1) * 4;
    for (let i = 0; i < 32; i++) {
      const fifth = (stored[at + 16 + i] >> group) & 1;
      const q = ((stored[first + i] >> shift) & 15) | (fifth << 4);
      values[to + group * 32 + i] = scale * q - offset;
    }
  }
}

/** d·scale and e·offset of a group of Q4_K or Q5_K: 6 bits each, those of the last four groups in two pieces. */
function scaleAndOffset(stored: Uint8Array, at: number, group: number): [scale: number, offset: number] {
  const d = halfAt(stored, at);
  const e = halfAt(stored, at + 2);
  const byte = (n: number) => stored[at + 4 + n];
  if (group < 4) return [d * (byte(group) & 63), e * (byte(group + 4) & 63)];
  const low = byte(group + 4);
  return [d * ((low & 15) | ((byte(group - 4) >> 6) << 4)), e * ((low >> 4) | ((byte(group) >> 6) << 4))];
}

/**
 * 128 bytes with the low 4 bits and 64 bytes with the high 2 bits of each value, 16 signed scales of groups of 16 values, scale d:
 * v = d·scale·(q − 32). Values lie in two halves of 128, each in four rows of 32 that share bytes.
 */
function decodeQ6_K(stored: Uint8Array, at: number, values: Float32Array, to: number): void {
  const d = halfAt(stored, at + 208);
  for (let row = 0; row < 8; row++) {
    const half = row >> 2;
    const low = at + half * 64 + (row & 1) * 32;
    const high = at + 128 + half * 32;
    const lowShift = row & 2 ? 4 : 0;
    const highShift = (row & 3) * 2;
    for (let i = 0; i < 32; i++) {
      const q = ((stored[low + i] >> lowShift) & 15) | (((stored[high + i] >> highShift) & 3) << 4);
      const scale = d * signed(stored[at + 192 + row * 2 + (i >> 4)]);
      values[to + row * 32 + i] = scale * (q - 32);
    }
  }
}
