/** @file Comparing float32 results with float64 references. */

import { expect } from "vitest";

/** Relative error of a vector of estimates: float32 arithmetic through a few layers stays well below (design.md, 7). */
export const ESTIMATE_TOLERANCE = 1e-4;

/** Error of an exact effect as a part of the metric's span |source − base|. */
export const EXACT_TOLERANCE = 1e-4;

/** ‖got − wanted‖ / ‖wanted‖ */
export function relativeError(got: ArrayLike<number>, wanted: ArrayLike<number>): number {
  expect(got.length).toBe(wanted.length);
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < wanted.length; i++) {
    difference += (got[i] - wanted[i]) ** 2;
    norm += wanted[i] ** 2;
  }
  return Math.sqrt(difference / norm);
}

/** max |got − wanted| */
export function largestError(got: ArrayLike<number>, wanted: ArrayLike<number>): number {
  expect(got.length).toBe(wanted.length);
  let largest = 0;
  for (let i = 0; i < wanted.length; i++) largest = Math.max(largest, Math.abs(got[i] - wanted[i]));
  return largest;
}
