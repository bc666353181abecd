/** @file What the native engine computes on, and whether it computes in full float32. */

import { readdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import * as tf from "@tensorflow/tfjs-core";

/** Where the Linux driver lists its GPUs, one folder each. */
const DRIVER_GPUS = "/proc/driver/nvidia/gpus";

/**
 * Edge of the test product. Large enough that a GPU takes the matrix kernel that real products take; TensorFlow
 * computes thin products otherwise.
 */
const TEST_EDGE = 256;

/**
 * Describes the device for people: "CPU, 2 threads, TensorFlow 2.21.0", "GPU NVIDIA H200, TensorFlow 2.21.0".
 *
 * @param binding what the addon exports. The backend must be running.
 */
export function nativeDevice(binding: unknown): string {
  const { version, onGpu } = readBinding(binding);
  const library = `TensorFlow ${version}`;
  const threads = cpuThreads();
  if (!onGpu) return `CPU, ${threads} ${threads === 1 ? "thread" : "threads"}, ${library}`;
  const precision = roundsToTf32() ? ", products rounded to TF32 (10-bit mantissas)" : "";
  return `GPU ${gpuModels()}, ${library}${precision}`;
}

/**
 * Whether products of float32 matrices lose bits of their entries. (1 + 2^-12)^2 = 1 + 2^-11 + 2^-24: float32 has 23
 * bits of mantissa and keeps the middle term, TF32 has 10 and rounds the entries to 1.
 */
export function roundsToTf32(): boolean {
  const product = tf.tidy(() => {
    const a: tf.Tensor2D = tf.fill([TEST_EDGE, TEST_EDGE], 1 + 2 ** -12);
    return tf.matMul(a, a);
  });
  const entry = product.dataSync()[0] ?? Number.NaN;
  product.dispose();
  return !(entry / TEST_EDGE > 1 + 2 ** -12);
}

function readBinding(binding: unknown): { version: string; onGpu: boolean } {
  if (
    typeof binding !== "object" ||
    binding === null ||
    !("TF_Version" in binding) ||
    !("isUsingGpuDevice" in binding) ||
    typeof binding.isUsingGpuDevice !== "function"
  ) {
    throw new Error("the addon does not say which TensorFlow it runs");
  }
  return { version: String(binding.TF_Version), onGpu: binding.isUsingGpuDevice() === true };
}

/** TensorFlow takes this variable, otherwise one thread per core that the process may use. */
function cpuThreads(): number {
  const set = Number(process.env.TF_NUM_INTRAOP_THREADS);
  return Number.isInteger(set) && set > 0 ? set : availableParallelism();
}

/** The models of the machine's GPUs as the driver names them; which of several is used is up to TensorFlow. */
function gpuModels(): string {
  try {
    const models = readdirSync(DRIVER_GPUS).map((gpu) => {
      const information = readFileSync(`${DRIVER_GPUS}/${gpu}/information`, "utf8");
      return /^Model:\s*(.+)$/m.exec(information)?.[1] ?? "of an unknown model";
    });
    return [...new Set(models)].join(" or ");
  } catch {
    return "of an unknown model";
  }
}
