/** @file What the embedded engine throws where its heap is full: a trap of its code, in words about code. */

import { RunError } from "../errors.js";

/** The traps of code that goes on with the null pointer of an allocation that failed, and of its own check for that. */
const TRAPS = /memory access out of bounds|unreachable|Cannot enlarge memory|Aborted\(\)/;

/** The error in words about memory; any other one as it is. */
export function withoutTrap(error: unknown): unknown {
  if (!(error instanceof Error) || error.name !== "RuntimeError" || !TRAPS.test(error.message)) return error;
  return new RunError(
    `wasm engine: expected tensors within its heap of 4 GiB, got more than fit (${error.message}): use a smaller --batch-size or --activation-memory, fewer or shorter prompts, or the native engine, which has no such heap`,
    { cause: error },
  );
}
