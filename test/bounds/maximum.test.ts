/** Bounds from statistics: hand arithmetic, one answer from bound and p-value, and how often they are wrong. */

import fc from "fast-check";
import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";
import { describe, expect, it } from "vitest";
import { studentTail } from "../../src/bounds/distributions.js";
import {
  FEWEST_IN_GROUP,
  maximumBound,
  maximumPValue,
  nodeBound,
  nodePValue,
  nodesWithoutBound,
} from "../../src/bounds/maximum.js";
import type { NodeSeries, NodeStatistics } from "../../src/bounds/sample-sums.js";
import { InputError } from "../../src/errors.js";

/** SciPy: t.ppf(0.99, 29). */
const T_29 = 2.4620213601504126;

function node(
  difference: number,
  standardError: number,
  others: Partial<NodeStatistics> = {},
): NodeStatistics {
  return { difference, standardError, degreesOfFreedom: 29, skewness: 0, inside: 30, outside: 90, ...others };
}

function series(...nodes: readonly NodeStatistics[]): NodeSeries {
  return { size: nodes.length, statistics: (row) => nodes[row] };
}

describe("nodeBound", () => {
  it.each([
    [node(0.5, 0.1), 0.5 + T_29 * 0.1],
    [node(-0.5, 0.1), 0.5 + T_29 * 0.1],
    // Skewed to the side on which D lies, and to the other one, where only −D + … is widened, and is smaller all the same.
    [node(0.5, 0.1, { skewness: 0.6 }), 0.5 + (T_29 + (0.6 * (1 + 2 * T_29 ** 2)) / 6) * 0.1],
    [node(-0.5, 0.1, { skewness: -0.6 }), 0.5 + (T_29 + (0.6 * (1 + 2 * T_29 ** 2)) / 6) * 0.1],
    [node(0.5, 0.1, { skewness: -0.6 }), 0.5 + T_29 * 0.1],
    [node(0, 0.1, { skewness: -0.6 }), (T_29 + (0.6 * (1 + 2 * T_29 ** 2)) / 6) * 0.1],
    [node(-0.5, 0, { degreesOfFreedom: Number.NaN, skewness: Number.NaN }), 0.5],
  ])("of %j", (statistics, wanted) => {
    expect(nodeBound(statistics, 0.01)).toBeCloseTo(wanted, 7);
  });

  it("is Infinity with too few samples on either side", () => {
    expect(nodeBound(node(0.5, 0.1, { inside: FEWEST_IN_GROUP - 1 }), 0.01)).toBe(Number.POSITIVE_INFINITY);
    expect(nodeBound(node(0.5, 0.1, { outside: FEWEST_IN_GROUP - 1 }), 0.01)).toBe(Number.POSITIVE_INFINITY);
    expect(nodePValue(node(0.5, 0.1, { outside: 1 }), 100)).toBe(1);
    expect(nodesWithoutBound(series(node(0, 1), node(0, 1, { inside: 0 }), node(0, 1, { outside: 2 })))).toBe(
      2,
    );
  });

  it.each([0, -0.1, 0.6, Number.NaN])("refuses level %d", (alpha) => {
    const message = `nodeBound: expected a level of more than 0 and at most 0.5, got ${alpha}`;
    expect(() => nodeBound(node(0, 1), alpha)).toThrow(new InputError(message));
    expect(() => maximumBound(series(node(0, 1)), alpha)).toThrow(new InputError(message));
  });
});

