/** Streams of effects, against computations on the stored samples. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PairCentres } from "../../src/bounds/centre.js";
import { pairOfSample, type SubsetDesign, subsetRows } from "../../src/bounds/design.js";
import { SubsetMoments } from "../../src/bounds/moments.js";
import { InputError, RunError } from "../../src/errors.js";

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const variance = (values: readonly number[]) =>
  values.reduce((sum, value) => sum + (value - mean(values)) ** 2, 0) / (values.length - 1);

function near(got: number, wanted: number): void {
  expect(Math.abs(got - wanted), `${got}, not ${wanted}`).toBeLessThan(1e-9 * (1 + Math.abs(wanted)));
}

const DESIGN: SubsetDesign = { nodes: Uint32Array.of(2, 5, 6, 9), probability: 0.4, seed: 3 };
const HALVES: SubsetDesign = { ...DESIGN, probability: 0.5, complementary: true };

describe("PairCentres", () => {
  it("takes the mean of the earlier values of the same prompt pair off", () => {
    const centres = new PairCentres(2);
    expect(centres.centred(0, 4)).toBeUndefined();
    expect(centres.centred(1, 100)).toBeUndefined();
    expect(centres.centred(0, 6)).toBe(6 - 4);
    expect(centres.centred(1, 90)).toBe(90 - 100);
    expect(centres.centred(0, 8)).toBe(8 - (4 + 6) / 2);
  });
});

describe("SubsetMoments", () => {
  const input = fc.record({
    effects: fc.array(fc.double({ min: -3, max: 3, noNaN: true }), { minLength: 12, maxLength: 60 }),
    estimates: fc.array(fc.double({ min: -2, max: 2, noNaN: true }), { minLength: 4, maxLength: 4 }),
    pairs: fc.integer({ min: 1, max: 4 }),
  });

  it("equals two groups of stored samples, centred by hand, plain and with the estimates taken off", () => {
    fc.assert(
      fc.property(input, ({ effects, estimates, pairs }) => {
        const moments = new SubsetMoments(DESIGN, pairs, [Float64Array.from(estimates)]);
        for (const effect of effects) moments.add(effect);
        expect(moments.samples).toBe(effects.length);
        expect(moments.observations).toBe(effects.length - pairs);
        const subsets = effects.map((_, sample) => [...subsetRows(DESIGN, sample)]);
        const rest = effects.map((y, r) => y - subsets[r].reduce((sum, row) => sum + estimates[row], 0));
        const centred = (values: readonly number[]) =>
          values.slice(pairs).map((value, at) => {
            const earlier = values.slice(0, at + pairs).filter((_, r) => r % pairs === (at + pairs) % pairs);
            return value - mean(earlier);
          });
        const counted = subsets.slice(pairs);
        const [y, yRest] = [centred(effects), centred(rest)];
        if (variance(y) > 1e-6) near(moments.controlled?.rSquared ?? 0, 1 - variance(yRest) / variance(y));
        DESIGN.nodes.forEach((_, row) => {
          const groups = (values: readonly number[]) =>
            [true, false].map((inside) => values.filter((_v, r) => counted[r].includes(row) === inside));
          const [a, b] = groups(y);
          if (a.length < 2 || b.length < 2) return;
          const plain = moments.plain.statistics(row);
          near(plain.difference, mean(a) - mean(b));
          near(plain.standardError, Math.sqrt(variance(a) / a.length + variance(b) / b.length));
          const [aRest, bRest] = groups(yRest);
          const controlled = moments.controlled?.statistics(row);
          near(controlled?.difference ?? 0, mean(aRest) - mean(bRest) + estimates[row]);
        });
      }),
    );
  });

  it("complementary: the difference of the two samples, nothing centred", () => {
    const effects = [3, 1, 2, 2.5, -1, 4, 7];
    const moments = new SubsetMoments(HALVES, 2, [Float64Array.of(1, 0, 0, 0)]);
    for (const effect of effects) moments.add(effect);
    // The seventh waits for its complement.
    expect([moments.samples, moments.observations]).toEqual([7, 3]);
    const deltas = [3 - 1, 2 - 2.5, -1 - 4];
    HALVES.nodes.forEach((_, row) => {
      const signs = [0, 2, 4].map((sample) => (subsetRows(HALVES, sample).includes(row) ? 1 : -1));
      near(moments.plain.statistics(row).difference, mean(deltas.map((delta, k) => signs[k] * delta)));
      // Node 0 is in one of the two: 1 goes off δ where it is in the first one, and comes to it otherwise.
      const inFirst = [0, 2, 4].map((sample) => (subsetRows(HALVES, sample).includes(0) ? 1 : -1));
      const rest = deltas.map((delta, k) => signs[k] * (delta - inFirst[k]));
      near(moments.controlled?.statistics(row).difference ?? 0, mean(rest) + (row === 0 ? 1 : 0));
    });
  });

  it.each([DESIGN, HALVES])(
    "exact estimates of each pair leave nothing to chance where effects differ between pairs",
    (design) => {
      const byPair = [
        Float64Array.of(2, -1, 0.5, 0),
        Float64Array.of(-1, 0, 0.5, 3),
        Float64Array.of(5, 1, 0.5, 0),
      ];
      const moments = new SubsetMoments(design, 3, byPair);
      // As many samples of every pair: their mean effects are those of the pairs.
      for (let sample = 0; sample < 60; sample++) {
        const effects = byPair[pairOfSample(design, sample, 3)];
        moments.add(subsetRows(design, sample).reduce((sum, row) => sum + effects[row], 0));
      }
      expect(moments.controlled?.rSquared).toBe(1);
      [2, 0, 0.5, 1].forEach((effect, row) => {
        expect(moments.controlled?.statistics(row)).toMatchObject({ difference: effect, standardError: 0 });
      });
      // The mean for all pairs explains less.
      const [a, b, c] = byPair;
      const mean = a.map((value, row) => (value + b[row] + c[row]) / 3);
      const withMean = new SubsetMoments(design, 3, [mean]);
      for (let sample = 0; sample < 60; sample++) {
        const effects = byPair[pairOfSample(design, sample, 3)];
        withMean.add(subsetRows(design, sample).reduce((sum, row) => sum + effects[row], 0));
      }
      expect(withMean.controlled?.rSquared).toBeLessThan(0.9);
    },
  );

  it("oriented: each pair's samples count with the sign of its estimate, as stored and turned by hand", () => {
    fc.assert(
      fc.property(input, ({ effects, estimates }) => {
        const pairs = 3;
        // Other signs on every pair, one of them 0.
        const byPair = [0, 1, 2].map((pair) =>
          Float64Array.from(estimates, (value, row) => (row === 3 ? 0 : value * (pair === row ? -1 : 1))),
        );
        const moments = new SubsetMoments(DESIGN, pairs, byPair, { oriented: true });
        const plain = new SubsetMoments(DESIGN, pairs, byPair);
        for (const effect of effects) {
          moments.add(effect);
          plain.add(effect);
        }
        expect(moments.controlled?.rSquared).toBe(plain.controlled?.rSquared);
        const subsets = effects.map((_, sample) => [...subsetRows(DESIGN, sample)]);
        const rest = effects.map(
          (y, r) => y - subsets[r].reduce((sum, row) => sum + byPair[r % pairs][row], 0),
        );
        const centred = (values: readonly number[]) =>
          values.map(
            (value, r) => value - mean(values.slice(0, r).filter((_, at) => at % pairs === r % pairs)),
          );
        DESIGN.nodes.forEach((_, row) => {
          const sign = (r: number) => (byPair[r % pairs][row] < 0 ? -1 : 1);
          const groups = (values: readonly number[]) => {
            const turned = centred(values).map((value, r) => sign(r) * value);
            return [true, false].map((inside) =>
              turned.filter((_v, r) => r >= pairs && subsets[r].includes(row) === inside),
            );
          };
          const [a, b] = groups(effects);
          if (a.length < 2 || b.length < 2) return;
          const got = moments.plain.statistics(row);
          near(got.difference, mean(a) - mean(b));
          near(got.standardError, Math.sqrt(variance(a) / a.length + variance(b) / b.length));
          const [aRest, bRest] = groups(rest);
          const absolute = mean(byPair.map((list) => Math.abs(list[row])));
          near(moments.controlled?.statistics(row).difference ?? 0, mean(aRest) - mean(bRest) + absolute);
        });
      }),
    );
  });

  it("oriented: effects of opposite signs do not cancel", () => {
    const byPair = [Float64Array.of(2, -1, 0.5, 0), Float64Array.of(-2, 1, 0.5, 0)];
    const oriented = new SubsetMoments(DESIGN, 2, byPair, { oriented: true });
    const plain = new SubsetMoments(DESIGN, 2, byPair);
    for (let sample = 0; sample < 80; sample++) {
      const effect = subsetRows(DESIGN, sample).reduce((sum, row) => sum + byPair[sample % 2][row], 0);
      oriented.add(effect);
      plain.add(effect);
    }
    // Means of |2|, |−2|; |−1|, |1|; |0.5|, |0.5|; 0 — and of 2, −2; −1, 1; 0.5, 0.5; 0.
    [2, 1, 0.5, 0].forEach((contribution, row) => {
      expect(oriented.controlled?.statistics(row).difference).toBeCloseTo(contribution, 12);
    });
    [0, 0, 0.5, 0].forEach((signed, row) => {
      expect(plain.controlled?.statistics(row).difference).toBeCloseTo(signed, 12);
    });
  });

  it.each([DESIGN, HALVES])("exact estimates of effects that add up leave nothing to chance", (design) => {
    const effects = Float64Array.of(2, -1, 0.5, 0);
    const moments = new SubsetMoments(design, 3, [effects]);
    for (let sample = 0; sample < 60; sample++) {
      const rows = subsetRows(design, sample);
      moments.add(rows.reduce((sum, row) => sum + effects[row], 0));
    }
    const { controlled, plain } = moments;
    expect(controlled?.rSquared).toBe(1);
    effects.forEach((effect, row) => {
      expect(controlled?.statistics(row)).toMatchObject({ difference: effect, standardError: 0 });
      expect(plain.statistics(row).standardError).toBeGreaterThan(0.01);
    });
  });

  it.each([
    [DESIGN, 1],
    [HALVES, 2],
  ])("what prompt pairs differ in is no noise", (design, factor) => {
    const moments = new SubsetMoments(design, 2);
    // Only node 1 has an effect, and the second prompt pair has a level of its own.
    for (let sample = 0; sample < 400 * factor; sample++) {
      const level = pairOfSample(design, sample, 2) === 1 ? 1000 : 0;
      moments.add(level + (subsetRows(design, sample).includes(1) ? 1 : 0));
    }
    expect(Math.abs(moments.plain.statistics(0).difference)).toBeLessThan(0.3);
    expect(Math.abs(moments.plain.statistics(1).difference - 1)).toBeLessThan(0.1);
  });

  it("complementary: half as much is learned of effects that add up, and interactions of two are no noise", () => {
    const variances = (effect: (rows: Uint32Array) => number) =>
      [HALVES, { ...DESIGN, probability: 0.5 }].map((design) => {
        const moments = new SubsetMoments(design, 1);
        for (let sample = 0; sample < 4000; sample++) moments.add(effect(subsetRows(design, sample)));
        return moments.plain.statistics(0).standardError ** 2;
      });
    // With all four of effect 1 in R samples: 3/R of independent ones, and 3/(R/2) of R/2 pairs of them.
    const [complementary, independent] = variances((rows) => rows.length);
    expect(Math.abs((independent * 4000) / 3 - 1)).toBeLessThan(0.1);
    expect(Math.abs((complementary * 2000) / 3 - 1)).toBeLessThan(0.1);
    // 1 where nodes 1 and 2 are both in or both out.
    const [none, some] = variances((rows) => (rows.includes(1) === rows.includes(2) ? 1 : 0));
    expect(none).toBe(0);
    expect(some).toBeGreaterThan(0.0001);
  });

  it("gives the same to the bit when the effects are added again", () => {
    const run = () => {
      const moments = new SubsetMoments(DESIGN, 2, [Float64Array.of(0.1, 0.2, 0.3, 0.4)]);
      for (let sample = 0; sample < 100; sample++) moments.add(Math.sin(sample));
      return [0, 1, 2, 3].map((row) => moments.controlled?.statistics(row));
    };
    expect(run()).toEqual(run());
  });

  it("refuses estimates that are not one finite number per node", () => {
    expect(() => new SubsetMoments(DESIGN, 1, [new Float64Array(3)])).toThrow(
      new InputError("SubsetMoments: expected 4 estimates, one per node, got 3"),
    );
    expect(() => new SubsetMoments(DESIGN, 1, [Float64Array.of(0, 1, Number.NaN, 2)])).toThrow(
      new InputError("SubsetMoments: expected a finite estimate of every node, got NaN for node 6"),
    );
  });

  it("refuses an effect that is not finite, and a design that is wrong", () => {
    const moments = new SubsetMoments(DESIGN, 1);
    moments.add(1);
    expect(() => moments.add(Number.NaN)).toThrow(
      new RunError("SubsetMoments: expected a finite effect of sample 1, got NaN"),
    );
    expect(() => new SubsetMoments(DESIGN, 3, [new Float64Array(4), new Float64Array(4)])).toThrow(
      "SubsetMoments: expected estimates of all 3 prompt pairs, or one list for them, got 2 lists",
    );
    const lists = [new Float64Array(4), new Float64Array(4)];
    expect(() => new SubsetMoments(DESIGN, 2, [lists[0]], { oriented: true })).toThrow(
      "SubsetMoments: expected estimates of all 2 prompt pairs and independent samples for an orientation, got 1 lists and independent samples",
    );
    expect(() => new SubsetMoments(HALVES, 2, lists, { oriented: true })).toThrow(
      "got 2 lists and complementary samples",
    );
    expect(() => new SubsetMoments({ ...DESIGN, probability: 2 }, 1)).toThrow(InputError);
    expect(moments.controlled).toBeUndefined();
  });
});
