import { describe, expect, it } from "vitest";
import { subsetRows } from "../../src/bounds/design.js";
import { maximumBound } from "../../src/bounds/maximum.js";
import { SubsetMoments } from "../../src/bounds/moments.js";
import { orientationOf } from "../../src/bounds/orientation.js";

/** Seeded numbers in (−1, 1), good enough for made-up effects. */
function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
}

describe("orientationOf", () => {
  it("is the sign of each pair's estimates, + for 0", () => {
    expect(orientationOf([[2, -0.5, 0], Float32Array.of(-1, 3, -2)])).toEqual([
      Int8Array.of(1, -1, 1),
      Int8Array.of(-1, 1, -1),
    ]);
  });
});

describe("the bound on the largest oriented average marginal effect", () => {
  const [NODES, PAIRS, SAMPLES, P, REPETITIONS] = [8, 4, 800, 0.2, 400];
  const LEVEL = 0.1;
  const made = uniform(5);
  const numbers = () => Array.from({ length: NODES }, made);
  /** Per pair: effects alone, and those of two nodes together. */
  const alone = Array.from({ length: PAIRS }, numbers);
  const together = Array.from({ length: PAIRS }, () => Array.from({ length: NODES }, numbers));
  /** Right signs for half of them. */
  const estimates = alone.map((list) => list.map((effect, row) => (row % 2 === 0 ? effect : made())));

  const effectOf = (pair: number, rows: Uint32Array) => {
    let sum = 0;
    rows.forEach((row, at) => {
      sum += alone[pair][row];
      for (let other = 0; other < at; other++) sum += together[pair][row][rows[other]];
    });
    return sum;
  };

  // m_x(n) = a_n + p·Σ_k b_nk; interactions are written with the later node first.
  const truth = Array.from({ length: NODES }, (_, row) => {
    const ofPairs = alone.map((effects, pair) => {
      const others = Array.from({ length: NODES }, (_unused, k) => k).filter((k) => k !== row);
      const interactions = others.reduce(
        (sum, k) => sum + (k < row ? together[pair][row][k] : together[pair][k][row]),
        0,
      );
      return (estimates[pair][row] < 0 ? -1 : 1) * (effects[row] + P * interactions);
    });
    return ofPairs.reduce((sum, value) => sum + value, 0) / PAIRS;
  });
  const largest = Math.max(...truth.map(Math.abs));

  it("holds its level, though half of the estimates' signs are chance", () => {
    const violated = { plain: 0, controlled: 0 };
    const means = new Float64Array(NODES);
    for (let seed = 0; seed < REPETITIONS; seed++) {
      const design = { nodes: Uint32Array.from({ length: NODES }, (_, node) => node), probability: P, seed };
      const moments = new SubsetMoments(design, PAIRS, estimates, { oriented: true });
      for (let sample = 0; sample < SAMPLES; sample++) {
        moments.add(effectOf(sample % PAIRS, subsetRows(design, sample)));
      }
      const { plain, controlled } = moments;
      if (!controlled) throw new Error("expected a control variate, got none");
      if (maximumBound(plain, LEVEL).bound < largest) violated.plain++;
      if (maximumBound(controlled, LEVEL).bound < largest) violated.controlled++;
      truth.forEach((_, row) => {
        means[row] += controlled.statistics(row).difference / REPETITIONS;
      });
    }
    // 10 % of 400 are 40, give or take 6: 3 standard deviations more would be 58.
    expect(violated.plain).toBeLessThan(58);
    expect(violated.controlled).toBeLessThan(58);
    // Without bias: the mean of 400 repetitions is off by about 0.005.
    truth.forEach((wanted, row) => {
      expect(Math.abs(means[row] - wanted)).toBeLessThan(0.025);
    });
  });
});