describe("the maximum", () => {
  it("is the largest bound, not that of the largest difference, and no level is divided", () => {
    const all = series(node(0.5, 0.1), node(-0.2, 0.3), node(0.6, 0.01));
    const { bound, row } = maximumBound(all, 0.01);
    expect(row).toBe(1);
    expect(bound).toBeCloseTo(0.2 + T_29 * 0.3, 7);
    // Of θ = 1: t = 5, 0.8/0.3 and 40.
    expect(maximumPValue(all, 1)).toBeCloseTo(studentTail(0.8 / 0.3, 29), 10);
  });

  it("is Infinity, with a p-value of 1, where one node has too few samples", () => {
    const all = series(node(0.5, 0.1), node(0, 0, { inside: 3 }));
    expect(maximumBound(all, 0.01)).toEqual({ bound: Number.POSITIVE_INFINITY, row: 1 });
    expect(maximumPValue(all, 1e9)).toBe(1);
  });

  it("of nodes that nothing changes is 0", () => {
    const idle = node(0, 0, { degreesOfFreedom: Number.NaN, skewness: Number.NaN });
    expect(maximumBound(series(idle, idle), 0.01)).toEqual({ bound: 0, row: 0 });
    expect(maximumPValue(series(idle, idle), 0.01)).toBe(0);
  });

  it.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY])("refuses threshold %d", (threshold) => {
    const message = `maximumPValue: expected a positive threshold, got ${threshold}`;
    expect(() => maximumPValue(series(node(0, 1)), threshold)).toThrow(new InputError(message));
  });

  const anyNode = fc.record({
    difference: fc.double({ min: -2, max: 2, noNaN: true }),
    standardError: fc.oneof(fc.double({ min: 0.01, max: 1, noNaN: true }), fc.constant(0)),
    degreesOfFreedom: fc.double({ min: 29, max: 500, noNaN: true }),
    skewness: fc.double({ min: -1.5, max: 1.5, noNaN: true }),
    inside: fc.constant(30),
    outside: fc.constant(90),
  });
  const anyNodes = fc.array(anyNode, { minLength: 1, maxLength: 30 });
  const anyLevel = fc.double({ min: 1e-4, max: 0.4, noNaN: true });

  it("is that of all nodes one by one, whatever is skipped to save time", () => {
    fc.assert(
      fc.property(anyNodes, anyLevel, (nodes, alpha) => {
        // Quantiles of neighbouring degrees of freedom, an ulp apart, may be an ulp the wrong way round.
        const isClose = (value: number, wanted: number) =>
          value === wanted || Math.abs(value / wanted - 1) < 1e-9;
        expect([
          maximumBound(series(...nodes), alpha).bound,
          Math.max(...nodes.map((statistics) => nodeBound(statistics, alpha))),
        ]).toSatisfy(([value, wanted]) => isClose(value, wanted));
        expect([
          maximumPValue(series(...nodes), 1.5),
          Math.max(...nodes.map((statistics) => nodePValue(statistics, 1.5))),
        ]).toSatisfy(([value, wanted]) => isClose(value, wanted));
      }),
    );
  });

  it("has a p-value of α at its bound of level α", () => {
    fc.assert(
      fc.property(anyNodes, anyLevel, (nodes, alpha) => {
        const all = series(...nodes);
        const { bound, row } = maximumBound(all, alpha);
        if (nodes[row].standardError === 0) return;
        expect(Math.abs(maximumPValue(all, bound) / alpha - 1)).toBeLessThan(1e-5);
      }),
    );
  });
});

/** Normal numbers (Box–Muller). */
function normals(seed: number): () => number {
  const random = xoroshiro128plus(seed);
  return () =>
    Math.sqrt(-2 * Math.log(1 - uniformFloat64(random))) * Math.cos(2 * Math.PI * uniformFloat64(random));
}

describe("repetitions of a normal model of known variance", () => {
  const REPETITIONS = 20_000;
  const ALPHA = 0.05;
  const [LOW, HIGH] = [-4, 4].map(
    (deviations) => ALPHA + deviations * Math.sqrt((ALPHA * (1 - ALPHA)) / REPETITIONS),
  );

  /** How often the bound of the maximum is below the largest |m|. */
  function violations(truth: readonly number[]): number {
    const next = normals(truth.length);
    const largest = Math.max(...truth.map(Math.abs));
    let violated = 0;
    for (let repetition = 0; repetition < REPETITIONS; repetition++) {
      const nodes = truth.map((m) => node(m + 0.1 * next(), 0.1, { degreesOfFreedom: 1e6 }));
      if (maximumPValue(series(...nodes), largest) < ALPHA) violated++;
    }
    return violated / REPETITIONS;
  }

  it("are wrong as often as the level says where one node rules", () => {
    const rate = violations([1, 0, 0.1]);
    expect(rate).toBeGreaterThan(LOW);
    expect(rate).toBeLessThan(HIGH);
  });

  it("are wrong far less often where several nodes are as large", () => {
    // All three must be underestimated at once: 0.05³.
    expect(violations([1, -1, 1])).toBeLessThan(0.001);
  });
});
