/** @file The engine that a test runs on: the one named in ATPKIT_ENGINE, wasm by default. */

import { type Engine, startEngine } from "../../src/engine/start-engine.js";

export async function startTestEngine(): Promise<Engine> {
  const name = process.env.ATPKIT_ENGINE ?? "wasm";
  if (name !== "wasm" && name !== "tensorflow") {
    throw new Error(`ATPKIT_ENGINE: expected wasm or tensorflow, got ${name}`);
  }
  return startEngine({ prefer: name });
}
