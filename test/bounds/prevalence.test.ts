/**
 * Bounds on how many nodes reach θ: against SciPy, against published and hand-counted values, and, by summing over all
 * samples that can be drawn, against the level that they claim.
 */

import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { estimateBy } from "../../src/atpstar/estimate.js";
import { clopperPearsonUpper } from "../../src/bounds/clopper-pearson.js";
import {
  hypergeometricChances,
  hypergeometricUpper,
  type SampleCount,
} from "../../src/bounds/hypergeometric.js";
import { type PrevalenceOptions, prevalenceBound, samplePrevalence } from "../../src/bounds/prevalence.js";
import { planStrata } from "../../src/bounds/strata.js";
import { stratifiedUpper } from "../../src/bounds/stratified-count.js";
import { loadModel } from "../../src/checkpoint/load-model.js";
import { scoresOfRuns } from "../../src/exact/scores-of-runs.js";
import { sweepNodes } from "../../src/exact/sweep/sweep.js";
import type { Model } from "../../src/model/model.js";
import { makeNodeSpace, type NodeSpace } from "../../src/nodes/node-space.js";
import { positionLabels } from "../../src/nodes/positions.js";
import { contribution, makeScoreTable, type ScoreTable } from "../../src/nodes/score-table.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import type { Pair } from "../../src/prompts/pair.js";
import { readPairs } from "../../src/prompts/read-pairs.js";
import { startTestEngine } from "../support/engine.js";

/** Sums of at most a few thousand products of doubles. */
const SUM_ERROR = 1e-9;
const LEVELS = [0.8, 0.95, 0.99];

/** C(n, k) by Pascal's rule, which shares nothing with logarithms of factorials. */
function choose(n: number, k: number): number {
  let row = [1];
  for (let i = 0; i < n; i++) row = [1, ...row.slice(1).map((value, j) => value + row[j]), 1];
  return k < 0 ? 0 : (row[k] ?? 0);
}

function chance(size: number, marked: number, sampled: number, x: number): number {
  return (choose(marked, x) * choose(size - marked, sampled - x)) / choose(size, sampled);
}

function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i);
}

/** All ways to take one of each list. */
function product(lists: readonly (readonly number[])[]): number[][] {
  return lists.reduce<number[][]>(
    (rows, list) => rows.flatMap((row) => list.map((value) => [...row, value])),
    [[]],
  );
}

/** Of all numbers of nodes with a property per stratum: the largest probability that the bound on their sum is too low. */
function largestViolation(
  designs: readonly { size: number; sampled: number }[],
  level: number,
  upper: (strata: readonly SampleCount[], level: number) => number,
): number {
  const outcomes = product(designs.map(({ sampled }) => range(0, sampled))).map((found) => ({
    found,
    bound: upper(
      designs.map((design, h) => ({ ...design, found: found[h] })),
      level,
    ),
  }));
  const chances = designs.map(({ size, sampled }) =>
    range(0, size).map((marked) => range(0, sampled).map((x) => chance(size, marked, sampled, x))),
  );
  let largest = 0;
  for (const marked of product(designs.map(({ size }) => range(0, size)))) {
    const total = marked.reduce((sum, value) => sum + value, 0);
    let violated = 0;
    for (const { found, bound } of outcomes) {
      if (bound >= total) continue;
      violated += found.reduce((joint, x, h) => joint * chances[h][marked[h]][x], 1);
    }
    largest = Math.max(largest, violated);
  }
  return largest;
}

