/**
 * @file A system of real patched runs: every one of the 2^N subsets of N nodes is patched once on every prompt pair. A subset is
 * the number whose bit i says whether node i is in it.
 */

import { estimateBy } from "../../src/atpstar/estimate.js";
import { exactEffects } from "../../src/exact/patch-sets.js";
import type { Model } from "../../src/model/model.js";
import type { NodeSpace } from "../../src/nodes/node-space.js";
import { meanEffect } from "../../src/nodes/score-table.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import type { Pair } from "../../src/prompts/pair.js";
import type { KnownSystem } from "./system.js";

/** More nodes than this would be more than a million runs per prompt pair. */
const MOST_NODES = 20;

/** Patches every subset of the nodes by noising, and takes AtP estimates for a control variate. */
export async function tabledSystem(
  name: string,
  model: Model,
  pairs: readonly Pair[],
  space: NodeSpace,
  nodes: Uint32Array,
): Promise<KnownSystem> {
  if (nodes.length > MOST_NODES) {
    throw new Error(`tabledSystem: expected at most ${MOST_NODES} nodes, got ${nodes.length}`);
  }
  const options = { metric: metricByName("logit-diff"), direction: "noising" as const, batchSize: 8 };
  const subsets = {
    length: 2 ** nodes.length,
    at: (subset: number) => nodes.filter((_, row) => (subset >> row) & 1),
  };
  const { effects } = await exactEffects(model, pairs, space, subsets, options);
  const { scores } = await estimateBy("atp", model, pairs, { ...options, space });
  const estimates = Float64Array.from(nodes, (node) => meanEffect(scores, node));
  return systemOfTable(name, Float64Array.from(effects), nodes.length, estimates);
}

/** @param effects [pairs, 2^nodes] row-major */
export function systemOfTable(
  name: string,
  effects: Float64Array,
  nodes: number,
  estimates: Float64Array,
): KnownSystem {
  const subsets = 2 ** nodes;
  const pairs = effects.length / subsets;
  const means = Float64Array.from({ length: subsets }, (_, subset) => {
    let sum = 0;
    for (let pair = 0; pair < pairs; pair++) sum += effects[pair * subsets + subset];
    return sum / pairs;
  });
  return {
    name,
    nodes,
    pairs,
    estimates,
    singles: Float64Array.from({ length: nodes }, (_, row) => means[1 << row] - means[0]),
    effect(pair, rows) {
      let subset = 0;
      for (const row of rows) subset |= 1 << row;
      return effects[pair * subsets + subset];
    },
    averageMarginals: (probability) => averageMarginals(means, nodes, probability),
  };
}

/** m(n) = Σ over subsets S without n of P(S)·(mean effect of S ∪ {n} − mean effect of S) */
function averageMarginals(means: Float64Array, nodes: number, probability: number): Float64Array {
  return Float64Array.from({ length: nodes }, (_, row) => {
    let marginal = 0;
    for (let subset = 0; subset < means.length; subset++) {
      if ((subset >> row) & 1) continue;
      const size = bitsOf(subset);
      const chance = probability ** size * (1 - probability) ** (nodes - 1 - size);
      marginal += chance * (means[subset | (1 << row)] - means[subset]);
    }
    return marginal;
  });
}

function bitsOf(subset: number): number {
  let count = 0;
  for (let rest = subset; rest > 0; rest &= rest - 1) count++;
  return count;
}
