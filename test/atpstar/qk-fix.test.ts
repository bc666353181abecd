/**
 * The QK fix under stress, against float64: every softmax recomputed, one patched key or query at a time. Heads of width 1
 * with query 1 make the scores exactly the keys, so that float32 and float64 see the same numbers.
 */

import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { fixAttention, fixedEstimates, sigmoidChange } from "../../src/atpstar/qk-fix.js";
import { attentionPattern, attentionScores, causalMask } from "../../src/model/ops/attention.js";
import { startTestEngine } from "../support/engine.js";

beforeAll(async () => {
  await startTestEngine();
});
beforeEach(() => tf.engine().startScope());
afterEach(() => tf.engine().endScope());

/** float32 rounding of a dozen operations, in units of changes of weight times gradients. */
const TOLERANCE = 3e-6;
/** Nothing smaller can be told from 0 in float32 without losing digits. */
const SMALLEST_NORMAL = 2 ** -126;
const BOTH = { each: true, everywhere: true };

function softmax(scores: number[]): number[] {
  const highest = Math.max(...scores);
  const exps = scores.map((score) => Math.exp(score - highest));
  const total = exps.reduce((sum, x) => sum + x, 0);
  return exps.map((x) => x / total);
}

/** Σ_j (A'_j − A_j)·g_j of a row whose scores change; in float64. */
function rowEffect(scores: number[], changed: number[], g: number[]): number {
  const [before, after] = [softmax(scores), softmax(changed)];
  return g.reduce((sum, gj, j) => sum + (after[j] - before[j]) * gj, 0);
}

interface Row {
  /** Scores of the keys; those of all queries alike, since every query is 1. */
  readonly keys: number[];
  readonly change: number[];
  /** g[t][s] */
  readonly g: number[][];
}

function estimates({ keys, change, g }: Row) {
  const T = keys.length;
  const column = (values: number[]) => tf.tensor4d(values, [1, 1, T, 1]);
  const mask = causalMask(T);
  const [q, k] = [column(keys.map(() => 1)), column(keys)];
  const pattern = attentionPattern(attentionScores(q, k), mask);
  const dPattern = tf.tensor(g.flat(), [1, 1, 1, T, T]);
  const fixed = fixAttention({ q, k, pattern }, { k: column(change) }, mask, BOTH);
  const { k: ofKeys } = fixedEstimates(fixed, dPattern, 1, BOTH);
  return { each: [...(ofKeys?.each?.dataSync() ?? [])], everywhere: ofKeys?.everywhere?.dataSync()[0] };
}

/** Expects the float32 estimate of every key, and of all keys at once, to be the float64 one. */
function expectAsInFloat64(row: Row): void {
  const { keys, change, g } = row;
  const got = estimates(row);
  keys.forEach((_, s) => {
    let wanted = 0;
    let scale = 0;
    for (let t = s; t < keys.length; t++) {
      const seen = keys.slice(0, t + 1);
      const moved = seen.map((score, j) => (j === s ? score + change[s] : score));
      const gradient = g[t].slice(0, t + 1);
      wanted += rowEffect(seen, moved, gradient);
      // The change of weight is multiplied by a difference of gradients, which float32 rounds like the gradients.
      scale += Math.abs(softmax(moved)[s] - softmax(seen)[s]) * Math.max(...gradient.map(Math.abs));
    }
    const noise = 1e-15 * Math.max(...g.flat().map(Math.abs)); // of the float64 reference itself
    expect(Math.abs(got.each[s] - wanted)).toBeLessThanOrEqual(
      TOLERANCE * scale + noise * keys.length * 10 + SMALLEST_NORMAL,
    );
  });
}

const ALTERNATING = (T: number) =>
  Array.from({ length: T }, (_, t) => Array.from({ length: T }, (_unused, s) => ((t * 3 + s * 5) % 7) - 3));

