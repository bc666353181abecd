import { describe, expect, it } from "vitest";
import { meanOf, ratioOfMeans, standardErrorOf } from "../../src/exact/pair-statistics.js";

describe("statistics over pairs", () => {
  it("mean and standard error", () => {
    expect(meanOf([1, 2, 6])).toBe(3);
    // Squared deviations 4 + 1 + 9 = 14, over 3·2.
    expect(standardErrorOf([1, 2, 6])).toBeCloseTo(Math.sqrt(14 / 6), 12);
    expect(standardErrorOf([1])).toBeUndefined();
    expect(meanOf([])).toBeNaN();
  });

  it("ratio of means, not mean of ratios, with the error of what x has beyond r·y", () => {
    // r = 1.5/2.5; x − r·y is 0.4 and −0.4; √((0.16 + 0.16)/(2·1)) = 0.4; over ȳ = 2.5.
    const ratio = ratioOfMeans([1, 2], [1, 4]);
    expect(ratio?.ratio).toBeCloseTo(0.6, 12);
    expect(ratio?.se).toBeCloseTo(0.4 / 2.5, 12);
    // An error has no sign.
    expect(ratioOfMeans([1, 2], [-1, -4])?.se).toBeCloseTo(0.4 / 2.5, 12);
    expect(ratioOfMeans([3], [2])).toEqual({ ratio: 1.5 });
    expect(ratioOfMeans([1, 2], [1, -1])).toBeUndefined();
  });
});
