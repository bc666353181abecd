/** @file What patched runs will cost at most, before the first of them is made. */

import type { ModelConfig } from "../model/config.js";
import { blockFlops, forwardFlops } from "../model/flops.js";
import { type NodeSet, type NodeSpace, visitNodes } from "../nodes/node-space.js";
import { spanInPair } from "../nodes/positions.js";
import type { Pair } from "../prompts/pair.js";
import { type DrawsOfSource, drawsOf } from "../sources/draws.js";
import { setsPerBlock } from "./node-sets.js";
import { hasWindow, type WindowShape } from "./windows.js";

export interface CostAhead {
  readonly patchedRuns: number;
  /** In forward passes of one prompt, the unpatched runs included. */
  readonly forwardEquivalents: number;
}

export interface PatchesAhead {
  readonly space: NodeSpace;
  /** Nodes that are patched one by one, or the first nodes of windows. */
  readonly starts: NodeSet;
  /** Of the windows. */
  readonly shape?: WindowShape;
  /** Times that each pair is run with each patch; default 1. */
  readonly draws?: number;
}

/** An upper bound: every run counts as all layers from its first node on, at all positions from its first one on. */
export function costAhead(
  config: ModelConfig,
  pairs: readonly Pair[],
  { space, starts, shape, draws = 1 }: PatchesAhead,
): CostAhead {
  const places = space.labels.length;
  const countOf = new Uint32Array(config.layers * places);
  visitNodes(space, starts, ({ layer }, p) => {
    countOf[layer * places + p]++;
  });
  const blocks = shape ? Math.ceil(starts.length / setsPerBlock(draws * pairs.length)) : 1;
  let patchedRuns = 0;
  let forwardEquivalents = 2 * pairs.length * blocks;
  for (const pair of pairs) {
    const T = pair.clean.length;
    space.labels.forEach((label, p) => {
      const span = spanInPair(label, pair);
      if (!span || (shape && !hasWindow(space, shape, p, pair))) return;
      const perLayer = blockFlops(config, T - span.first, T) / forwardFlops(config, T);
      for (let layer = 0; layer < config.layers; layer++) {
        const runs = countOf[layer * places + p];
        patchedRuns += runs;
        forwardEquivalents += runs * (config.layers - layer) * perLayer;
      }
    });
  }
  return { patchedRuns: draws * patchedRuns, forwardEquivalents: draws * forwardEquivalents };
}

/**
 * The same of nodes patched one by one, in forward equivalents.
 * @param nodes default: all of the space
 */
export function costOfNodes(
  config: ModelConfig,
  pairs: readonly Pair[],
  space: NodeSpace,
  { source }: { readonly source?: DrawsOfSource },
  nodes: NodeSet = Uint32Array.from({ length: space.size }, (_, node) => node),
): number {
  return costAhead(config, pairs, { space, starts: nodes, draws: drawsOf(source) }).forwardEquivalents;
}
