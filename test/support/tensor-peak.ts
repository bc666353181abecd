/** @file The most memory that tensors have held, buffers that several of them share counted once. */

import * as tf from "@tensorflow/tfjs-core";

/** Operations whose result lies where their input `x` does, on either engine. */
const SHARING: readonly string[] = ["Reshape", "Identity"];

/**
 * Runs some work and counts what its tensors hold beyond what was there before. What kernels use inside of themselves is not seen.
 * @returns bytes at the worst moment
 */
export async function tensorPeak(work: () => Promise<unknown>): Promise<number> {
  const engine = tf.engine();
  /** By data id; ids that share memory have the same entry. */
  const held = new Map<object, { bytes: number; users: number }>();
  let [now, peak] = [0, 0];
  let source: tf.Tensor | undefined;
  const { runKernel, trackTensor, disposeTensor } = engine;
  const counting: Pick<typeof engine, "runKernel" | "trackTensor" | "disposeTensor"> = {
    runKernel(name, inputs, attributes) {
      const { x } = inputs;
      source = SHARING.includes(name) && x instanceof tf.Tensor ? x : undefined;
      return runKernel.call(engine, name, inputs, attributes) as never;
    },
    trackTensor(tensor, backend) {
      trackTensor.call(engine, tensor, backend);
      // Kernels make small tensors of their own, such as that of a shape.
      const shared = source?.size === tensor.size ? source : undefined;
      if (shared) source = undefined;
      // What shares memory with a tensor from before takes none of its own.
      const bytes = shared ? 0 : tensor.size * tf.util.bytesPerElement(tensor.dtype);
      const entry = held.get(tensor.dataId) ?? (shared && held.get(shared.dataId)) ?? { bytes, users: 0 };
      held.set(tensor.dataId, entry);
      if (entry.users++ > 0) return;
      now += entry.bytes;
      peak = Math.max(peak, now);
    },
    disposeTensor(tensor) {
      disposeTensor.call(engine, tensor);
      const entry = held.get(tensor.dataId);
      if (entry && --entry.users === 0) now -= entry.bytes;
    },
  };
  Object.assign(engine, counting);
  try {
    await work();
  } finally {
    Object.assign(engine, { runKernel, trackTensor, disposeTensor });
  }
  return peak;
}
