/** How stages are cut: whole, at fixed places, and the same for whoever asks twice. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cutRange, estimateTasks, sampleTasks, verifyTasks } from "../../src/batch/coordinator-splitting.js";

const SIZES = { pairs: 3, nodes: 2, samples: 10 };

describe("cutRange", () => {
  it("cuts a range into all its numbers, in order, at the multiples of the size alone", () => {
    fc.assert(
      fc.property(fc.nat(200), fc.nat(200), fc.integer({ min: 1, max: 50 }), (first, count, size) => {
        const ranges = cutRange({ first, end: first + count }, size);
        const numbers = ranges.flatMap((range) =>
          Array.from({ length: range.end - range.first }, (_, i) => range.first + i),
        );
        expect(numbers).toEqual(Array.from({ length: count }, (_, i) => first + i));
        expect(ranges.slice(1).every((range) => range.first % size === 0)).toBe(true);
        expect(ranges.every((range) => range.end > range.first && range.end - range.first <= size)).toBe(
          true,
        );
      }),
    );
  });
});

describe("samples", () => {
  const design = { nodes: Uint32Array.of(1, 2, 4), probability: 0.5, seed: 7 };
  const rangesOf = (first: number, end: number) =>
    sampleTasks(design, 6, { first, end }, SIZES).map(({ samples }) => [samples.first, samples.end]);

  it("of a look are cut at multiples of the size and at its ends", () => {
    expect(rangesOf(0, 25)).toEqual([
      [0, 10],
      [10, 20],
      [20, 25],
    ]);
    expect(rangesOf(25, 50)).toEqual([
      [25, 30],
      [30, 40],
      [40, 50],
    ]);
    const [task] = sampleTasks(design, 6, { first: 0, end: 1 }, SIZES);
    expect(task).toEqual({
      kind: "sample",
      excluded: [0, 3, 5],
      probability: 0.5,
      seed: 7,
      samples: { first: 0, end: 1 },
    });
  });

  it("of looks that go elsewhere share the whole shards", () => {
    const one = new Set([...rangesOf(0, 25), ...rangesOf(25, 50)].map(String));
    const other = [...rangesOf(0, 30), ...rangesOf(30, 60)].map(String);
    expect(other.filter((range) => one.has(range))).toEqual(["0,10", "10,20", "30,40", "40,50"]);
  });
});

describe("nodes and pairs", () => {
  it("make a grid: each chunk of nodes, ascending, on each range of pairs in order", () => {
    expect(verifyTasks(Uint32Array.of(9, 4, 7), 4, SIZES)).toEqual([
      { kind: "verify", nodes: [4, 9], pairs: { first: 0, end: 3 } },
      { kind: "verify", nodes: [4, 9], pairs: { first: 3, end: 4 } },
      { kind: "verify", nodes: [7], pairs: { first: 0, end: 3 } },
      { kind: "verify", nodes: [7], pairs: { first: 3, end: 4 } },
    ]);
    const how = { method: "atp*", byPair: true } as const;
    expect(estimateTasks(4, SIZES, how)).toEqual([
      { kind: "estimate", pairs: { first: 0, end: 3 }, ...how },
      { kind: "estimate", pairs: { first: 3, end: 4 }, ...how },
    ]);
  });
});
