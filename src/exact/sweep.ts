/**
 * @file Sweeps: several metrics of every pair's run with each single node patched.
 */

import type { Model } from "../model/model.js";
import type { NodeSet, NodeSpace } from "../nodes/node-space.js";
import type { Pair } from "../prompts/pair.js";
import { type PatchOptions, patchSets } from "./patch-sets.js";
import type { PatchedRuns } from "./patched-runs.js";

/**
 * @param nodes patched one by one
 * @returns the patched values lie in [pairs, nodes]
 * @throws InputError for no pairs, or pairs that lack a metric's tokens
 * @throws RunError if a metric of a run is not finite
 */
export async function sweepNodes(
  model: Model,
  pairs: readonly Pair[],
  space: NodeSpace,
  nodes: NodeSet,
  options: PatchOptions,
): Promise<PatchedRuns> {
  const sets = Array.from(nodes, (node) => Uint32Array.of(node));
  return await patchSets(model, pairs, space, sets, options);
}
