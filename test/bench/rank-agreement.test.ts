import { describe, expect, it } from "vitest";
import { foundAfter, midRanks, recall, spearman } from "../../bench/rank-agreement.js";

describe("midRanks", () => {
  it("gives equal numbers the mean of their ranks", () => {
    // sorted: 0 0 0 | 2 | 5 5 -> ranks 1 2 3 | 4 | 5 6
    expect([...midRanks([5, 0, 2, 0, 5, 0])]).toEqual([5.5, 2, 4, 2, 5.5, 2]);
  });
});

describe("spearman", () => {
  it("is 1 − 6·Σd²/(n(n² − 1)) without ties", () => {
    // d = 1, 1, 1, 1, 0
    expect(spearman([1, 2, 3, 4, 5], [20, 10, 40, 30, 50])).toBeCloseTo(1 - (6 * 4) / (5 * 24), 14);
  });

  it("is the correlation of the mid-ranks with ties", () => {
    // ranks from their mean: −1 −1 0 2 · 2/2 ... (1.5 1.5 3 4) − 2.5 = −1 −1 0.5 1.5; (1 2.5 2.5 4) − 2.5 = −1.5 0 0 1.5
    expect(spearman([0, 0, 1, 2], [0, 1, 1, 5])).toBeCloseTo((1.5 + 2.25) / Math.sqrt(4.5 * 4.5), 14);
  });

  it("does not depend on the order of the things that are ranked", () => {
    expect(spearman([0, 0, 0, 3], [0, 0, 0, 7])).toBeCloseTo(1, 14);
    expect(spearman([0, 3, 0, 0], [0, 7, 0, 0])).toBeCloseTo(1, 14);
  });

  it("is NaN where nothing is ranked", () => {
    expect(spearman([1, 1], [1, 2])).toBeNaN();
  });

  it("refuses lists of two lengths", () => {
    expect(() => spearman([1], [1, 2])).toThrow("spearman: expected 1 numbers, got 2");
  });
});

describe("recall", () => {
  it("is the share of the true first that are among the candidates", () => {
    const truth = [7, 3, 9, 1];
    const ranked = [3, 8, 9, 7];
    expect(recall(truth, ranked, 2, 2)).toBe(1 / 2);
    expect(recall(truth, ranked, 2, 4)).toBe(1);
    expect(recall(truth, ranked, 4, 4)).toBe(3 / 4);
  });
});

describe("foundAfter", () => {
  it("is the place of the worst-placed one of the true first", () => {
    const truth = [7, 3, 9, 1];
    const ranked = [3, 8, 9, 7, 1];
    // 7 is the fourth, 3 the first, 9 the third, 1 the fifth.
    expect([1, 2, 3, 4].map((top) => foundAfter(truth, ranked, top))).toEqual([4, 4, 4, 5]);
  });

  it("refuses a list that lacks one", () => {
    expect(() => foundAfter([7, 3], [3, 8], 2)).toThrow(
      "foundAfter: expected all of the first 2 to be ranked, got 1 that are not",
    );
  });
});