describe("clopperPearsonUpper", () => {
  it.each([
    // scipy.stats.beta.ppf(level, found + 1, sampled - found), SciPy 1.x
    [0, 10, 0.95, 0.2588655508930522],
    [0, 300, 0.99, 0.015233347889841823],
    [1, 20, 0.95, 0.2161061642068473],
    [3, 50, 0.99, 0.18720925616529482],
    [17, 40, 0.9, 0.5385882114057277],
    [49, 50, 0.95, 0.9989746601327679],
    [120, 10000, 0.999, 0.015755982109307343],
    [5, 1000000, 0.95, 1.0513005929398719e-5],
  ])("%i of %i at %f is SciPy's", (found, sampled, level, wanted) => {
    expect(clopperPearsonUpper(found, sampled, level) / wanted).toBeCloseTo(1, 6);
  });

  it("of nothing found is 1 − (1 − level)^(1/sampled)", () => {
    expect(clopperPearsonUpper(0, 59, 0.95)).toBeCloseTo(1 - 0.05 ** (1 / 59), 9);
  });

  it("is 1 without a sample, and where all of it have the property", () => {
    expect(clopperPearsonUpper(0, 0, 0.95)).toBe(1);
    expect(clopperPearsonUpper(7, 7, 0.95)).toBe(1);
  });

  it("keeps its level for every share: the binomial distribution summed", () => {
    for (const sampled of [1, 4, 13]) {
      for (const level of LEVELS) {
        const bounds = range(0, sampled).map((found) => clopperPearsonUpper(found, sampled, level));
        // Just above each of the bounds is where most outcomes are violations.
        for (const share of bounds.map((bound) => Math.min(1, bound + 1e-6))) {
          const violated = bounds.reduce((sum, bound, x) => {
            const outcome = choose(sampled, x) * share ** x * (1 - share) ** (sampled - x);
            return bound < share ? sum + outcome : sum;
          }, 0);
          expect(violated).toBeLessThanOrEqual(1 - level + SUM_ERROR);
        }
      }
    }
  });

  it("complains of counts and levels that cannot be", () => {
    expect(() => clopperPearsonUpper(3, 2, 0.9)).toThrow(
      "clopperPearsonUpper: expected whole numbers 0 ≤ found ≤ sampled, got 3 of 2",
    );
    expect(() => clopperPearsonUpper(0.5, 2, 0.9)).toThrow("got 0.5 of 2");
    expect(() => clopperPearsonUpper(1, 2, 1)).toThrow(
      "clopperPearsonUpper: expected a confidence level between 0 and 1, got 1",
    );
  });
});

describe("hypergeometricChances", () => {
  it.each([
    // scipy.stats.hypergeom.pmf and cdf (x, size, marked, sampled)
    [50, 20, 10, 4, 0.28005860310537134, 0.645026889882208],
    [1000, 30, 200, 0, 0.0011076391656193202, 0.0011076391656193202],
    [1000000, 5000, 10000, 40, 0.021303947176022915, 0.08445730243599112],
    [1000000, 600000, 1000, 550, 0.00014690882497169348, 0.000737108800377036],
    [100, 90, 40, 36, 0.2643127886831523, 0.6257624175369141],
    [40, 35, 30, 25, 0.21657183499288768, 0.21657183499288768],
  ])("of %i nodes, %i marked, %i drawn are SciPy's", (size, marked, sampled, x, single, upTo) => {
    const chances = hypergeometricChances({ size, marked, sampled }, x);
    expect(chances).toHaveLength(x + 1);
    expect(chances[x] / single).toBeCloseTo(1, 7);
    expect(chances.reduce((sum, value) => sum + value, 0) / upTo).toBeCloseTo(1, 7);
  });

  it("sum to 1 and are those of Pascal's triangle", () => {
    const sizes = fc.integer({ min: 1, max: 40 });
    fc.assert(
      fc.property(sizes, fc.nat(), fc.nat(), (size, a, b) => {
        const [marked, sampled] = [a % (size + 1), b % (size + 1)];
        const chances = hypergeometricChances({ size, marked, sampled }, sampled);
        expect(chances.reduce((sum, value) => sum + value, 0)).toBeCloseTo(1, 10);
        chances.forEach((value, x) => {
          expect(value).toBeCloseTo(chance(size, marked, sampled, x), 10);
        });
      }),
    );
  });
});

