/** @file How close float32 results must come to float64 references (design: estimates 1e-4 relative, effects 1e-4 of the span). */

/** Relative error of a vector of estimates: float32 arithmetic through a few layers stays well below. */
export const ESTIMATE_TOLERANCE = 1e-4;

/** Error of an exact effect as a part of the metric's span |source − base|. */
export const EXACT_TOLERANCE = 1e-4;
