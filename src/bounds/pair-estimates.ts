/**
 * @file Estimates of each prompt pair by itself, for the control variate. A ranked list keeps sums over pairs only, and those
 * explain little of what differs from sample to sample: effects of a node differ between pairs, in sign too. On the demo
 * model R² is 0.1 with mean estimates and 0.84 to 0.99 with those of the pair.
 *
 * Takes a second backward sweep (3 forward equivalents a pair), and 4 bytes per node and pair.
 */

import { estimateBy } from "../atpstar/estimate.js";
import type { ExactOptions } from "../exact/patch-sets.js";
import type { Model } from "../model/model.js";
import type { NodeSpace } from "../nodes/node-space.js";
import type { Pair } from "../prompts/pair.js";
import { nextBatch } from "../run-control.js";

export interface PairEstimates {
  /** By pair: signed estimates of all nodes of the space. */
  readonly byPair: readonly Float32Array[];
  readonly forwardEquivalents: number;
}

/**
 * Signed estimates on every pair, QK-fixed: those that `estimateBy` averages over pairs.
 * @throws as `estimateBy` does
 */
export async function estimatesByPair(
  model: Model,
  pairs: readonly Pair[],
  space: NodeSpace,
  { onProgress, ...options }: ExactOptions,
): Promise<PairEstimates> {
  const byPair: Float32Array[] = [];
  let forwardEquivalents = 0;
  for (const pair of pairs) {
    await nextBatch(options.signal);
    const { scores, ...run } = await estimateBy("atp+qkfix", model, [pair], { ...options, space });
    byPair.push(Float32Array.from(scores.sum));
    forwardEquivalents += run.forwardEquivalents;
    onProgress?.({ stage: "estimate", done: byPair.length, total: pairs.length });
  }
  return { byPair, forwardEquivalents };
}