describe("hypergeometricUpper", () => {
  it.each([
    // The largest K with scipy.stats.hypergeom.cdf(found, size, K, sampled) > 1 - level
    [20, 10, 0, 0.95, 3],
    [100, 50, 3, 0.99, 15],
    [2000, 300, 0, 0.95, 18],
    [2000, 1500, 40, 0.9, 59],
    [2000, 300, 12, 0.99, 144],
    [1000000, 10000, 7, 0.99, 1594],
    [1000000, 400, 0, 0.999, 17117],
  ])("of %i nodes, %i drawn, %i found at %f is SciPy's", (size, sampled, found, level, wanted) => {
    expect(hypergeometricUpper({ size, sampled, found }, level)).toBe(wanted);
  });

  it("is what was found if all were drawn, and at most the whole number above Clopper and Pearson's", () => {
    const sizes = fc.integer({ min: 1, max: 300 });
    fc.assert(
      fc.property(sizes, fc.nat(), fc.nat(), fc.constantFrom(...LEVELS), (size, a, b, level) => {
        const sampled = a % (size + 1);
        const found = b % (sampled + 1);
        const bound = hypergeometricUpper({ size, sampled, found }, level);
        expect(bound).toBeGreaterThanOrEqual(found);
        // Not below it in every case: 18 drawn of 90, 17 found, level 0.8: 89 of 90, and 88.89 by Clopper and Pearson.
        expect(bound).toBeLessThan(size * clopperPearsonUpper(found, sampled, level) + 1);
        if (sampled === size) expect(bound).toBe(found);
      }),
    );
  });

  it("keeps its level for every number, and comes close to it: the hypergeometric distribution summed", () => {
    for (const level of LEVELS) {
      for (const [size, sampled] of [
        [1, 1],
        [9, 4],
        [30, 11],
        [60, 6],
      ]) {
        const violated = largestViolation([{ size, sampled }], level, ([only]) =>
          hypergeometricUpper(only, level),
        );
        expect(violated).toBeLessThanOrEqual(1 - level + SUM_ERROR);
        if (size === 60) expect(violated).toBeGreaterThan(0.5 * (1 - level));
      }
    }
  });
});

