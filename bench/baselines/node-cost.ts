/**
 * @file What it costs to patch a node by itself: the FLOPs that a sweep runs for it, as they are counted in
 * `src/exact/sweep`, were it the only run. In a chunk of many runs the attention is computed on rectangles, which adds a
 * little that depends on the company.
 */

import { canHaveEffect } from "../../src/exact/sweep/plan.js";
import { jointOf } from "../../src/exact/sweep/starts.js";
import type { ModelConfig } from "../../src/model/config.js";
import { forwardFlops, tokenFlops } from "../../src/model/flops.js";
import type { Site } from "../../src/model/sites.js";
import { type NodeSet, type NodeSpace, visitNodes } from "../../src/nodes/node-space.js";
import { type Span, spanInPair } from "../../src/nodes/positions.js";
import type { Pair } from "../../src/prompts/pair.js";
import type { Cost } from "./cost-counter.js";

const sizeOf = ({ first, end }: Span) => Math.max(0, end - first);

/** One patched run of a node that can have an effect. */
export function flopsOfNode(
  config: ModelConfig,
  metricPosition: number,
  { site, layer, span }: { readonly site: Site; readonly layer: number; readonly span: Span },
): number {
  const { query, keyValue, output, mlp, perKey } = tokenFlops(config);
  const keys = metricPosition + 1;
  const wantedIn = (l: number, { first }: Span): Span => ({
    first: l === config.layers - 1 ? metricPosition : first,
    end: keys,
  });
  const seen = { first: span.first, end: Math.min(span.end, keys) };
  const patched = site === "residPre" ? seen : { ...seen, first: wantedIn(layer, seen).first };
  const ofOneHead = perKey / config.heads;

  let flops = 0;
  let tokens = patched;
  if (site === "q") flops += sizeOf(patched) * keys * ofOneHead;
  if (site === "k" || site === "v") {
    tokens = wantedIn(layer, seen);
    flops += sizeOf(tokens) * keys * ofOneHead * (config.heads / config.kvHeads);
  }
  if (site === "q" || site === "k" || site === "v" || site === "z") flops += sizeOf(tokens) * output;

  const joint = jointOf(site, config.parallelResidual);
  if (joint === "middle") flops += sizeOf(tokens) * mlp;
  for (let l = joint === "before" ? layer : layer + 1; l < config.layers; l++) {
    const wanted = wantedIn(l, tokens);
    const changed = { first: Math.max(wanted.first, tokens.first), end: Math.min(wanted.end, tokens.end) };
    flops += sizeOf(tokens) * keyValue + sizeOf(changed) * query;
    flops += sizeOf(wanted) * (keys * perKey + output + mlp);
    tokens = wanted;
  }
  return flops;
}

/** Patching each node on every pair on which it can have an effect; on the others its effect is known to be 0. */
export function costsOfNodes(
  config: ModelConfig,
  pairs: readonly Pair[],
  space: NodeSpace,
  nodes: NodeSet,
): Cost[] {
  const costs: Cost[] = [];
  visitNodes(space, nodes, ({ site, layer }, p) => {
    let [run, patches] = [0, 0];
    for (const pair of pairs) {
      const span = spanInPair(space.labels[p], pair);
      if (!span || !canHaveEffect(config, pair, { site, layer, span }, true)) continue;
      run +=
        flopsOfNode(config, pair.metricPosition, { site, layer, span }) /
        forwardFlops(config, pair.clean.length);
      patches++;
    }
    costs.push({ run, patches });
  });
  return costs;
}
