/**
 * @file Memory that one thread fills with weights and the engine computes with, without a copy in between where the engine
 * allows it.
 *
 * The native engine takes the values of a JavaScript array as they lie, and never moves them, if they begin at a multiple of
 * 64 bytes; otherwise it copies them. So each weight begins at such a multiple here, in a buffer that begins at a page:
 * the array must then stay as it is until its tensor is disposed. The embedded engine copies into its own heap at once.
 */

import * as tf from "@tensorflow/tfjs-core";
import type { Values } from "./canonical-weights.js";
import type { TensorSource } from "./weight-plan.js";

/** TensorFlow's alignment on processors with AVX-512, the largest there is, in float32 values. */
const ALIGNMENT = 64 / Float32Array.BYTES_PER_ELEMENT;

/** Whether the running engine has a tensor's values to itself as soon as the tensor is made. */
export function engineCopiesValues(): boolean {
  return tf.getBackend() === "wasm";
}

/** Where each of some weights lies in a buffer, as float32. */
export interface BufferLayout {
  readonly bytes: number;
  /** First value of each. */
  readonly offsets: ReadonlyMap<TensorSource, number>;
}

/** One behind another, each aligned. */
export function layoutOf(sources: readonly TensorSource[]): BufferLayout {
  const offsets = new Map<TensorSource, number>();
  let end = 0;
  for (const source of sources) {
    offsets.set(source, end);
    end += Math.ceil(sizeOf(source) / ALIGNMENT) * ALIGNMENT;
  }
  return { bytes: end * Float32Array.BYTES_PER_ELEMENT, offsets };
}

/** How many values a weight has. */
export function sizeOf({ shape }: TensorSource): number {
  return shape.reduce((size, axis) => size * axis, 1);
}

/** TypeScript's library does not know the option for the language version that Node 20 has. */
const GrowableBuffer: new (bytes: number, options: { readonly maxByteLength: number }) => SharedArrayBuffer =
  SharedArrayBuffer;

/** A new buffer that begins at a page: one that could grow does, other ones lie anywhere. */
export function makeSharedBuffer(bytes: number): SharedArrayBuffer {
  return new GrowableBuffer(bytes, { maxByteLength: bytes });
}

/** Tensors of what lies in a buffer. They may share its memory: see above. */
export function valuesIn(buffer: SharedArrayBuffer, { offsets }: BufferLayout): Values {
  const take = (source: TensorSource): Float32Array => {
    const offset = offsets.get(source);
    if (offset === undefined)
      throw new Error(`valuesIn: expected a weight of the layout, got ${source.name}`);
    return new Float32Array(buffer, offset * Float32Array.BYTES_PER_ELEMENT, sizeOf(source));
  };
  return {
    matrix(source) {
      const [rows, columns] = source.shape;
      return tf.tensor2d(take(source), [rows, columns]);
    },
    vector: (source) => tf.tensor1d(take(source)),
  };
}