describe("stratifiedUpper", () => {
  it.each([
    // Two equal strata, 2 of 4 each: nothing found leaves K = (1, 1) with p = (1/2)², (2, 0) with p = 1/6.
    [[4, 4], [2, 2], [0, 0], 0.8, 2],
    [[4, 4], [2, 2], [0, 0], 0.7, 1],
    // (2, 2) would have p = 1/36, (2, 1) 1/12.
    [[4, 4], [2, 2], [0, 0], 0.9, 2],
    [[4, 4], [2, 2], [0, 0], 0.95, 3],
    // One drawn completely, one not at all.
    [[5, 7], [5, 0], [2, 0], 0.99, 9],
    // One stratum only: SciPy's, above.
    [[2000], [300], [12], 0.99, 144],
    [[17, 2000], [17, 300], [6, 12], 0.99, 150],
  ])("of %j nodes, %j drawn, %j found at %f is %i", (sizes, drawn, found, level, wanted) => {
    const strata = sizes.map((size, h) => ({ size, sampled: drawn[h], found: found[h] }));
    expect(stratifiedUpper(strata, level)).toBe(wanted);
  });

  it("agrees with Wendell and Schmee's example", () => {
    // Strata of 500, 300, 200; samples of 75, 50, 25; 2, 1, 0 found: 50 in all has a p-value of at most 0.02767569.
    const strata = [
      { size: 500, sampled: 75, found: 2 },
      { size: 300, sampled: 50, found: 1 },
      { size: 200, sampled: 25, found: 0 },
    ];
    expect(stratifiedUpper(strata, 1 - 0.02767)).toBe(50);
    expect(stratifiedUpper(strata, 1 - 0.02768)).toBe(49);
  });

  it("is the largest total that is not rejected, found among all of them", () => {
    const stratum = fc
      .integer({ min: 1, max: 9 })
      .chain((size) =>
        fc
          .integer({ min: 1, max: size })
          .chain((sampled) => fc.nat(sampled).map((found) => ({ size, sampled, found }))),
      );
    fc.assert(
      fc.property(
        fc.array(stratum, { minLength: 1, maxLength: 3 }),
        fc.constantFrom(0.8137, 0.9511, 0.9907),
        (strata, level) => {
          const estimate = (found: readonly number[]) =>
            strata.reduce((sum, { size, sampled }, h) => sum + (found[h] * size) / sampled, 0);
          const observed = estimate(strata.map(({ found }) => found));
          const outcomes = product(strata.map(({ sampled }) => range(0, sampled))).filter(
            (found) => estimate(found) <= observed + 1e-4,
          );
          let largest = 0;
          for (const marked of product(
            strata.map(({ size, sampled, found }) => range(found, size - sampled + found)),
          )) {
            const p = outcomes.reduce(
              (sum, found) =>
                sum +
                strata.reduce(
                  (joint, { size, sampled }, h) => joint * chance(size, marked[h], sampled, found[h]),
                  1,
                ),
              0,
            );
            if (p > 1 - level)
              largest = Math.max(
                largest,
                marked.reduce((sum, value) => sum + value, 0),
              );
          }
          expect(stratifiedUpper(strata, level)).toBe(largest);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("keeps its level for all numbers in all strata: the distributions summed", () => {
    for (const level of LEVELS) {
      for (const designs of [
        [
          { size: 4, sampled: 3 },
          { size: 7, sampled: 3 },
          { size: 12, sampled: 2 },
        ],
        [
          { size: 3, sampled: 3 },
          { size: 10, sampled: 5 },
          { size: 14, sampled: 4 },
        ],
        [
          { size: 20, sampled: 5 },
          { size: 20, sampled: 5 },
        ],
        [
          { size: 2, sampled: 1 },
          { size: 25, sampled: 8 },
        ],
      ]) {
        const violated = largestViolation(designs, level, stratifiedUpper);
        expect(violated).toBeLessThanOrEqual(1 - level + SUM_ERROR);
        // A bound that is never wrong would say little.
        expect(violated).toBeGreaterThan(0);
      }
    }
  });

  it("is close to exact where there are too many totals to see all of them", () => {
    // Equal shares are drawn: what is in which stratum hardly matters, and the bound is near that of one stratum.
    const together = hypergeometricUpper({ size: 30000, sampled: 3000, found: 200 }, 0.99);
    const strata = [60, 70, 70].map((found) => ({ size: 10000, sampled: 1000, found }));
    const bound = stratifiedUpper(strata, 0.99);
    expect(bound / together).toBeGreaterThan(0.99);
    expect(bound / together).toBeLessThan(1.03);
  });
});

function tableOf(estimates: readonly number[]): ScoreTable {
  const table = makeScoreTable(estimates.length);
  estimates.forEach((value, node) => {
    table.sumAbs[node] = Math.abs(value);
    table.count[node] = Number.isNaN(value) ? 0 : 1;
  });
  return table;
}

describe("planStrata", () => {
  const nodesOf = (count: number) => Uint32Array.from({ length: count }, (_, node) => node);

  it("gives few nodes with large estimates as much as many with small ones", () => {
    // 9 + 9 | 6 × 3 | 180 × 0.1: each a third of 54.
    const estimates = [...Array(6).fill(3), 9, ...Array(180).fill(0.1), 9];
    const strata = planStrata(nodesOf(188), { budget: 60, seed: 3, estimates: tableOf(estimates) });
    expect(strata.map(({ size }) => size)).toEqual([2, 6, 180]);
    expect(strata.map(({ estimates: range }) => range)).toEqual([
      { from: 9, to: 9 },
      { from: 3, to: 3 },
      { from: 0.1, to: 0.1 },
    ]);
    // The first two are drawn completely: a third of half the budget is more than they have. The rest goes to the last.
    expect(strata.map(({ sample }) => sample.length)).toEqual([2, 6, 52]);
    expect([...strata[0].sample]).toEqual([6, 187]);
  });

  it("draws each node once, all of the budget, and nowhere less than half as densely as a uniform sample", () => {
    const estimate = fc.oneof(
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.constantFrom(0, Number.NaN, 1e3),
    );
    fc.assert(
      fc.property(
        fc.array(estimate, { minLength: 1, maxLength: 200 }),
        fc.integer({ min: 1, max: 250 }),
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
        (estimates, budget, most, seed) => {
          // Every second node of a larger space.
          const nodes = nodesOf(estimates.length).map((node) => 2 * node + 1);
          const table = tableOf(estimates.flatMap((value) => [Number.NaN, value]));
          const options = { budget, seed, estimates: table, strata: most };
          const strata = planStrata(nodes, options);
          expect(planStrata(nodes, options)).toEqual(strata);
          expect(strata.length).toBeLessThanOrEqual(most);
          expect(strata.reduce((sum, { size }) => sum + size, 0)).toBe(nodes.length);
          const drawn = strata.flatMap(({ sample }) => [...sample]);
          expect(drawn).toHaveLength(Math.min(budget, nodes.length));
          expect(new Set(drawn).size).toBe(drawn.length);
          expect(drawn.every((node) => nodes.includes(node))).toBe(true);
          for (const { size, sample } of strata) {
            expect([...sample]).toEqual([...sample].sort((a, b) => a - b));
            const uniform = (Math.min(budget, nodes.length) * size) / nodes.length;
            // Each of up to five strata has its one node first, and numbers are whole.
            expect(sample.length).toBeGreaterThanOrEqual(Math.floor(uniform / 2 - 5));
          }
        },
      ),
    );
  });

  it("draws every node of a stratum equally often", () => {
    const counts = new Float64Array(12);
    for (let seed = 0; seed < 3000; seed++) {
      for (const node of planStrata(nodesOf(12), { budget: 4, seed })[0].sample) counts[node]++;
    }
    // 1000 each, binomial with a standard deviation of 26.
    for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(5 * 26);
  });

  it("has one stratum without estimates or where all are 0, and none without nodes", () => {
    expect(planStrata(nodesOf(9), { budget: 3, seed: 0 })).toHaveLength(1);
    const zeros = tableOf(Array(9).fill(0));
    expect(planStrata(nodesOf(9), { budget: 3, seed: 0, estimates: zeros })).toHaveLength(1);
    expect(planStrata(nodesOf(0), { budget: 3, seed: 0 })).toEqual([]);
    expect(planStrata(nodesOf(0), { budget: 3, seed: 0, estimates: zeros })).toEqual([]);
  });

  it("complains of a bad budget, number of strata, seed or estimate", () => {
    const plan = (options: object) => () => planStrata(nodesOf(4), { budget: 2, seed: 0, ...options });
    expect(plan({ budget: 0 })).toThrow("planStrata: expected budget to be a positive integer, got 0");
    expect(plan({ strata: 1.5 })).toThrow("planStrata: expected strata to be a positive integer, got 1.5");
    expect(plan({ seed: 2 ** 31 })).toThrow(
      "planStrata: expected seed to be an integer from -2^31 to 2^31 - 1, got 2147483648",
    );
    expect(plan({ estimates: tableOf([1, Number.POSITIVE_INFINITY, 0, 2]) })).toThrow(
      "planStrata: expected finite estimates, got an infinite one",
    );
  });
});

describe("prevalenceBound", () => {
  it("counts what reaches θ, and says what is left", () => {
    const strata = [
      { size: 3, contributions: Float64Array.of(0.5, 2, 1) },
      { size: 20, contributions: Float64Array.of(...Array(9).fill(0), Number.NaN) },
    ];
    // Three of 20 would be missed by ten draws with probability 120/1140 (= 0.105), four with 0.043.
    expect(prevalenceBound(strata, 1, 0.95)).toEqual({
      theta: 1,
      confidence: 0.95,
      nodes: 23,
      sampled: 13,
      found: 2,
      count: 5,
      share: 5 / 23,
      left: 3,
    });
  });

  it("of nothing is 0", () => {
    expect(prevalenceBound([], 1, 0.95)).toMatchObject({ nodes: 0, count: 0, share: 0, left: 0 });
  });

  it("complains of a θ that every node reaches", () => {
    expect(() => prevalenceBound([], 0, 0.9)).toThrow("prevalenceBound: expected theta to be above 0, got 0");
  });
});

describe("samplePrevalence on the demo model", () => {
  let model: Model;
  let pairs: Pair[];
  let space: NodeSpace;
  const metric = metricByName("logit-diff");
  const control = { metric, direction: "noising" as const, batchSize: 16 };
  const thetas = [0.02, 0.2, 1];
  let options: PrevalenceOptions;
  let all: Uint32Array;
  let truth: ScoreTable;

  beforeAll(async () => {
    await startTestEngine();
    model = await loadModel("models/demo");
    pairs = (await readPairs("models/demo/pairs/ioi.jsonl", model, metric.needs)).slice(0, 3);
    space = makeNodeSpace(model.config, ["v", "z"], positionLabels("roles", pairs));
    all = Uint32Array.from({ length: space.size }, (_, node) => node);
    const runs = await sweepNodes(model, pairs, space, all, { ...control, metrics: [metric] });
    truth = scoresOfRuns(runs.metrics[0], space.size);
    const { scores } = await estimateBy("atp", model, pairs, { ...control, space });
    options = {
      ...control,
      estimates: scores,
      budget: Math.floor(space.size / 3),
      seed: 1,
      thetas,
      confidence: 0.95,
    };
  });
  afterAll(() => model.dispose());

  it("bounds the truth, and keeps the effects that it computed", async () => {
    const { strata, bounds, verified, forwardEquivalents } = await samplePrevalence(
      model,
      pairs,
      space,
      all,
      options,
    );
    expect(strata.map(({ size }) => size).reduce((a, b) => a + b)).toBe(space.size);
    expect(verified.nodes).toHaveLength(options.budget);
    verified.nodes.forEach((node, row) => {
      expect(contribution(verified.scores, row)).toBeCloseTo(contribution(truth, node), 4);
    });
    expect(forwardEquivalents).toBeGreaterThan(2 * pairs.length);
    expect(bounds.map(({ theta }) => theta)).toEqual(thetas);
    for (const { theta, count, found, left, share } of bounds) {
      const reach = (nodes: Uint32Array) => nodes.filter((node) => contribution(truth, node) >= theta);
      expect(found).toBe(reach(verified.nodes).length);
      expect(count).toBeGreaterThanOrEqual(reach(all).length);
      expect(left).toBeGreaterThanOrEqual(reach(all).length - found);
      expect(share).toBeLessThan(1);
    }
  });

  it("says exactly how many there are if all are drawn, and runs nothing if there are none", async () => {
    const complete = await samplePrevalence(model, pairs, space, all, { ...options, budget: space.size });
    for (const { theta, count, left } of complete.bounds) {
      expect(count).toBe(all.filter((node) => contribution(truth, node) >= theta).length);
      expect(left).toBe(0);
    }
    const none = await samplePrevalence(model, pairs, space, new Uint32Array(), options);
    expect(none.bounds.map(({ count }) => count)).toEqual([0, 0, 0]);
    expect(none.forwardEquivalents).toBe(0);
  });

  it("complains of thetas and a confidence before anything runs", async () => {
    const sample = (changed: object) =>
      samplePrevalence(model, pairs, space, all, { ...options, ...changed });
    await expect(sample({ thetas: [] })).rejects.toThrow(
      "samplePrevalence: expected at least one theta, got none",
    );
    await expect(sample({ thetas: [1, -1] })).rejects.toThrow(
      "samplePrevalence: expected theta to be above 0, got -1",
    );
    await expect(sample({ confidence: 95 })).rejects.toThrow(
      "samplePrevalence: expected a confidence level between 0 and 1, got 95",
    );
  });
});
