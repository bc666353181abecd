/**
 * @file Looking more than once. Who samples until the bound is small enough, looking at it again and again at level α, will be
 * wrong more often than α. Here look j has the level
 *
 *   α_j = α / (j(j + 1)),   Σ_j α_j = α
 *
 * so that by the union bound all bounds of all looks hold at once with probability 1 − α, however many looks there are and
 * whatever one does after seeing some: stop, go on, or begin a round of sampling with other nodes as the next look.
 *
 * Looks come at doubled numbers of samples. That keeps them few: the price of the 5th look, after 16 times the samples of the
 * first, is a quantile of 3.40 in place of 2.33 at 99 % confidence. A confidence sequence, which holds at every sample, costs about
 * as much: the boundaries of Howard, Ramdas, McAuliffe & Sekhon 2021 (Annals of Statistics 49(2), "stitching") are this same
 * union bound over epochs that grow geometrically, and a bound within an epoch on top.
 */

import { InputError } from "../errors.js";

/**
 * The level of a look.
 * @param look from 1
 * @throws InputError for a look that is not a positive integer
 */
export function levelOfLook(alpha: number, look: number): number {
  return alpha / shareOfLook(look);
}

/**
 * A look's p-value as one of the whole procedure: below α just where it was below the look's level.
 * @throws InputError as `levelOfLook` does
 */
export function pValueOfLook(pValue: number, look: number): number {
  return Math.min(1, pValue * shareOfLook(look));
}

function shareOfLook(look: number): number {
  if (!Number.isInteger(look) || look < 1) {
    throw new InputError(`levelOfLook: expected a look to be an integer from 1 on, got ${look}`);
  }
  return look * (look + 1);
}

/**
 * How many samples there are at each look: doubled, the last one cut to the most there may be.
 * @throws InputError for numbers that are not positive integers, or a first one that is larger than the most
 */
export function* sampleSizesOfLooks(first: number, most: number): Generator<number> {
  if (!(Number.isInteger(first) && first > 0 && Number.isInteger(most) && first <= most)) {
    throw new InputError(
      `sampleSizesOfLooks: expected a positive integer of samples and at least as many at most, got ${first} and ${most}`,
    );
  }
  let size = first;
  for (; size < most; size *= 2) yield size;
  yield most;
}
