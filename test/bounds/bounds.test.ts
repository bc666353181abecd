/** The report of subset sampling. */

import { describe, expect, it } from "vitest";
import { boundsOf, samplesNeeded } from "../../src/bounds/bounds.js";
import { type SubsetDesign, subsetRows } from "../../src/bounds/design.js";
import { studentQuantile } from "../../src/bounds/distributions.js";
import { maximumBound, maximumPValue } from "../../src/bounds/maximum.js";
import { SubsetMoments } from "../../src/bounds/moments.js";
import { InputError } from "../../src/errors.js";

const DESIGN: SubsetDesign = { nodes: Uint32Array.of(4, 7, 8), probability: 0.25, seed: 5 };
const EFFECTS = [0.3, -2, 0.1];
/** Of an interaction of the last two. */
const TOGETHER = 0.2;

function sampled(samples: number, estimates?: readonly number[]): SubsetMoments {
  const moments = new SubsetMoments(DESIGN, 1, estimates && [Float64Array.from(estimates)]);
  for (let sample = 0; sample < samples; sample++) {
    const rows = [...subsetRows(DESIGN, sample)];
    const both = rows.includes(1) && rows.includes(2);
    moments.add(rows.reduce((sum, row) => sum + EFFECTS[row], both ? TOGETHER : 0));
  }
  return moments;
}

const QUESTION = { confidences: [0.9, 0.99], thresholds: [1.5, 2.5] };

describe("boundsOf", () => {
  it("names the node, and is below a threshold at the confidence reached", () => {
    const moments = sampled(400);
    const { plain, controlled, samples, together } = boundsOf(moments, QUESTION);
    expect([samples, together, controlled]).toEqual([400, 400 / 16, undefined]);
    expect(plain.nodesWithoutBound).toBe(0);
    plain.maxima.forEach(({ confidence, bound, node }, c) => {
      expect(confidence).toBe(QUESTION.confidences[c]);
      expect(node).toBe(7);
      expect(bound).toBe(maximumBound(moments.plain, 1 - confidence).bound);
      // m = −2 + 0.25·0.2
      expect(bound).toBeGreaterThan(1.95);
      expect(bound).toBeLessThan(2.1);
    });
    const [low, high] = plain.thresholds;
    expect(low.pValue).toBeGreaterThan(0.99);
    expect(low.samplesNeeded).toEqual([Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]);
    expect(high.pValue).toBe(maximumPValue(moments.plain, 2.5));
    expect(high.confidence).toBe(1 - high.pValue);
    expect(high.confidence).toBeGreaterThan(0.999);
  });

  it("needs fewer samples with estimates that are nearly right", () => {
    const moments = sampled(400, [0.2, -1.9, 0.1]);
    // What the plain bound is now, so that it needs the samples that there are.
    const { bound: now } = maximumBound(moments.plain, 0.01);
    const { plain, controlled } = boundsOf(moments, { ...QUESTION, thresholds: [2.5, now] });
    expect(controlled?.rSquared).toBeGreaterThan(0.9);
    controlled?.maxima.forEach(({ bound }, c) => {
      expect(bound).toBeLessThan(plain.maxima[c].bound);
      expect(bound).toBeGreaterThan(1.95);
    });
    const [needed, neededPlain] = [controlled, plain].map((of) => of?.thresholds[1].samplesNeeded[1] ?? 0);
    expect(neededPlain).toBeGreaterThan(300);
    expect(needed).toBeLessThan(neededPlain / 2);
  });

  it("gives a look its share of the level", () => {
    const moments = sampled(400);
    const third = boundsOf(moments, { ...QUESTION, look: 3 }).plain;
    expect(third.maxima[1].bound).toBeCloseTo(maximumBound(moments.plain, 0.01 / 12).bound, 10);
    const pValue = maximumPValue(moments.plain, 2.1);
    expect(boundsOf(moments, { ...QUESTION, thresholds: [2.1], look: 3 }).plain.thresholds[0].pValue).toBe(
      Math.min(1, 12 * pValue),
    );
  });

  it("has no bound while a node has too few samples", () => {
    const moments = sampled(60);
    const { plain } = boundsOf(moments, QUESTION);
    expect(plain.nodesWithoutBound).toBeGreaterThan(0);
    expect(plain.maxima.map(({ bound }) => bound)).toEqual([
      Number.POSITIVE_INFINITY,
      Number.POSITIVE_INFINITY,
    ]);
    // As many as give the rarest node 30, if it goes on as it began.
    const rarest = Math.min(...[0, 1, 2].map((row) => moments.plain.statistics(row).inside));
    const needed = Math.ceil((60 * 30) / rarest);
    expect(plain.thresholds[1]).toEqual({
      threshold: 2.5,
      pValue: 1,
      confidence: 0,
      samplesNeeded: [needed, needed],
    });
  });

  it("refuses a confidence of 1 and a threshold of 0", () => {
    const moments = sampled(40);
    expect(() => boundsOf(moments, { confidences: [1], thresholds: [] })).toThrow(InputError);
    expect(() => boundsOf(moments, { confidences: [], thresholds: [0] })).toThrow(InputError);
  });
});

describe("samplesNeeded", () => {
  const of = (difference: number, standardError: number) => ({
    size: 1,
    statistics: () => ({
      difference,
      standardError,
      degreesOfFreedom: 100,
      skewness: 0,
      inside: 100,
      outside: 100,
    }),
  });
  // One node: w is the quantile at 1 − 1/2, which is 0.
  it("follows the square root", () => {
    const t = studentQuantile(0.95, 100);
    expect(samplesNeeded(of(0, 0.1), 1000, 0.05, 0.05)).toBe(Math.ceil(1000 * (t * 2) ** 2));
    expect(samplesNeeded(of(0.03, 0.1), 1000, 0.05, 0.05)).toBe(Math.ceil(1000 * (t * 5) ** 2));
    expect(samplesNeeded(of(-0.06, 0.1), 1000, 0.05, 0.05)).toBe(Number.POSITIVE_INFINITY);
  });
  it("is not less than what gives every node a bound", () => {
    // Of 100 in the smaller group 30 are needed.
    expect(samplesNeeded(of(0, 0.001), 1000, 1, 0.05)).toBe(300);
  });
  it("is the number there is where the bound is the threshold", () => {
    const series = of(0.3, 0.05);
    const { bound } = maximumBound(series, 0.01);
    expect(Math.abs(samplesNeeded(series, 1000, bound, 0.01) - 1000)).toBeLessThan(2);
  });
});
