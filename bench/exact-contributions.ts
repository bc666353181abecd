/**
 * @file The truth that estimates are measured by: exact contributions of single q, k, v, z and neuron nodes, every one
 * of them by a patched run, but for those that cannot have an effect.
 */

import { type ExactOptions, exactEffects } from "../src/exact/patch-sets.js";
import type { ModelConfig } from "../src/model/config.js";
import type { Model } from "../src/model/model.js";
import type { Site } from "../src/model/sites.js";
import type { NodeSpace } from "../src/nodes/node-space.js";
import { spanInPair } from "../src/nodes/positions.js";
import type { Pair } from "../src/prompts/pair.js";

/** What a truth is computed for. */
export const TRUTH_SITES = ["q", "k", "v", "z", "neuron"] as const satisfies readonly Site[];
export type TruthSite = (typeof TRUTH_SITES)[number];

function isTruthSite(site: Site): site is TruthSite {
  return TRUTH_SITES.some((known) => known === site);
}

/**
 * Whether a node can have an effect at all. It has none
 * - before the first token that differs: it has the same value in both runs;
 * - behind the metric's position: nothing there is seen;
 * - in the first layer, if it is computed from its own token alone and that is the same in both prompts;
 * - in the last layer, if what it changes is its own position's output and the metric reads another one.
 */
export function canHaveEffect(
  { layers, parallelResidual }: Pick<ModelConfig, "layers" | "parallelResidual">,
  { clean, corrupted, metricPosition }: Pick<Pair, "clean" | "corrupted" | "metricPosition">,
  { site, layer, position }: { readonly site: TruthSite; readonly layer: number; readonly position: number },
): boolean {
  const firstChange = clean.findIndex((token, t) => token !== corrupted[t]);
  if (position < firstChange || position > metricPosition) return false;
  const ofItsToken = site !== "z" && (site !== "neuron" || parallelResidual);
  if (layer === 0 && ofItsToken && clean[position] === corrupted[position]) return false;
  const seenByLaterPositions = site === "k" || site === "v";
  return layer < layers - 1 || seenByLaterPositions || position === metricPosition;
}

/**
 * Mean over pairs of the absolute exact effect, for every node of a space.
 * @param pairs of one token length
 * @param space of truth sites at single positions
 */
export async function exactContributions(
  model: Model,
  pairs: readonly Pair[],
  space: NodeSpace,
  options: ExactOptions,
): Promise<Float64Array> {
  const contributions = new Float64Array(space.size);
  for (const pair of pairs) {
    const nodes = nodesWithEffect(model.config, pair, space);
    const sets = nodes.map((node) => Uint32Array.of(node));
    const { effects } = await exactEffects(model, [pair], space, sets, options);
    nodes.forEach((node, i) => {
      contributions[node] += Math.abs(effects[i]) / pairs.length;
    });
  }
  return contributions;
}

function nodesWithEffect(config: ModelConfig, pair: Pair, { groups, labels }: NodeSpace): number[] {
  return groups.flatMap(({ site, layer, indices, offset }) =>
    labels.flatMap((label, p) => {
      const span = spanInPair(label, pair);
      if (!isTruthSite(site) || typeof label !== "number" || !span) {
        throw new Error(
          `nodesWithEffect: expected q, k, v, z and neuron at a position of the pair, got ${site}@${label}`,
        );
      }
      if (!canHaveEffect(config, pair, { site, layer, position: label })) return [];
      return Array.from({ length: indices }, (_, i) => offset + p * indices + i);
    }),
  );
}
