/**
 * @file The native engine: TensorFlow's C library under the addon of @tensorflow/tfjs-node-gpu, on all CPU cores or on
 * a GPU. `npm run setup:native` builds it. TensorFlow reads its settings from the environment while it is loaded, so
 * they are set here, before that; a value that the user has set stays. In a worker thread `process.env` is a copy that
 * the library does not see: there, start the worker with `env: SHARE_ENV`.
 */

import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import util from "node:util";
import * as tf from "@tensorflow/tfjs-core";
import { RunError } from "../errors.js";
import { nativeDevice } from "./native-device.js";
import { checkOneCore, checkSameCore } from "./one-core.js";

const PACKAGE = "@tensorflow/tfjs-node-gpu";

/** TensorFlow's log levels: 3 keeps fatal messages only. Errors of operations arrive as exceptions in any case. */
const QUIET = "3";

/** Either what computes, or why the native engine cannot be used here. */
export type NativeStart = { readonly device: string } | { readonly refused: string };

/**
 * Makes `tensorflow` the backend of this process.
 *
 * @param verbose lets TensorFlow write its log to stderr.
 * @throws RunError when the package brings another copy or release of tfjs-core.
 */
export async function startNative(verbose: boolean): Promise<NativeStart> {
  const require = createRequire(import.meta.url);
  let packageFile: string;
  try {
    packageFile = require.resolve(`${PACKAGE}/package.json`);
  } catch {
    return { refused: `${PACKAGE} is not installed` };
  }
  setEnvironment(verbose);
  try {
    checkOneCore([PACKAGE, "@tensorflow/tfjs"]);
    const binding = loadBinding(packageFile);
    checkSameCore(require(PACKAGE));
    if (!(await tf.setBackend("tensorflow"))) return { refused: "its backend does not start" };
    await tf.ready();
    return { device: nativeDevice(binding) };
  } catch (error) {
    if (error instanceof RunError) throw error;
    const message = error instanceof Error ? error.message : String(error);
    return { refused: message.split("\n")[0] ?? message };
  }
}

function setEnvironment(verbose: boolean): void {
  if (!verbose) process.env.TF_CPP_MIN_LOG_LEVEL ??= QUIET;
  // cuBLAS rounds the entries of float32 products to 10-bit mantissas otherwise.
  process.env.NVIDIA_TF32_OVERRIDE ??= "0";
  // The package calls it. It is gone since Node 23, and Node 22 prints a deprecation warning for it.
  Object.assign(util, { isNullOrUndefined: (value: unknown) => value === null || value === undefined });
}

/**
 * Loads the addon by itself, ahead of the package, to learn what the dynamic linker has to say: the package replaces
 * one message by advice that does not help here.
 */
function loadBinding(packageFile: string): unknown {
  const requireThere = createRequire(packageFile);
  const preGyp: unknown = requireThere("@mapbox/node-pre-gyp");
  if (!hasFind(preGyp)) throw new Error("its @mapbox/node-pre-gyp has no function find");
  const addon = preGyp.find(packageFile);
  if (!existsSync(addon)) throw new Error(`the addon of ${PACKAGE} in ${dirname(packageFile)} is not built`);
  return requireThere(addon);
}

function hasFind(value: unknown): value is { find(packageFile: string): string } {
  return typeof value === "object" && value !== null && "find" in value && typeof value.find === "function";
}
