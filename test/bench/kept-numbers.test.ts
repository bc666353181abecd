import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { filesIn, keptNumbers } from "../../bench/kept-numbers.js";

const folder = mkdtempSync(join(tmpdir(), "kept-numbers-"));
afterAll(() => rmSync(folder, { recursive: true }));

it("computes numbers once for the same dependencies, and again for others", async () => {
  const kept = join(folder, "kept");
  let runs = 0;
  const numbers = (...dependencies: (string | Buffer)[]) =>
    keptNumbers(kept, 2, dependencies, async () => Float64Array.of(++runs, Math.PI));

  expect(await numbers("a", "bc")).toEqual(Float64Array.of(1, Math.PI));
  expect(await numbers("a", "bc")).toEqual(Float64Array.of(1, Math.PI));
  // The same bytes, cut in another place, are other dependencies.
  expect(await numbers("ab", "c")).toEqual(Float64Array.of(2, Math.PI));
  expect(await numbers("a", Buffer.from("bc"))).toEqual(Float64Array.of(1, Math.PI));
});

it("reads the files of a folder in the order of their names", () => {
  writeFileSync(join(folder, "b.txt"), "second");
  writeFileSync(join(folder, "a.txt"), "first");
  const texts = filesIn(folder).map(String);
  expect(texts.slice(0, 2)).toEqual(["first", "second"]);
});
