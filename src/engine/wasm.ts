/**
 * @file The embedded engine: TensorFlow.js kernels compiled to WebAssembly. Nothing to install and the same on every
 * machine, one thread, several times slower than the native engine.
 */

import { createRequire } from "node:module";
import { dirname, sep } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { RunError } from "../errors.js";
import { checkOneCore } from "./one-core.js";

const PACKAGE = "@tensorflow/tfjs-backend-wasm";

/**
 * The events that the WebAssembly glue code listens to. Its listeners rethrow from inside a 38 kB line of source,
 * which Node prints before the error of any script that fails.
 */
const HOOKED_EVENTS = ["uncaughtException", "unhandledRejection"] as const;

/**
 * Makes `wasm` the backend of this process.
 *
 * @returns what computes, for people.
 * @throws RunError when the backend does not start or brings another copy of tfjs-core.
 */
export async function startWasm(): Promise<string> {
  checkOneCore([PACKAGE]);
  const { setWasmPaths } = await import("@tensorflow/tfjs-backend-wasm");
  // The .wasm files lie beside the package's main file; the backend looks for them in the working folder.
  setWasmPaths(dirname(createRequire(import.meta.url).resolve(PACKAGE)) + sep);
  const before = HOOKED_EVENTS.map((event) => new Set(listenersOf(event)));
  if (!(await tf.setBackend("wasm"))) throw new RunError("startEngine: expected wasm to start, got false");
  await tf.ready();
  HOOKED_EVENTS.forEach((event, i) => {
    for (const listener of listenersOf(event)) {
      if (!before[i]?.has(listener)) process.removeListener(event, listener);
    }
  });
  const simd = await tf.env().getAsync("WASM_HAS_SIMD_SUPPORT");
  return simd === true ? "WASM SIMD, 1 thread" : "WASM without SIMD, 1 thread";
}

type Listener = (...args: unknown[]) => void;

/** `process.listeners` has no overload for a union of event names; the events are compared, never called. */
function listenersOf(event: string): Listener[] {
  const emitter: NodeJS.EventEmitter = process;
  return emitter.listeners(event).filter((listener): listener is Listener => typeof listener === "function");
}
