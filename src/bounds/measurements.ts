/**
 * @file What a certification has measured, and by whom: in this process, or by the workers of a job. Whoever measures, the same
 * questions get the same numbers, so that a certification that is begun again asks the same ones.
 */

import { partialOfNodes } from "../exact/partial-runs.js";
import type { ExactOptions } from "../exact/patch-sets.js";
import { scoresOfRuns } from "../exact/scores-of-runs.js";
import { sweepNodes } from "../exact/sweep/sweep.js";
import type { Model } from "../model/model.js";
import type { NodeSet, NodeSpace } from "../nodes/node-space.js";
import type { VerifiedNodes } from "../nodes/ranking.js";
import type { Pair } from "../prompts/pair.js";
import type { SubsetDesign } from "./design.js";
import { observeSamples, type SampleEffects } from "./observe.js";
import { estimatesByPair, type PairEstimates } from "./pair-estimates.js";

/** Exact effects, and what they cost. */
export interface VerifiedAtCost {
  readonly verified: VerifiedNodes;
  readonly forwardEquivalents: number;
}

export interface Measurements {
  /** Patches nodes one by one on all pairs. */
  verify(nodes: NodeSet): Promise<VerifiedAtCost>;
  /** Runs samples `first` … `end − 1` of a design. */
  sample(
    design: SubsetDesign,
    samples: { readonly first: number; readonly end: number },
  ): Promise<SampleEffects>;
  /** Signed estimates of all nodes of the space on each pair. */
  estimatesByPair(): Promise<PairEstimates>;
}

/**
 * Measures with a model in this process.
 * @param onPartial told of what was verified of the nodes in hand when the signal stops it
 */
export function measureHere(
  model: Model,
  pairs: readonly Pair[],
  space: NodeSpace,
  exact: ExactOptions,
  onPartial?: (partial: VerifiedAtCost) => Promise<void> | void,
): Measurements {
  const { metric, ...control } = exact;
  return {
    async verify(nodes) {
      const runs = await sweepNodes(model, pairs, space, nodes, {
        ...control,
        metrics: [metric],
        async onStopped(soFar) {
          const partial = partialOfNodes(soFar, pairs, space, nodes);
          if (partial) await onPartial?.(partial);
        },
      });
      const verified = { nodes, scores: scoresOfRuns(runs.metrics[0], nodes.length) };
      return { verified, forwardEquivalents: runs.forwardEquivalents };
    },
    sample: (design, samples) => observeSamples(model, pairs, space, design, samples, exact),
    estimatesByPair: () => estimatesByPair(model, pairs, space, exact),
  };
}
