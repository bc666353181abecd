/**
 * @file Random subsets of the nodes patched jointly; each node's score is the difference of the mean effect of the subsets
 * with it and of those without it. Then single nodes are verified in the order of the scores. Source: Kramár et al. 2024.
 *
 * Subset r is patched on pair r mod B, and a pair's effects are taken from their mean, so that pairs of different effects
 * do not add to the noise. The score is absolute after the mean over pairs: with a few subsets per pair, the absolute
 * differences of single pairs would be noise all over.
 */

import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { mersenne } from "pure-rand/generator/mersenne";
import type { NodeSets } from "../../src/exact/node-sets.js";
import { patchSets } from "../../src/exact/patch-sets.js";
import { type NodeSet, visitNodes } from "../../src/nodes/node-space.js";
import { spanInPair } from "../../src/nodes/positions.js";
import { CostCounter } from "./cost-counter.js";
import { bestFirst, costsOfSets, type Study, sumOf } from "./study.js";

export interface SubsetOptions {
  /** With which a node is in a subset, each by itself. */
  readonly probability: number;
  readonly seed: number;
}

/** Patched subsets, from which orders for several budgets can be made. */
export interface PatchedSubsets {
  readonly sets: NodeSets & { readonly pairOf: (subset: number) => number };
  /** Metric of the patched run − metric of the base run, per subset. */
  readonly effects: Float64Array;
}

/** Every subset is made from its number alone, so none has to be kept. */
export function randomSubsets(
  { pairs, space, candidates }: Pick<Study, "pairs" | "space" | "candidates">,
  count: number,
  { probability, seed }: SubsetOptions,
): PatchedSubsets["sets"] {
  const ofPairs = pairs.map((pair) => {
    const has: boolean[] = [];
    visitNodes(space, candidates, (_group, p) => has.push(spanInPair(space.labels[p], pair) !== undefined));
    return candidates.filter((_, place) => has[place]);
  });
  const pairOf = (subset: number) => subset % pairs.length;
  return {
    length: count,
    pairOf,
    at: (subset) => drawn(ofPairs[pairOf(subset)], probability, mersenne(seed + subset)),
  };
}

/** The gaps between nodes that are in the subset are geometric: a draw per node that is in, instead of one per node. */
function drawn(nodes: NodeSet, probability: number, random: ReturnType<typeof mersenne>): NodeSet {
  const inside: number[] = [];
  const gap = () => Math.floor(Math.log1p(-uniformFloat64(random)) / Math.log1p(-probability));
  for (let at = gap(); at < nodes.length; at += 1 + gap()) inside.push(nodes[at]);
  return Uint32Array.from(inside);
}

/** Patches all subsets, each on its pair. */
export async function patchSubsets(
  { model, pairs, space, control }: Omit<Study, "truth">,
  sets: PatchedSubsets["sets"],
): Promise<PatchedSubsets> {
  const { metric, ...options } = control;
  const { metrics } = await patchSets(model, pairs, space, sets, { ...options, metrics: [metric] });
  const [{ patched, base }] = metrics;
  const effects = Float64Array.from({ length: sets.length }, (_, subset) => {
    const pair = sets.pairOf(subset);
    return patched[pair * sets.length + subset] - base[pair];
  });
  return { sets, effects };
}

/**
 * |mean of the effects of subsets with a node − mean of those without|, effects being centred by pair; NaN where a node is
 * in none or in all.
 * @param budget the first so many subsets
 */
export function differencesOfMeans(
  { pairs, space, candidates }: Pick<Study, "pairs" | "space" | "candidates">,
  { sets, effects }: PatchedSubsets,
  budget: number,
): Float64Array {
  const [sumOfPair, subsetsOfPair] = [new Float64Array(pairs.length), new Uint32Array(pairs.length)];
  for (let subset = 0; subset < budget; subset++) {
    sumOfPair[sets.pairOf(subset)] += effects[subset];
    subsetsOfPair[sets.pairOf(subset)]++;
  }
  const placeOf = new Int32Array(space.size).fill(-1);
  candidates.forEach((node, place) => {
    placeOf[node] = place;
  });
  const [sumWith, countWith] = [new Float64Array(candidates.length), new Uint32Array(candidates.length)];
  for (let subset = 0; subset < budget; subset++) {
    const pair = sets.pairOf(subset);
    const centred = effects[subset] - sumOfPair[pair] / subsetsOfPair[pair];
    for (const node of sets.at(subset) ?? []) {
      sumWith[placeOf[node]] += centred;
      countWith[placeOf[node]]++;
    }
  }
  const differences = new Float64Array(candidates.length);
  let place = 0;
  visitNodes(space, candidates, (_group, p) => {
    // Centred effects of a pair add up to 0, so those without the node add up to minus those with it.
    const all = subsetsOfPair.reduce(
      (sum, subsets, pair) => (spanInPair(space.labels[p], pairs[pair]) ? sum + subsets : sum),
      0,
    );
    const without = all - countWith[place];
    differences[place] = Math.abs(sumWith[place] / countWith[place] + sumWith[place] / without);
    place++;
  });
  return differences.map((value) => (Number.isFinite(value) ? value : Number.NaN));
}

/** Verifies in the order of the scores that the first `budget` subsets give. */
export function bySubsets(
  study: Omit<Study, "truth">,
  patched: PatchedSubsets,
  budget: number,
  costsOfSubsets = costsOfSets(study, patched.sets),
): CostCounter {
  const { pairs, costs } = study;
  const counter = new CostCounter();
  counter.addUnpatched(pairs.length);
  counter.addPatches(sumOf(costsOfSubsets.slice(0, budget)));
  counter.addUnpatched(pairs.length);
  counter.verifyAll(bestFirst(differencesOfMeans(study, patched, budget)), costs);
  return counter;
}
