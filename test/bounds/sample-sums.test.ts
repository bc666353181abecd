/** Statistics from sums, against hand arithmetic, SciPy, and the numbers themselves. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { IndependentSamples } from "../../src/bounds/independent-samples.js";
import { MatchedSamples } from "../../src/bounds/matched-samples.js";

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const moment = (values: readonly number[], power: number) =>
  mean(values.map((value) => (value - mean(values)) ** power));
const variance = (values: readonly number[]) => (moment(values, 2) * values.length) / (values.length - 1);

function near(got: number, wanted: number): void {
  expect(Math.abs(got - wanted), `${got}, not ${wanted}`).toBeLessThan(1e-9 * (1 + Math.abs(wanted)));
}

const ROW = Uint32Array.of(0);
const NONE = new Uint32Array(0);

describe("IndependentSamples", () => {
  it("two with the node, two without", () => {
    const sums = new IndependentSamples(1, 1);
    for (const value of [5, 1]) sums.add(ROW, [value]);
    for (const value of [0, -2]) sums.add(NONE, [value]);
    // Means 3 and −1; variances (4 + 4)/1 = 8 and (1 + 1)/1 = 2; SE² = 8/2 + 2/2 = 5; df = 5²/(4²/1 + 1²/1).
    expect(sums.statistics(0, 0)).toEqual({
      difference: 3 - -1,
      standardError: Math.sqrt(8 / 2 + 2 / 2),
      degreesOfFreedom: 25 / 17,
      skewness: 0,
      inside: 2,
      outside: 2,
    });
    // Of 5, 1, 0, −2: mean 1, squares 16 + 0 + 1 + 9.
    expect(sums.variance(0)).toBe(26 / 3);
  });

  it("as scipy.stats.ttest_ind(equal_var=False) and scipy.stats.moment say", () => {
    const sums = new IndependentSamples(1, 1);
    for (const value of [1, 2, 4, 8, 3]) sums.add(ROW, [value]);
    for (const value of [2, 0, 1, 5, -1, 1, 2]) sums.add(NONE, [value]);
    const { difference, standardError, degreesOfFreedom, skewness } = sums.statistics(0, 0);
    near(difference, 2.1714285714285717);
    near(standardError, 1.4060607393427527);
    near(degreesOfFreedom, 6.768655939076079);
    near(skewness, (12.672000000000004 / 5 ** 2 - 4.075801749271135 / 7 ** 2) / 1.4060607393427527 ** 3);
  });

  it("has no statistics of a group of one", () => {
    const sums = new IndependentSamples(1, 1);
    sums.add(ROW, [5]);
    for (const value of [0, -2]) sums.add(NONE, [value]);
    expect(sums.statistics(0, 0).standardError).toBeNaN();
  });

  const NODES = 4;
  const samples = fc.array(
    fc.record({
      rows: fc.subarray([0, 1, 2, 3]),
      values: fc.tuple(fc.integer({ min: -50, max: 50 }), fc.integer({ min: -50, max: 50 })),
    }),
    { minLength: 2, maxLength: 40 },
  );

  it("equals the two groups of a stored matrix, in every series", () => {
    fc.assert(
      fc.property(samples, (all) => {
        const sums = new IndependentSamples(NODES, 2);
        for (const { rows, values } of all) sums.add(Uint32Array.from(rows), values);
        for (let node = 0; node < NODES; node++) {
          for (const series of [0, 1]) {
            const of = (inside: boolean) =>
              all.filter(({ rows }) => rows.includes(node) === inside).map(({ values }) => values[series]);
            const [a, b] = [of(true), of(false)];
            const got = sums.statistics(series, node);
            expect([got.inside, got.outside]).toEqual([a.length, b.length]);
            if (a.length < 2 || b.length < 2) continue;
            const [va, vb] = [variance(a) / a.length, variance(b) / b.length];
            near(got.difference, mean(a) - mean(b));
            near(got.standardError, Math.sqrt(va + vb));
            if (va + vb === 0) continue;
            near(
              got.degreesOfFreedom,
              (va + vb) ** 2 / (va ** 2 / (a.length - 1) + vb ** 2 / (b.length - 1)),
            );
            const third = moment(a, 3) / a.length ** 2 - moment(b, 3) / b.length ** 2;
            near(got.skewness, third / (va + vb) ** 1.5);
          }
        }
      }),
    );
  });

  it("does not depend on the order of samples", () => {
    // Whole numbers, so that sums have no rounding.
    fc.assert(
      fc.property(samples, (all) => {
        const [forwards, backwards] = [all, all.toReversed()].map((ordered) => {
          const sums = new IndependentSamples(NODES, 2);
          for (const { rows, values } of ordered) sums.add(Uint32Array.from(rows), values);
          return [0, 1, 2, 3].map((node) => sums.statistics(1, node));
        });
        expect(backwards).toEqual(forwards);
      }),
    );
  });
});

describe("MatchedSamples", () => {
  it("turns the sign of what was in the complement", () => {
    const sums = new MatchedSamples(1, 1);
    sums.add(ROW, [4]);
    sums.add(NONE, [-2]);
    sums.add(NONE, [0]);
    // d = 4, 2, 0: mean 2, variance (4 + 0 + 4)/2 = 4.
    expect(sums.statistics(0, 0)).toEqual({
      difference: 2,
      standardError: Math.sqrt(4 / 3),
      degreesOfFreedom: 2,
      skewness: 0,
      inside: 3,
      outside: 3,
    });
    // δ = 4, −2, 0: mean 2/3.
    near(sums.variance(0), (16 + 4 - 4 / 3) / 2);
  });

  it("equals the mean of stored differences", () => {
    const observation = fc.record({ rows: fc.subarray([0, 1, 2]), value: fc.integer({ min: -50, max: 50 }) });
    fc.assert(
      fc.property(fc.array(observation, { minLength: 2, maxLength: 30 }), (all) => {
        const sums = new MatchedSamples(3, 1);
        for (const { rows, value } of all) sums.add(Uint32Array.from(rows), [value]);
        for (let node = 0; node < 3; node++) {
          const d = all.map(({ rows, value }) => (rows.includes(node) ? value : -value));
          const got = sums.statistics(0, node);
          near(got.difference, mean(d));
          near(got.standardError, Math.sqrt(variance(d) / d.length));
          if (variance(d) === 0) continue;
          near(got.skewness, moment(d, 3) / d.length ** 2 / (variance(d) / d.length) ** 1.5);
        }
      }),
    );
  });
});
