import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { makePair, type Pair } from "../../src/prompts/pair.js";
import { samplePairs } from "../../src/prompts/sample-pairs.js";
import { idContext } from "./contexts.js";

const NEEDS = { answers: false, wrong: false };

const makePairs = (count: number): Pair[] =>
  Array.from({ length: count }, (_, i) =>
    makePair({ clean: [1], corrupted: [2] }, idContext(), NEEDS, `p:${i}`),
  );

const INT32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });

describe("samplePairs", () => {
  it("gives the asked number of different pairs in their order, the same ones for a seed", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 30 }),
        fc.integer({ min: 1, max: 40 }),
        INT32,
        (total, count, seed) => {
          const pairs = makePairs(total);
          const sample = samplePairs(pairs, count, seed);
          const indices = sample.map((pair) => pairs.indexOf(pair));
          expect(indices).toHaveLength(Math.min(total, count));
          expect(indices.every((index, i) => index > (indices[i - 1] ?? -1))).toBe(true);
          expect(samplePairs(pairs, count, seed)).toEqual(sample);
        },
      ),
    );
  });

  it("leaves the order alone when it takes all", () => {
    const pairs = makePairs(5);
    expect(samplePairs(pairs, 5, 1)).toEqual(pairs);
    expect(samplePairs(pairs, 50, 1)).toEqual(pairs);
  });

  it("draws every subset equally often over seeds", () => {
    const pairs = makePairs(6);
    const SEEDS = 20_000;
    const counts = new Map<string, number>();
    for (let seed = 0; seed < SEEDS; seed++) {
      const key = samplePairs(pairs, 3, seed)
        .map((pair) => pair.origin)
        .join();
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    const SUBSETS = 20; // 6 choose 3
    expect(counts.size).toBe(SUBSETS);
    const expected = SEEDS / SUBSETS;
    const chi2 = [...counts.values()].reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
    expect(chi2).toBeLessThan(43.8); // the 99.9 % point of chi-squared with 19 degrees of freedom
  });

  it("draws different subsets for different seeds", () => {
    // 64 choose 16 is about 4.9e14, so 200 seeds collide with a probability of 4e-11.
    const pairs = makePairs(64);
    const samples = Array.from({ length: 200 }, (_, seed) => samplePairs(pairs, 16, seed - 100));
    expect(new Set(samples.map((sample) => sample.map((pair) => pair.origin).join())).size).toBe(200);
  });

  it("refuses counts and seeds that are not what they seem", () => {
    const pairs = makePairs(3);
    for (const count of [0, -1, 1.5, Number.NaN]) {
      expect(() => samplePairs(pairs, count, 1)).toThrow(
        `samplePairs: expected count to be a positive integer, got ${count}`,
      );
    }
    for (const seed of [0.5, Number.NaN, 2 ** 31, 2 ** 32]) {
      expect(() => samplePairs(pairs, 1, seed)).toThrow(
        `samplePairs: expected seed to be an integer from -2^31 to 2^31 - 1, got ${seed}`,
      );
    }
  });
});
