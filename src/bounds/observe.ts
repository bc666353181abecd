/** @file The patched runs of subset sampling: each sample's subset on its own prompt pair. */

import { InputError } from "../errors.js";
import type { NodeSets } from "../exact/node-sets.js";
import { type ExactOptions, patchSets } from "../exact/patch-sets.js";
import type { Model } from "../model/model.js";
import type { NodeSpace } from "../nodes/node-space.js";
import { spanInPair } from "../nodes/positions.js";
import type { Pair } from "../prompts/pair.js";
import { pairOfSample, type SubsetDesign, subsetRows } from "./design.js";

export interface SampleEffects {
  /** In the order of the samples: M(base run of the sample's pair with its subset patched) − M(base run). */
  readonly effects: Float64Array;
  readonly forwardEquivalents: number;
}

/**
 * Runs samples `first` … `end − 1` of a design.
 *
 * @param pairs every one of them has all nodes of the space
 * @throws InputError for pairs that lack nodes, or as `exactEffects` does
 * @throws RunError if the metric of a run is not finite
 */
export async function observeSamples(
  model: Model,
  pairs: readonly Pair[],
  space: NodeSpace,
  design: SubsetDesign,
  { first, end }: { readonly first: number; readonly end: number },
  { metric, ...control }: ExactOptions,
): Promise<SampleEffects> {
  checkComplete(space, pairs);
  const count = end - first;
  const pairOf = (set: number) => pairOfSample(design, first + set, pairs.length);
  const sets: NodeSets = {
    length: count,
    at: (set) => subsetRows(design, first + set).map((row) => design.nodes[row]),
    pairOf,
  };
  const { onProgress } = control;
  const { metrics, forwardEquivalents } = await patchSets(model, pairs, space, sets, {
    ...control,
    metrics: [metric],
    ...(onProgress && { onProgress: ({ done, total }) => onProgress({ stage: "sample", done, total }) }),
  });
  const [{ patched, base }] = metrics;
  const effects = Float64Array.from({ length: count }, (_, set) => {
    const pair = pairOf(set);
    return patched[pair * count + set] - base[pair];
  });
  return { effects, forwardEquivalents };
}

/**
 * A node that only some pairs have would have an average marginal effect over those alone.
 * @throws InputError naming the pair and the position or role that it lacks
 */
export function checkComplete({ labels }: NodeSpace, pairs: readonly Pair[]): void {
  for (const pair of pairs) {
    const missing = labels.find((label) => spanInPair(label, pair) === undefined);
    if (missing === undefined) continue;
    throw new InputError(
      `checkComplete: ${pair.origin}: expected pairs that have every position of the nodes, got one without ${missing}: ` +
        'use positions "roles" or "all", or pairs of one length',
    );
  }
}
