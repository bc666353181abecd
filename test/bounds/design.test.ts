import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkDesign, pairOfSample, type SubsetDesign, subsetRows } from "../../src/bounds/design.js";
import { InputError } from "../../src/errors.js";

const upTo = (size: number) => Uint32Array.from({ length: size }, (_, node) => 3 * node);

function design(size: number, probability: number, others: Partial<SubsetDesign> = {}): SubsetDesign {
  return { nodes: upTo(size), probability, seed: 11, ...others };
}

describe("checkDesign", () => {
  it.each([
    [design(2, 0), "SubsetDesign: expected a probability of more than 0 and less than 1, got 0"],
    [design(2, 1), "SubsetDesign: expected a probability of more than 0 and less than 1, got 1"],
    [design(2, Number.NaN), "SubsetDesign: expected a probability of more than 0 and less than 1, got NaN"],
    [
      design(2, 0.5, { seed: 2 ** 31 }),
      "SubsetDesign: expected seed to be an integer from -2^31 to 2^31 - 1, got 2147483648",
    ],
    [
      design(2, 0.5, { seed: 0.5 }),
      "SubsetDesign: expected seed to be an integer from -2^31 to 2^31 - 1, got 0.5",
    ],
    [
      design(2, 0.1, { complementary: true }),
      "SubsetDesign: expected a probability of 0.5 for complementary subsets, got 0.1",
    ],
    [design(0, 0.1), "SubsetDesign: expected at least one node, got none"],
    [
      design(2, 0.1, { nodes: Uint32Array.of(4, 4) }),
      "SubsetDesign: expected nodes in ascending order, each once, got 4 after 4",
    ],
    [
      design(2, 0.1, { nodes: Uint32Array.of(4, 9, 7) }),
      "SubsetDesign: expected nodes in ascending order, each once, got 7 after 9",
    ],
  ])("refuses %j", (wrong, message) => {
    expect(() => checkDesign(wrong)).toThrow(new InputError(message));
  });

  it("takes a design that is right", () => {
    expect(() => checkDesign(design(3, 0.5, { complementary: true, seed: -5 }))).not.toThrow();
  });
});

describe("subsetRows", () => {
  it("depends on seed and sample, in any order of asking", () => {
    const forwards = [0, 1, 2, 3].map((sample) => [...subsetRows(design(200, 0.1), sample)]);
    const backwards = [3, 2, 1, 0].map((sample) => [...subsetRows(design(200, 0.1), sample)]).reverse();
    expect(backwards).toEqual(forwards);
    expect(new Set(forwards.map(String)).size).toBe(4);
    expect([...subsetRows(design(200, 0.1, { seed: 12 }), 0)]).not.toEqual(forwards[0]);
  });

  it("gives places within U, ascending, each once", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 100 }),
        fc.oneof(fc.double({ min: 1e-6, max: 1 - 1e-6, noNaN: true }), fc.constant(0.5)),
        fc.nat(1000),
        (size, probability, sample) => {
          const rows = subsetRows(design(size, probability), sample);
          rows.forEach((row, at) => {
            expect(row).toBeLessThan(size);
            if (at > 0) expect(row).toBeGreaterThan(rows[at - 1]);
          });
        },
      ),
    );
  });

  it.each([0.02, 0.3, 0.5, 0.9])(
    "p = %d: every node, and every two nodes, as often as they should be",
    (p) => {
      // 45 nodes: one whole word of random bits and a part of one.
      const [size, samples] = [45, 20_000];
      const singles = new Float64Array(size);
      const doubles = new Float64Array(size * size);
      for (let sample = 0; sample < samples; sample++) {
        const rows = subsetRows(design(size, p), sample);
        for (const a of rows) {
          singles[a]++;
          for (const b of rows) if (b < a) doubles[a * size + b]++;
        }
      }
      // Of some thousand frequencies the farthest off is at 3 to 4 standard deviations.
      const [ofOne, ofTwo] = [p, p * p].map((chance) => 4.7 * Math.sqrt((chance * (1 - chance)) / samples));
      for (let a = 0; a < size; a++) {
        expect(Math.abs(singles[a] / samples - p)).toBeLessThan(ofOne);
        for (let b = 0; b < a; b++) {
          expect(Math.abs(doubles[a * size + b] / samples - p * p)).toBeLessThan(ofTwo);
        }
      }
    },
  );

  it("consecutive samples share nodes as independent ones do", () => {
    const [size, samples, p] = [1000, 400, 0.1];
    let shared = 0;
    for (let sample = 0; sample < samples; sample++) {
      const next = new Set(subsetRows(design(size, p), sample + 1));
      for (const row of subsetRows(design(size, p), sample)) if (next.has(row)) shared++;
    }
    const trials = size * samples;
    expect(Math.abs(shared / trials - p * p)).toBeLessThan(4 * Math.sqrt((p * p) / trials));
  });

  it("complementary: an odd sample is what the one before left out", () => {
    const halves = design(77, 0.5, { complementary: true });
    for (let k = 0; k < 20; k++) {
      const [even, odd] = [subsetRows(halves, 2 * k), subsetRows(halves, 2 * k + 1)];
      expect([...even, ...odd].sort((a, b) => a - b)).toEqual(Array.from({ length: 77 }, (_, row) => row));
      expect([...even]).toEqual([...subsetRows(design(77, 0.5), 2 * k)]);
    }
  });
});

describe("pairOfSample", () => {
  it("takes prompt pairs in turn", () => {
    expect([0, 1, 2, 3].map((sample) => pairOfSample(design(2, 0.5), sample, 3))).toEqual([0, 1, 2, 0]);
  });
  it("gives complementary samples the same one", () => {
    const halves = design(2, 0.5, { complementary: true });
    expect([0, 1, 2, 3, 4, 5, 6].map((sample) => pairOfSample(halves, sample, 3))).toEqual([
      0, 0, 1, 1, 2, 2, 0,
    ]);
  });
});