describe("key nodes", () => {
  it.each<[string, number[], number[]]>([
    ["a weight of 1 − 1e-7", [0, 16.118, -2, 0], [3, -8, 5, 1]],
    ["a weight of 1 − 1e-20", [0, 46, -2, 0], [3, -8, 5, 1]],
    ["a weight that float32 and float64 both call 1", [0, 100, -2, 0], [80, -80, 80, -80]],
    ["changes of ±80", [1, 2, 3, 4], [80, -80, 80, -80]],
    ["a key that takes over", [10, 0, 0, 0], [0, 0, 60, 0]],
    ["a key that loses all attention", [10, 0, 40, 0], [0, 0, -60, 0]],
    ["two largest keys alike", [5, 5, 5, 5], [1e-3, -1e-3, 2, -2]],
    ["tiny changes of tiny weights", [0, 30, 0, 0], [1e-6, 1e-6, 1e-6, 1e-6]],
    ["no change", [1, 2, 3, 4], [0, 0, 0, 0]],
    ["a prompt of one token", [3], [50]],
  ])("%s", (_name, keys, change) => {
    const exact = keys.map(Math.fround);
    expectAsInFloat64({ keys: exact, change: change.map(Math.fround), g: ALTERNATING(keys.length) });
  });

  it("any scores and changes", () => {
    const number = (max: number) => fc.float({ min: -max, max, noNaN: true });
    const rows = fc.integer({ min: 1, max: 6 }).chain((T) =>
      fc.record({
        keys: fc.array(number(120), { minLength: T, maxLength: T }),
        change: fc.array(number(80), { minLength: T, maxLength: T }),
        g: fc.array(fc.array(number(4), { minLength: T, maxLength: T }), { minLength: T, maxLength: T }),
      }),
    );
    fc.assert(fc.property(rows, expectAsInFloat64), { numRuns: 300 });
  });

  it("stays right where the short formula A·expm1(δ)/(1 + A·expm1(δ))·(g − c) is NaN in float32", () => {
    // Key 1 holds the row of query 1: A = 1 − e^-30 is 1 in float32. It loses 25: exactly, A' = 1 − e^-5/(1 + e^-5).
    const f = Math.fround;
    const A = f(1 / (1 + Math.exp(-30)));
    const g = [2, -1];
    const c = f(f((1 - A) * g[0]) + f(A * g[1]));
    const grown = f(A * f(Math.expm1(-25)));
    expect(f(f(grown / f(1 + grown)) * f(g[1] - c))).toBeNaN();

    const row = { keys: [0, 30], change: [0, -25], g: [[0, 0], g] };
    const change = 1 / (1 + Math.exp(-5)) - 1 / (1 + Math.exp(-30));
    expect(estimates(row).each[1]).toBeCloseTo(change * (g[1] - g[0]), 6);
    expectAsInFloat64(row);
  });

  it("adds up over the query heads that read a kv-head", () => {
    // Two heads on one kv-head, each with its own gradient: the estimate is linear in g, so it is that of g₁ + g₂.
    const T = 3;
    const mask = causalMask(T);
    const q = tf.ones([1, 2, T, 1]) as tf.Tensor4D;
    const k = tf.tensor4d([1, -2, 3], [1, 1, T, 1]);
    const pattern = attentionPattern(attentionScores(q, k), mask);
    const g1 = ALTERNATING(T).flat();
    const g2 = g1.map((x, i) => x * 0.5 + (i % 2));
    const fixed = fixAttention({ q, k, pattern }, { k: tf.tensor4d([4, -5, 6], [1, 1, T, 1]) }, mask, BOTH);
    const both = fixedEstimates(fixed, tf.tensor([...g1, ...g2], [1, 1, 2, T, T]), 1, BOTH).k;
    const sum = g1.map((x, i) => x + g2[i]);
    const rows = (g: number[]) => [g.slice(0, 3), g.slice(3, 6), g.slice(6)];
    const alone = estimates({ keys: [1, -2, 3], change: [4, -5, 6], g: rows(sum) });
    [...(both?.each?.dataSync() ?? [])].forEach((value, s) => {
      expect(value).toBeCloseTo(alone.each[s], 5);
    });
    expect(both?.everywhere?.dataSync()[0]).toBeCloseTo(alone.everywhere ?? Number.NaN, 5);
  });
});

describe("all keys at once", () => {
  it("recomputes each row with every key replaced", () => {
    const row = { keys: [1, 50, -3, 20], change: [60, -70, 2, 10], g: ALTERNATING(4) };
    const moved = row.keys.map((score, s) => score + row.change[s]);
    const wanted = row.g.reduce(
      (sum, g, t) => sum + rowEffect(row.keys.slice(0, t + 1), moved.slice(0, t + 1), g.slice(0, t + 1)),
      0,
    );
    expect(estimates(row).everywhere).toBeCloseTo(wanted, 5);
  });
});

describe("query nodes", () => {
  it("recomputes the row of the replaced query, saturated or not", () => {
    // Keys ±40 and 0 of width 1; queries go from 1 to −1, so that the row turns from key 0 to key 1.
    const T = 3;
    const mask = causalMask(T);
    const q = tf.ones([1, 1, T, 1]) as tf.Tensor4D;
    const keys = [40, -40, 0];
    const k = tf.tensor4d(keys, [1, 1, T, 1]);
    const pattern = attentionPattern(attentionScores(q, k), mask);
    const g = ALTERNATING(T);
    const dq = tf.fill([1, 1, T, 1], -2);
    const fixed = fixAttention({ q, k, pattern }, { q: dq }, mask, BOTH);
    const got = fixedEstimates(fixed, tf.tensor(g.flat(), [1, 1, 1, T, T]), 1, BOTH).q;
    const wanted = g.map((row, t) =>
      rowEffect(
        keys.slice(0, t + 1),
        keys.slice(0, t + 1).map((score) => -score),
        row.slice(0, t + 1),
      ),
    );
    [...(got?.each?.dataSync() ?? [])].forEach((value, t) => {
      expect(value).toBeCloseTo(wanted[t], 5);
    });
    expect(got?.everywhere?.dataSync()[0]).toBeCloseTo(
      wanted.reduce((sum, x) => sum + x, 0),
      5,
    );
  });
});

describe("sigmoidChange", () => {
  it("has float32's relative precision for any x and δ", () => {
    const number = fc.float({ min: -80, max: 80, noNaN: true });
    const tiny = fc.float({ min: -(2 ** -17), max: 2 ** -17, noNaN: true });
    fc.assert(
      fc.property(number, fc.oneof(number, tiny), (x, delta) => {
        const got = sigmoidChange(
          tf.tensor4d([x], [1, 1, 1, 1]),
          tf.tensor4d([delta], [1, 1, 1, 1]),
        ).dataSync()[0];
        // σ(x + δ) − σ(x) = expm1(δ)/((1 + e^{x + δ})·(1 + e^{−x})), in which nothing cancels in float64 either.
        const wanted = Math.expm1(delta) / ((1 + Math.exp(x + delta)) * (1 + Math.exp(-x)));
        if (Math.abs(wanted) < 1e-30) return; // near the smallest float32
        // Rounding x + δ to float32 moves it by up to 160·2⁻²⁴ = 1e-5, and the tail of σ by as much, relatively.
        expect(Math.abs(got / wanted - 1)).toBeLessThan(2e-5);
      }),
    );
  });
});
