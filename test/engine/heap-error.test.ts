import { expect, it } from "vitest";
import { withoutTrap } from "../../src/engine/heap-error.js";
import { RunError } from "../../src/errors.js";

/** What the engine's code throws: such errors have this name. */
function trapOf(): unknown {
  return Object.assign(new Error("memory access out of bounds"), { name: "RuntimeError" });
}

it("a trap of the embedded engine is told in words about memory", () => {
  const told = withoutTrap(trapOf());
  expect(told).toBeInstanceOf(RunError);
  expect(String(told)).toContain(
    "wasm engine: expected tensors within its heap of 4 GiB, got more than fit (memory access out of bounds): use a smaller --batch-size",
  );
});

it("any other error stays what it is", () => {
  for (const error of [
    new Error("memory access out of bounds"),
    new RunError("unreachable"),
    "unreachable",
  ]) {
    expect(withoutTrap(error)).toBe(error);
  }
});
