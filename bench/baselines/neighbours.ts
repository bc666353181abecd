/** @file In what order nodes are neighbours: what blocks and trees are cut from. */

import { type NodeSet, type NodeSpace, visitNodes } from "../../src/nodes/node-space.js";

export const ALONG = ["site", "position"] as const;

/**
 * - `site`: layer by layer, one site after the other; neighbours are the heads of one site at one position, then the next position.
 * - `position`: position by position; neighbours are the sites and heads of a layer there, then the next layer.
 */
export type Along = (typeof ALONG)[number];

/** Places of the candidates in this order. */
export function neighbours(space: NodeSpace, candidates: NodeSet, along: Along): Uint32Array {
  const places = Uint32Array.from(candidates.keys());
  if (along === "site") return places;
  const positions: number[] = [];
  visitNodes(space, candidates, (_group, p) => positions.push(p));
  return places.sort((a, b) => positions[a] - positions[b] || a - b);
}
