import { mkdtempSync, rmSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { digestOf, filesIn, keptRows } from "../../bench/kept-numbers.js";

const folder = mkdtempSync(join(tmpdir(), "kept-numbers-"));
afterAll(() => rmSync(folder, { recursive: true }));

it("computes each row once for the same dependencies, whoever asks for it", async () => {
  const kept = join(folder, "kept");
  const computed: string[] = [];
  const rows = (...names: string[]) =>
    keptRows(
      kept,
      names.map((name) => ({ size: 2, dependencies: ["of all", name] })),
      async (missing) =>
        missing.map((row) => {
          computed.push(names[row]);
          return Float64Array.of(names[row].charCodeAt(0), Math.PI);
        }),
    );

  // The codes of a, b, c are 97, 98, 99.
  expect(await rows("a", "b")).toEqual([Float64Array.of(97, Math.PI), Float64Array.of(98, Math.PI)]);
  expect(await rows("c", "b", "a")).toEqual([99, 98, 97].map((code) => Float64Array.of(code, Math.PI)));
  expect(await rows("b")).toEqual([Float64Array.of(98, Math.PI)]);
  expect(computed).toEqual(["a", "b", "c"]);
});

it("refuses rows of another size", async () => {
  const row = { size: 3, dependencies: ["three"] };
  await expect(keptRows(folder, [row], async () => [Float64Array.of(1, 2)])).rejects.toThrow(
    "keptRows: expected 3 numbers in row 0, got 2",
  );
});

it("tells the same bytes apart that are cut in other places", () => {
  expect(digestOf(["ab", "c"])).not.toBe(digestOf(["a", "bc"]));
  expect(digestOf(["a", Buffer.from("bc")])).toBe(digestOf(["a", "bc"]));
});

it("reads the files of a folder in the order of their names, and a file by itself", () => {
  writeFileSync(join(folder, "b.txt"), "second");
  writeFileSync(join(folder, "a.txt"), "first");
  const texts = filesIn(folder).map(String);
  expect(texts.slice(0, 2)).toEqual(["first", "second"]);
  expect(filesIn(join(folder, "b.txt")).map(String)).toEqual(["second"]);
});

it("does not read a very large file, but sees that it changes", () => {
  const large = join(folder, "large");
  writeFileSync(large, "");
  truncateSync(large, 2 ** 30); // Takes no room on the disk.
  const [before] = filesIn(large);
  expect(String(before)).toContain(String(2 ** 30));
  expect(filesIn(large)).toEqual([before]);
  utimesSync(large, 1, 1);
  expect(filesIn(large)).not.toEqual([before]);
});
