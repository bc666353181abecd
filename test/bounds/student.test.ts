/** The t distribution, against SciPy 1.x: scipy.stats.t.ppf and .sf. */

import { describe, expect, it } from "vitest";
import { studentQuantile, studentTail } from "../../src/bounds/distributions.js";

/** Of jStat: 4e-8. */
const RELATIVE = 1e-7;

describe("studentQuantile", () => {
  it.each([
    [0.9, 1, 3.0776835371752544],
    [0.95, 5, 2.0150483733330233],
    [0.99, 29, 2.4620213601504126],
    [0.99, 31.7, 2.4498927854239674],
    [0.995, 99, 2.626405457280827],
    [0.9995, 250.3, 3.3298195449190104],
    [0.99976, 1000, 3.5032257504609645],
    [0.999, 9999, 3.091047597579455],
  ])("of %d with %d degrees of freedom", (probability, df, wanted) => {
    expect(Math.abs(studentQuantile(probability, df) / wanted - 1)).toBeLessThan(RELATIVE);
  });
});

describe("studentTail", () => {
  it.each([
    [0, 3, 0.5],
    [1, 2.5, 0.20203051363913682],
    [2.33, 40, 0.01246887953149707],
    [-1.5, 12, 0.9202712482433966],
    [6, 35.5, 3.6607895238839406e-7],
    [12, 1000, 2.1620286933872145e-31],
  ])("above %d with %d degrees of freedom", (x, df, wanted) => {
    expect(Math.abs(studentTail(x, df) / wanted - 1)).toBeLessThan(RELATIVE);
  });
});
