/** @file The engine that tests run on. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Backend, type Engine, startEngine } from "../../src/engine/start-engine.js";
import { projectRoot } from "./child-process.js";

/** The engine named in the environment variable ATPKIT_ENGINE; without it, the one that every machine has. */
export function testBackend(): Backend {
  const name = process.env.ATPKIT_ENGINE ?? "wasm";
  if (name !== "wasm" && name !== "tensorflow") {
    throw new Error(`ATPKIT_ENGINE: expected wasm or tensorflow, got ${name}`);
  }
  return name;
}

/** Starts it, or returns it when it is running. */
export function startTestEngine(): Promise<Engine> {
  return startEngine({ prefer: testBackend() });
}

/** Whether tests of the native engine can run. Where it was asked for they run in any case, and fail if it is not there. */
export function nativeEngineExpected(): boolean {
  const addon = "node_modules/@tensorflow/tfjs-node-gpu/lib/napi-v8/tfjs_binding.node";
  return testBackend() === "tensorflow" || existsSync(join(projectRoot, addon));
}
