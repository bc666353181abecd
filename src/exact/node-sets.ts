/**
 * @file Many sets of nodes, in blocks. Thousands of random halves of a hundred thousand nodes are gigabytes: a caller may
 * make each set when its turn comes, and no more are held than are patched between two unpatched runs of the pairs.
 */

import type { NodeSet } from "../nodes/node-space.js";

/** Sets of nodes by number, each asked for once. An array of sets is one. */
export interface NodeSets {
  readonly length: number;
  /** Defined for 0 … length − 1. */
  at(index: number): NodeSet | undefined;
  /** The only pair that a set is patched on, by its place among the pairs; left out, every set is patched on all of them. */
  pairOf?(index: number): number;
}

/** What a block holds at most, unless it is a single set. */
export interface BlockLimits {
  /** Sets × pairs: planning a patched run takes an object. */
  readonly runs: number;
  /** Of all sets, 4 bytes each. */
  readonly nodes: number;
}

export const BLOCK_LIMITS: BlockLimits = { runs: 2 ** 18, nodes: 2 ** 25 };

/** How many sets have a block to themselves, if they are small. */
export function setsPerBlock(pairs: number, { runs }: BlockLimits = BLOCK_LIMITS): number {
  return Math.max(1, Math.floor(runs / pairs));
}

export interface BlockOfSets {
  /** Number of its first set. */
  readonly first: number;
  readonly sets: readonly NodeSet[];
  /** The only pair of each set, where it has one. */
  readonly pairOf?: readonly number[];
}

/** All sets in their order. */
export function* blocksOfSets(
  sets: NodeSets,
  pairs: number,
  limits: BlockLimits = BLOCK_LIMITS,
): Generator<BlockOfSets> {
  const most = setsPerBlock(sets.pairOf ? 1 : pairs, limits);
  let block: NodeSet[] = [];
  let nodes = 0;
  for (let number = 0; number < sets.length; number++) {
    const set = sets.at(number);
    if (!set) throw new Error(`blocksOfSets: expected ${sets.length} sets, got none at ${number}`);
    if (block.length > 0 && (block.length >= most || nodes + set.length > limits.nodes)) {
      yield blockOf(sets, number - block.length, block);
      block = [];
      nodes = 0;
    }
    block.push(set);
    nodes += set.length;
  }
  if (block.length > 0) yield blockOf(sets, sets.length - block.length, block);
}

function blockOf(all: NodeSets, first: number, sets: readonly NodeSet[]): BlockOfSets {
  return { first, sets, ...(all.pairOf && { pairOf: sets.map((_, s) => all.pairOf?.(first + s) ?? 0) }) };
}
