/**
 * @file A made-up system of hundreds of nodes, so that subsets are as large as they are in use where p is small. Its effects are
 *
 *   Y_x(S) = Σ_{i ∈ S} a_{x,i} + Σ_{i < j ∈ S} b_{ij},     so that   m(i) = mean over x of a_{x,i} + p·Σ_j b_{ij}
 *
 * Effects of nodes are of very different sizes, as they are in models: the i-th largest is 1/i, of either sign, half as large or
 * half as large again on a prompt pair. One pair of nodes in a hundred interacts.
 */

import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";
import type { KnownSystem } from "./system.js";

/** Standard deviation of an interaction: the size of an effect of middling rank. */
const INTERACTION = 0.05;
const INTERACTING_SHARE = 0.01;
/** How wrong an estimate is, as a share of the effect, at most. */
const ESTIMATE_ERROR = 0.5;

export function wideSystem(nodes: number, pairs: number, seed: number): KnownSystem {
  const random = xoroshiro128plus(seed);
  const uniform = () => 2 * uniformFloat64(random) - 1;
  const alone = Float64Array.from({ length: nodes }, (_, row) => Math.sign(uniform()) / (row + 1));
  const onPairs = Array.from({ length: pairs }, () => alone.map((effect) => effect * (1 + uniform() / 2)));
  const singles = alone.map((_, row) => onPairs.reduce((sum, effects) => sum + effects[row] / pairs, 0));
  const interactions = new Float64Array(nodes * nodes);
  for (let i = 0; i < nodes; i++) {
    for (let j = 0; j < i; j++) {
      if (uniformFloat64(random) >= INTERACTING_SHARE) continue;
      const interaction = uniform() * INTERACTION * Math.sqrt(3);
      interactions[i * nodes + j] = interaction;
      interactions[j * nodes + i] = interaction;
    }
  }
  return {
    name: `made up, ${nodes} nodes`,
    nodes,
    pairs,
    singles,
    estimates: singles.map((effect) => effect * (1 + ESTIMATE_ERROR * uniform())),
    effect(pair, rows) {
      let effect = 0;
      for (let a = 0; a < rows.length; a++) {
        effect += onPairs[pair][rows[a]];
        for (let b = 0; b < a; b++) effect += interactions[rows[a] * nodes + rows[b]];
      }
      return effect;
    },
    averageMarginals: (probability) =>
      singles.map((effect, row) => {
        const partners = interactions.subarray(row * nodes, (row + 1) * nodes);
        return effect + probability * partners.reduce((sum, interaction) => sum + interaction, 0);
      }),
  };
}
