/** @file The truth that estimates are measured by: exact contributions of every q, k, v, z and neuron node. */

import type { PatchControl } from "../src/exact/patch-sets.js";
import { sweepNodes } from "../src/exact/sweep/sweep.js";
import type { Model } from "../src/model/model.js";
import type { Site } from "../src/model/sites.js";
import type { NodeSpace } from "../src/nodes/node-space.js";
import type { Metric } from "../src/prompts/metrics/metric.js";
import type { Pair } from "../src/prompts/pair.js";

/** What a truth is computed for. */
export const TRUTH_SITES = ["q", "k", "v", "z", "neuron"] as const satisfies readonly Site[];

/** Mean over pairs of the absolute exact effect, for every node of a space; every pair has all of them. */
export async function exactContributions(
  model: Model,
  pairs: readonly Pair[],
  space: NodeSpace,
  { metric, ...control }: PatchControl & { readonly metric: Metric },
): Promise<Float64Array> {
  const nodes = Uint32Array.from({ length: space.size }, (_, node) => node);
  const { metrics } = await sweepNodes(model, pairs, space, nodes, { ...control, metrics: [metric] });
  const [{ patched, base }] = metrics;
  const contributions = new Float64Array(space.size);
  patched.forEach((value, at) => {
    contributions[at % space.size] += Math.abs(value - base[Math.floor(at / space.size)]) / pairs.length;
  });
  return contributions;
}
