import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { batchPairs } from "../../src/prompts/buckets.js";
import { makePair, type Pair } from "../../src/prompts/pair.js";
import { idContext } from "./contexts.js";

const NEEDS = { answers: false, wrong: false };

/** One pair per entry, of that many tokens. */
const ofLengths = (lengths: readonly number[]): Pair[] =>
  lengths.map((length, i) => {
    const rest = new Array<number>(length - 1).fill(3);
    return makePair({ clean: [1, ...rest], corrupted: [2, ...rest] }, idContext(), NEEDS, `p:${i}`);
  });

describe("batchPairs", () => {
  it("orders batches by a length's first appearance and fills them in order", () => {
    const pairs = ofLengths([5, 3, 5, 5, 3, 4, 5, 5]);
    const batches = batchPairs(pairs, 2);
    expect(batches.map(({ length, indices }) => ({ length, indices }))).toEqual([
      { length: 5, indices: [0, 2] },
      { length: 5, indices: [3, 6] },
      { length: 5, indices: [7] },
      { length: 3, indices: [1, 4] },
      { length: 4, indices: [5] },
    ]);
    expect(batches[0]?.pairs).toEqual([pairs[0], pairs[2]]);
  });

  it("makes no batches of no pairs", () => {
    expect(batchPairs([], 4)).toEqual([]);
  });

  it("holds every pair once, in batches of one length, none too large, full but the last of a length", () => {
    const lengths = fc.array(fc.integer({ min: 1, max: 6 }), { maxLength: 40 });
    fc.assert(
      fc.property(lengths, fc.integer({ min: 1, max: 9 }), (given, batchSize) => {
        const pairs = ofLengths(given);
        const batches = batchPairs(pairs, batchSize);
        expect(batches.flatMap((batch) => batch.indices).sort((a, b) => a - b)).toEqual([...pairs.keys()]);
        for (const { length, pairs: inBatch, indices } of batches) {
          expect(inBatch.length).toBeGreaterThan(0);
          expect(inBatch.length).toBeLessThanOrEqual(batchSize);
          expect(inBatch).toEqual(indices.map((index) => pairs[index]));
          expect(indices.map((index) => given[index])).toEqual(indices.map(() => length));
        }
        for (const length of new Set(given)) {
          const ofLength = batches.filter((batch) => batch.length === length);
          const indices = ofLength.flatMap((batch) => batch.indices);
          expect(indices).toEqual([...indices].sort((a, b) => a - b));
          expect(ofLength.length).toBe(Math.ceil(indices.length / batchSize));
        }
        const order = [...new Set(batches.map((batch) => batch.length))];
        expect(order).toEqual([...new Set(given)]);
      }),
    );
  });

  it("refuses a batch size that is not a positive integer", () => {
    for (const size of [0, -2, 1.5, Number.NaN]) {
      expect(() => batchPairs([], size)).toThrow(
        `batchPairs: expected batchSize to be a positive integer, got ${size}`,
      );
    }
  });
});
