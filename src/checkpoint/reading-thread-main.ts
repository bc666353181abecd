/** @file What runs in the thread of `reading-thread.ts`. */

import { parentPort } from "node:worker_threads";
import type { ReadAnswer, ReadOrder } from "./reading-thread.js";
import { readSlices } from "./stored-slice.js";

const port = parentPort;
port?.on("message", ({ slices, buffer }: ReadOrder) => {
  port.postMessage(answer(slices, buffer));
});

function answer(slices: ReadOrder["slices"], buffer: SharedArrayBuffer): ReadAnswer {
  try {
    readSlices(slices, new Float32Array(buffer, 0, buffer.byteLength / Float32Array.BYTES_PER_ELEMENT));
    return {};
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}
