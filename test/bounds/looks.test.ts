import { describe, expect, it } from "vitest";
import { studentQuantile } from "../../src/bounds/distributions.js";
import { levelOfLook, pValueOfLook, sampleSizesOfLooks } from "../../src/bounds/looks.js";
import { InputError } from "../../src/errors.js";

describe("levelOfLook", () => {
  it("is α/2, α/6, α/12, …, and α over all looks together", () => {
    expect([1, 2, 3].map((look) => levelOfLook(0.12, look))).toEqual([0.06, 0.02, 0.01]);
    // Σ_{j ≤ J} 1/(j(j + 1)) = 1 − 1/(J + 1).
    const looks = Array.from({ length: 999 }, (_, j) => levelOfLook(0.01, j + 1));
    expect(looks.reduce((sum, level) => sum + level)).toBeCloseTo(0.01 * (1 - 1 / 1000), 12);
  });

  it("makes the quantile at the fifth look what the file comment says", () => {
    const manyDegrees = 1e7;
    expect(studentQuantile(1 - 0.01, manyDegrees)).toBeCloseTo(2.33, 2);
    expect(studentQuantile(1 - levelOfLook(0.01, 5), manyDegrees)).toBeCloseTo(3.4, 2);
  });

  it.each([0, 1.5, Number.NaN])("refuses look %d", (look) => {
    const message = `levelOfLook: expected a look to be an integer from 1 on, got ${look}`;
    expect(() => levelOfLook(0.01, look)).toThrow(new InputError(message));
    expect(() => pValueOfLook(0.01, look)).toThrow(new InputError(message));
  });
});

describe("pValueOfLook", () => {
  it("is below α just where the p-value is below the look's level", () => {
    expect(pValueOfLook(0.0099, 3)).toBeCloseTo(0.0099 * 12, 12);
    expect(pValueOfLook(0.3, 3)).toBe(1);
  });
});

describe("sampleSizesOfLooks", () => {
  it.each([
    [100, 800, [100, 200, 400, 800]],
    [100, 1000, [100, 200, 400, 800, 1000]],
    [7, 7, [7]],
  ])("from %d to %d", (first, most, wanted) => {
    expect([...sampleSizesOfLooks(first, most)]).toEqual(wanted);
  });

  it.each([
    [0, 5],
    [10, 5],
    [1.5, 5],
    [1, 5.5],
  ])("refuses %d to %d", (first, most) => {
    expect(() => [...sampleSizesOfLooks(first, most)]).toThrow(
      new InputError(
        `sampleSizesOfLooks: expected a positive integer of samples and at least as many at most, got ${first} and ${most}`,
      ),
    );
  });
});
