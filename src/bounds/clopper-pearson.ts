/** @file The classic bound on a share that is known from a sample. */

import { InputError } from "../errors.js";
import { betaQuantile } from "./distributions.js";

/**
 * Clopper and Pearson's exact upper bound on a share, for draws that do not depend on each other (1934, "The use of
 * confidence or fiducial limits illustrated in the case of the binomial"). It also holds for a sample without replacement,
 * where `hypergeometricUpper` is the sharper one.
 *
 * @param found how many of the sample have the property
 * @param level confidence, such as 0.99
 * @returns 1 if all of the sample have the property, or there is no sample
 * @throws InputError for counts that do not fit together or a level that is not between 0 and 1
 */
export function clopperPearsonUpper(found: number, sampled: number, level: number): number {
  if (!Number.isInteger(found) || !Number.isInteger(sampled) || found < 0 || found > sampled) {
    throw new InputError(
      `clopperPearsonUpper: expected whole numbers 0 ≤ found ≤ sampled, got ${found} of ${sampled}`,
    );
  }
  checkLevel("clopperPearsonUpper", level);
  return found === sampled ? 1 : betaQuantile(level, found + 1, sampled - found);
}

/** @throws InputError in the name of a function if a confidence level is not between 0 and 1 */
export function checkLevel(caller: string, level: number): void {
  if (!(level > 0 && level < 1)) {
    throw new InputError(`${caller}: expected a confidence level between 0 and 1, got ${level}`);
  }
}
