/** @file A random subset of pairs, the same one for the same seed. */

import { uniformInt } from "pure-rand/distribution/uniformInt";
import { mersenne } from "pure-rand/generator/mersenne";
import { InputError } from "../errors.js";
import { checkLimit, LIMITS } from "../limits.js";
import type { Pair } from "./pair.js";

/**
 * A uniform random sample without replacement, in the order of `pairs`; all of them where `count` is at least their
 * number.
 *
 * @param count how many pairs, at least 1
 * @param seed an int32; the same seed always gives the same sample
 * @throws InputError for a count that is not a positive integer or a seed that is not an int32
 */
export function samplePairs(pairs: readonly Pair[], count: number, seed: number): Pair[] {
  if (!Number.isInteger(count) || count < 1) {
    throw new InputError(`samplePairs: expected count to be a positive integer, got ${count}`);
  }
  checkLimit("samplePairs", "count", count, LIMITS.pairs);
  // The generator uses the low 32 bits only: two seeds that look different would be the same one.
  if ((seed | 0) !== seed) {
    throw new InputError(`samplePairs: expected seed to be an integer from -2^31 to 2^31 - 1, got ${seed}`);
  }
  // Mersenne scrambles its seed. Xoroshiro starts with it: its first draws for seeds 0, 1, 2, … are neighbours.
  const random = mersenne(seed);
  // Selection sampling (Knuth, Algorithm S): in order, keep each with probability needed / left.
  let needed = count;
  return pairs.filter((_, i) => {
    const left = pairs.length - i;
    const keep = uniformInt(random, 1, left) <= needed;
    if (keep) needed--;
    return keep;
  });
}
