/**
 * @file The reading of weights from their files into memory that another thread has made, as float32. Plain data in,
 * synchronous reads: this is what runs in the reading thread, so nothing here may need TensorFlow.js.
 */

import { readBytesSync } from "./read-bytes.js";
import { bytesOf, decode, type StoredTypeName } from "./stored-types.js";

/** Where one weight is stored, and where it goes. Lengths and offsets count values. */
export interface StoredSlice {
  /** Descriptor of the open file, valid in every thread of the process. */
  readonly fd: number;
  /** The file's path, for error texts. */
  readonly file: string;
  readonly dtype: StoredTypeName;
  /** First byte of the stored tensor in the file. */
  readonly start: number;
  readonly runs: Runs;
  /** Where its first value goes. */
  readonly offset: number;
}

/**
 * `count` runs of `length` values, one every `stride`, the first one at `first`: a whole tensor is one run. All of them are whole
 * numbers of blocks where the tensor is stored in blocks.
 */
export interface Runs {
  readonly first: number;
  readonly count: number;
  readonly length: number;
  readonly stride: number;
}

/**
 * Values read at a time, a whole number of blocks of any type: Node refuses reads of 2 GiB and more, and what was just read is
 * still in the processor's cache.
 */
const VALUES_AT_ONCE = 2 ** 18;

/** Stored values on their way to float32: none of the types takes more bytes than an F16. */
const staging = new Uint8Array(bytesOf("F16", VALUES_AT_ONCE));

/**
 * Reads slices into `values`, row-major float32.
 * @throws RunError when a file ends early or cannot be read
 */
export function readSlices(slices: readonly StoredSlice[], values: Float32Array): void {
  for (const slice of slices) {
    const { first, count, length, stride } = slice.runs;
    for (let run = 0; run < count; run++) {
      const to = slice.offset + run * length;
      readRun(slice, first + run * stride, values.subarray(to, to + length));
    }
  }
}

/** Reads the values from `from` on, which fill `target`. */
function readRun({ fd, file, dtype, start }: StoredSlice, from: number, target: Float32Array): void {
  for (let done = 0; done < target.length; done += VALUES_AT_ONCE) {
    const part = target.subarray(done, done + VALUES_AT_ONCE);
    const stored =
      dtype === "F32"
        ? new Uint8Array(part.buffer, part.byteOffset, part.byteLength)
        : staging.subarray(0, bytesOf(dtype, part.length));
    readBytesSync(fd, file, stored, start + bytesOf(dtype, from + done));
    if (dtype !== "F32") decode(dtype, stored, part);
  }
}
