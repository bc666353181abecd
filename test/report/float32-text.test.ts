import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { float32Text } from "../../src/report/float32-text.js";

const float32 = fc.float({ noNaN: true, noDefaultInfinity: true });

/** 2^-126: below it float32 has fewer digits. */
const SMALLEST_NORMAL = 2 ** -126;

describe("float32Text", () => {
  it("writes the digits that people expect", () => {
    expect(float32Text(0.1)).toBe("0.1");
    expect(float32Text(-2.5)).toBe("-2.5");
    expect(float32Text(1 / 3)).toBe("0.33333334");
    expect(float32Text(16777217)).toBe("16777216"); // 2^24 + 1 is no float32
    expect(float32Text(3e-8)).toBe("3e-8");
    expect(float32Text(0)).toBe("0");
    expect(float32Text(Number.NaN)).toBe("NaN");
  });

  it("reads back to the same float32", () => {
    fc.assert(
      fc.property(float32, (value) => {
        expect(Math.fround(Number(float32Text(value)))).toBe(value === 0 ? 0 : value);
      }),
      { numRuns: 2000 },
    );
  });

  it("has no digit more than that needs", () => {
    fc.assert(
      fc.property(float32, (value) => {
        fc.pre(Math.abs(value) >= SMALLEST_NORMAL);
        const digits = float32Text(value)
          .replace(/e.*$/, "")
          .replace(/\D/g, "")
          .replace(/^0+|0+$/g, "").length;
        for (let fewer = 1; fewer < digits; fewer++) {
          expect(Math.fround(Number(value.toPrecision(fewer)))).not.toBe(value);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
