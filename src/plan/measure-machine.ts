/**
 * @file How fast this machine is: its engine's matrix product at the shapes of a model, and reading and widening weights from
 * its own file. Takes about two seconds. A file that was read a moment ago comes from memory, not from the disk.
 */

import * as tf from "@tensorflow/tfjs-core";
import type { Checkpoint } from "../checkpoint/checkpoint.js";
import { ReadingThreads } from "../checkpoint/reading-threads.js";
import { makeSharedBuffer } from "../checkpoint/shared-buffer.js";
import type { StoredSlice } from "../checkpoint/stored-slice.js";
import { bytesOf, valuesPerBlock } from "../checkpoint/stored-types.js";
import { sourcesOf } from "../checkpoint/weight-plan.js";
import { product } from "../engine/matmul.js";
import type { ModelConfig } from "../model/config.js";

export interface MachineRates {
  /** Floating-point operations a second. */
  readonly flops: number;
  /** Stored bytes that are read and widened to float32 in a second; absent where there is no file to read. */
  readonly readBytes?: number;
}

/** For each of the two. */
const SECONDS = 1;
/** Beyond this size a product is as fast as any; the matrix is made for the purpose. */
const MOST_ROWS = 4096;
/** Values of a layer that are read together, 256 MiB; the first time only warms up. */
const READ_VALUES = 2 ** 26;

/**
 * @param tokens that go through a layer together
 * @param checkpoint what is read, and thrown away
 */
export async function measureMachine(
  { width, mlpWidth }: Pick<ModelConfig, "width" | "mlpWidth">,
  tokens: number,
  checkpoint?: Checkpoint,
): Promise<MachineRates> {
  const flops = productRate([tokens, width, mlpWidth].map((size) => Math.min(size, MOST_ROWS)));
  const readBytes = checkpoint && (await readRate(checkpoint));
  return { flops, ...(readBytes !== undefined && { readBytes }) };
}

function productRate([m, k, n]: readonly number[]): number {
  const a: tf.Tensor2D = tf.ones([m, k]);
  const b: tf.Tensor2D = tf.ones([k, n]);
  const once = () => {
    const start = performance.now();
    const c = product(a, b);
    // Waits for the product without moving it.
    const corner = tf.slice(c, [0, 0], [1, 1]);
    corner.dataSync();
    tf.dispose([c, corner]);
    return (performance.now() - start) / 1000;
  };
  once();
  let best = Number.POSITIVE_INFINITY;
  for (let spent = 0; spent < SECONDS; ) {
    const seconds = once();
    best = Math.min(best, seconds);
    spent += seconds;
  }
  tf.dispose([a, b]);
  return (2 * m * k * n) / best;
}

/** Layer after layer as they are streamed, by as many threads; of each no more than fits the buffer. */
async function readRate(checkpoint: Checkpoint): Promise<number> {
  const { layers } = checkpoint.config;
  const buffer = makeSharedBuffer(READ_VALUES * Float32Array.BYTES_PER_ELEMENT);
  const threads = new ReadingThreads();
  const once = async (layer: number) => {
    const { slices, bytes } = startOfLayer(checkpoint, layer);
    const start = performance.now();
    await threads.read({ slices, buffer });
    return { bytes, seconds: (performance.now() - start) / 1000 };
  };
  try {
    await once(0);
    let [bytes, seconds] = [0, 0];
    for (let turn = 1; seconds < SECONDS; turn++) {
      const read = await once(turn % layers);
      bytes += read.bytes;
      seconds += read.seconds;
    }
    return bytes / seconds;
  } finally {
    await threads.close();
  }
}

/** The layer's first weights, one behind another, as many as fit; of one that is larger the beginning. */
function startOfLayer(checkpoint: Checkpoint, layer: number): { slices: StoredSlice[]; bytes: number } {
  const slices: StoredSlice[] = [];
  let [offset, bytes] = [0, 0];
  for (const source of sourcesOf(checkpoint.plan.layer(layer))) {
    const place = checkpoint.place(source);
    for (const { first, count, length, stride } of source.runs) {
      const left = READ_VALUES - offset;
      const most = left - (left % valuesPerBlock(place.dtype));
      const runs =
        length > most
          ? { first, count: 1, length: most, stride: most }
          : { first, count: Math.min(count, Math.floor(most / length)), length, stride };
      if (runs.length === 0) return { slices, bytes };
      slices.push({ ...place, runs, offset });
      offset += runs.count * runs.length;
      bytes += bytesOf(place.dtype, runs.count * runs.length);
    }
  }
  return { slices, bytes };
}
