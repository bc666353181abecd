/** What is kept of patched runs that were stopped: a rectangle of pairs × patches without holes, by hand. */

import { describe, expect, it } from "vitest";
import { partialRuns } from "../../src/exact/partial-runs.js";

/** Rows are pairs; `.` is a run that is missing, `-` a patch that the pair lacks. The values count from 1. */
function stopped(...rows: readonly string[]) {
  const cells = rows.join("").split("");
  const patched = Float32Array.from(cells, (cell, at) => (cell === "x" ? at + 1 : Number.NaN));
  const base = Float64Array.from(rows, (_, pair) => 10 * pair);
  const source = Float64Array.from(rows, (_, pair) => -1 - pair);
  const width = rows[0].length;
  const runs = { metrics: [{ name: "m", patched, base, source }], forwardEquivalents: 5 };
  return partialRuns(runs, width, (pair, patch) => rows[pair][patch] !== "-");
}

describe("partialRuns", () => {
  it("keeps the patches that are done on all pairs", () => {
    const partial = stopped("xx.x", "xx-x", "xx..");
    expect(partial?.pairs).toEqual([0, 1, 2]);
    expect([...(partial?.patches ?? [])]).toEqual([0, 1]);
    expect([...(partial?.metrics[0].patched ?? [])]).toEqual([1, 2, 5, 6, 9, 10]);
    expect([...(partial?.metrics[0].base ?? [])]).toEqual([0, 10, 20]);
    expect(partial?.forwardEquivalents).toBe(5);
  });

  it("keeps the pairs that are done with all patches, where no patch is done on all", () => {
    const partial = stopped("xxx", "x-x", "x..", "...");
    expect(partial?.pairs).toEqual([0, 1]);
    expect([...(partial?.patches ?? [])]).toEqual([0, 1, 2]);
    // NaN where a pair lacks the patch, as in whole runs.
    expect([...(partial?.metrics[0].patched ?? [])]).toEqual([1, 2, 3, 4, Number.NaN, 6]);
    expect([...(partial?.metrics[0].source ?? [])]).toEqual([-1, -2]);
  });

  it("keeps what is done on the pairs in hand, where no pair is done", () => {
    const partial = stopped("xx..", "x-x.", "....");
    expect(partial?.pairs).toEqual([0, 1]);
    expect([...(partial?.patches ?? [])]).toEqual([0, 1]);
    expect([...(partial?.metrics[0].patched ?? [])]).toEqual([1, 2, 5, Number.NaN]);
  });

  it("keeps nothing of nothing", () => {
    expect(stopped("..", "..")).toBeUndefined();
    expect(stopped("x.", ".x")).toBeUndefined();
  });
});
