/**
 * @file How fast this machine is: its engine's matrix product at the shapes of a model, and reading and widening weights from
 * its own file. Takes about two seconds. A file that was read a moment ago comes from memory, not from the disk.
 */

import * as tf from "@tensorflow/tfjs-core";
import type { Checkpoint } from "../checkpoint/checkpoint.js";
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
/** Values of the embedding that are read together; the first time only warms up. */
const VALUES_AT_ONCE = 2 ** 22;

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

async function readRate(checkpoint: Checkpoint): Promise<number> {
  const { vocabulary, width } = checkpoint.config;
  const rows = Math.min(vocabulary, Math.max(1, Math.floor(VALUES_AT_ONCE / width)));
  const once = async (first: number) => {
    const ids = Array.from({ length: Math.min(rows, vocabulary - first) }, (_, at) => first + at);
    const start = performance.now();
    const { rows: values, bytes } = await checkpoint.readTokenRows(ids);
    const seconds = (performance.now() - start) / 1000;
    values.dispose();
    return { bytes, seconds };
  };
  await once(0);
  let [bytes, seconds] = [0, 0];
  for (let turn = 1; seconds < SECONDS; turn++) {
    const read = await once((turn % Math.ceil(vocabulary / rows)) * rows);
    bytes += read.bytes;
    seconds += read.seconds;
  }
  return bytes / seconds;
}
