/** @file The distributions that bounds are made of, by jStat: within 4e-8 of SciPy's wherever they are used here. */

import jstat from "jstat";

const { studentt, beta } = jstat.jStat;

/** The value that a t-distributed number stays below with a probability. */
export function studentQuantile(probability: number, degreesOfFreedom: number): number {
  return studentt.inv(probability, degreesOfFreedom);
}

/** The probability that a t-distributed number is above x. */
export function studentTail(x: number, degreesOfFreedom: number): number {
  return studentt.cdf(-x, degreesOfFreedom);
}

/** The value that a beta-distributed number stays below with a probability. */
export function betaQuantile(probability: number, alpha: number, betaParameter: number): number {
  return beta.inv(probability, alpha, betaParameter);
}
