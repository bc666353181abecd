/** @file A sweep with its time and its work. */

import { sweepNodes } from "../src/exact/sweep/sweep.js";
import { forwardFlops } from "../src/model/flops.js";
import type { Model } from "../src/model/model.js";
import type { Site } from "../src/model/sites.js";
import { makeNodeSpace, type NodeSet, type NodeSpace } from "../src/nodes/node-space.js";
import { positionLabels } from "../src/nodes/positions.js";
import { metricByName } from "../src/prompts/metrics/index.js";
import type { Pair } from "../src/prompts/pair.js";

/** What every way of patching is asked for here. */
export const METRIC = metricByName("logit-diff");
export const DIRECTION = "noising";

export interface TimedSweep {
  readonly nodes: number;
  readonly seconds: number;
  /** Patched runs: nodes that cannot have an effect need none. */
  readonly runs: number;
  /** Counted, unpatched runs included. */
  readonly flops: number;
  /** FLOPs ÷ those of a full forward pass for each node and each unpatched run. */
  readonly ofFullPasses: number;
  /** Metric of the first pair with each node patched. */
  readonly patched: Float32Array;
}

/** The nodes of one site, at each position of the pairs. */
export function nodesOfSite(
  { config }: Model,
  pairs: readonly Pair[],
  site: Site,
): { space: NodeSpace; nodes: NodeSet } {
  const space = makeNodeSpace(config, [site], positionLabels("each", pairs));
  return { space, nodes: Uint32Array.from({ length: space.size }, (_, node) => node) };
}

/** @param pairs of one length */
export async function timedSweep(
  model: Model,
  pairs: readonly Pair[],
  space: NodeSpace,
  nodes: NodeSet,
): Promise<TimedSweep> {
  let runs = 0;
  const start = performance.now();
  const { metrics, forwardEquivalents } = await sweepNodes(model, pairs, space, nodes, {
    metrics: [METRIC],
    direction: DIRECTION,
    batchSize: pairs.length,
    onProgress: ({ total }) => {
      runs = total;
    },
  });
  const seconds = (performance.now() - start) / 1000;
  const flops = forwardEquivalents * forwardFlops(model.config, pairs[0].clean.length);
  return {
    nodes: nodes.length,
    seconds,
    runs,
    flops,
    ofFullPasses: forwardEquivalents / (pairs.length * (nodes.length + 2)),
    patched: metrics[0].patched.subarray(0, nodes.length),
  };
}
