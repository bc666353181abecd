/**
 * @file Estimates of each prompt pair by itself, for the control variate. A ranked list keeps sums over pairs only, and those
 * explain little of what differs from sample to sample: effects of a node differ between pairs, in sign too. On the demo
 * model R² is 0.1 with mean estimates and 0.84 to 0.99 with those of the pair.
 *
 * Takes a second backward sweep (3 forward equivalents a pair), and 4 bytes per node and pair. An estimate that was asked
 * for `byPair` has them already.
 */

import { estimateBy } from "../atpstar/estimate.js";
import type { ExactOptions } from "../exact/patch-sets.js";
import type { Model } from "../model/model.js";
import type { NodeSpace } from "../nodes/node-space.js";
import type { Pair } from "../prompts/pair.js";

export interface PairEstimates {
  /** By pair: signed estimates of all nodes of the space; NaN where the pair lacks the node's position or role. */
  readonly byPair: readonly Float32Array[];
  readonly forwardEquivalents: number;
}

/**
 * Signed estimates on every pair, QK-fixed: those that `estimateBy` averages over pairs. Products of a batch round otherwise
 * than those of one pair, so they depend on the batch size in the last bits of a float32.
 * @throws as `estimateBy` does
 */
export async function estimatesByPair(
  model: Model,
  pairs: readonly Pair[],
  space: NodeSpace,
  options: ExactOptions,
): Promise<PairEstimates> {
  const { byPair, forwardEquivalents } = await estimateBy("atp+qkfix", model, pairs, {
    ...options,
    space,
    byPair: true,
  });
  if (!byPair) throw new Error("estimatesByPair: expected estimates by pair, got none");
  return { byPair, forwardEquivalents };
}
