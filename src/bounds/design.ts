/**
 * @file The random subsets of subset sampling: every node of U is in sample r with probability p, independently of all else.
 * The subset depends on the seed and r alone, so it is made when it is needed, and made again instead of kept.
 *
 * A subset costs its own size, not that of U: what is drawn is how many nodes are left out before the next one that is in,
 * which is geometric, ⌊ln u / ln(1 − p)⌋ for u uniform in (0, 1]. Where p > 1/2 the nodes left out are drawn. At p = 1/2 a
 * random bit per node is faster by far.
 *
 * *Complementary* samples: 2k and 2k + 1 are each other's complement, on the same prompt pair. It is not the default.
 * - It needs p = 1/2. The complement of a small subset patches nearly everything: a context in which interactions rule, and
 *   nothing that a researcher asks about. p = 1/2 has some of that in every sample.
 * - What a pair of samples tells of node n is ±(Y(S) − Y(U∖S)). Interactions of an even number of nodes cancel in it, and so
 *   does the mean of the prompt pair. Effects that add up do not: both samples say the same of them, and the second one is
 *   wasted. For effects that only add up it needs twice the samples; it gains where interactions of two nodes are most of the
 *   variance, as they may be once a control variate has taken the additive part away.
 * The two samples are dependent, so the pair of samples is the observation: see matched-samples.ts.
 */

import { createHash } from "node:crypto";
import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { xoroshiro128plusFromState } from "pure-rand/generator/xoroshiro128plus";
import type { RandomGenerator } from "pure-rand/types/RandomGenerator";
import { InputError } from "../errors.js";

export interface SubsetDesign {
  /** U: flat numbers of a node space, ascending. */
  readonly nodes: Uint32Array;
  /** p, the probability that a node is in a subset; more than 0 and less than 1. */
  readonly probability: number;
  /** An int32. Two designs with the same seed have the same subsets: take another one for every round. */
  readonly seed: number;
  /** Whether samples 2k and 2k + 1 are complements; p must be 1/2. Default: no. */
  readonly complementary?: boolean;
}

/**
 * @throws InputError for a probability that is not between 0 and 1, a seed that is not an int32, complementary subsets with
 *   another p than 1/2, no nodes, or nodes that are not in ascending order, each once
 */
export function checkDesign({ nodes, probability, seed, complementary }: SubsetDesign): void {
  if (!(probability > 0 && probability < 1)) {
    throw new InputError(
      `SubsetDesign: expected a probability of more than 0 and less than 1, got ${probability}`,
    );
  }
  if ((seed | 0) !== seed) {
    throw new InputError(`SubsetDesign: expected seed to be an integer from -2^31 to 2^31 - 1, got ${seed}`);
  }
  if (complementary && probability !== 0.5) {
    throw new InputError(
      `SubsetDesign: expected a probability of 0.5 for complementary subsets, got ${probability}`,
    );
  }
  if (nodes.length === 0) throw new InputError("SubsetDesign: expected at least one node, got none");
  for (let row = 1; row < nodes.length; row++) {
    if (nodes[row] > nodes[row - 1]) continue;
    throw new InputError(
      `SubsetDesign: expected nodes in ascending order, each once, got ${nodes[row]} after ${nodes[row - 1]}`,
    );
  }
}

/** The prompt pair that a sample is patched on: each in turn. Complementary samples share theirs. */
export function pairOfSample({ complementary }: SubsetDesign, sample: number, pairs: number): number {
  return (complementary ? Math.floor(sample / 2) : sample) % pairs;
}

/**
 * The subset of a sample.
 * @param sample its number, from 0
 * @returns places in `design.nodes`, ascending
 */
export function subsetRows(design: SubsetDesign, sample: number): Uint32Array {
  const { nodes, probability, seed, complementary } = design;
  const turned = complementary === true && sample % 2 === 1;
  const random = generatorOf(seed, turned ? sample - 1 : sample);
  if (probability === 0.5) {
    const half = drawHalf(nodes.length, random);
    return turned ? otherRows(half, nodes.length) : half;
  }
  const rare = Math.min(probability, 1 - probability);
  const rows = drawRows(nodes.length, rare, random);
  return rare === probability ? rows : otherRows(rows, nodes.length);
}

/** All of the generator's state from a hash: streams of different samples do not meet, as those of 32-bit seeds would. */
function generatorOf(seed: number, sample: number): RandomGenerator {
  const digest = createHash("sha256").update(`${seed} ${sample}`).digest();
  return xoroshiro128plusFromState([0, 4, 8, 12].map((byte) => digest.readInt32LE(byte)));
}

/** Standard deviations of its size that a subset rarely goes beyond. */
const RARE_DEVIATIONS = 5;

function drawRows(size: number, probability: number, random: RandomGenerator): Uint32Array {
  const expected = size * probability;
  const rarely = expected + RARE_DEVIATIONS * Math.sqrt(expected);
  let rows = new Uint32Array(Math.min(size, Math.ceil(rarely) + 1));
  const scale = 1 / Math.log1p(-probability);
  let count = 0;
  for (let row = -1; ; ) {
    row += 1 + Math.floor(Math.log(1 - uniformFloat64(random)) * scale);
    if (row >= size) return rows.slice(0, count);
    if (count === rows.length) {
      const all = new Uint32Array(size);
      all.set(rows);
      rows = all;
    }
    rows[count++] = row;
  }
}

function drawHalf(size: number, random: RandomGenerator): Uint32Array {
  const rows = new Uint32Array(size);
  let count = 0;
  for (let first = 0; first < size; first += 32) {
    let bits = random.next();
    if (size - first < 32) bits &= 2 ** (size - first) - 1;
    while (bits !== 0) {
      const lowest = bits & -bits;
      rows[count++] = first + 31 - Math.clz32(lowest);
      bits ^= lowest;
    }
  }
  return rows.slice(0, count);
}

function otherRows(rows: Uint32Array, size: number): Uint32Array {
  const others = new Uint32Array(size - rows.length);
  let count = 0;
  let next = 0;
  for (let row = 0; row < size; row++) {
    if (row === rows[next]) next++;
    else others[count++] = row;
  }
  return others;
}
