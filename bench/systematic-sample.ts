/** @file A sample of nodes that is spread evenly over their order, and so over layers and positions. */

import type { NodeSet } from "../src/nodes/node-space.js";

/** `count` of the nodes, or all of them if there are fewer: the middle ones of as many equal parts. */
export function systematicSample(nodes: NodeSet, count: number): NodeSet {
  if (count >= nodes.length) return nodes;
  return Uint32Array.from(
    { length: count },
    (_, part) => nodes[Math.floor(((part + 0.5) * nodes.length) / count)],
  );
}
