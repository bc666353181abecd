/**
 * @file Which values of a batch of patched runs come from the source run: one mask per site and layer, and the
 * edit that applies them.
 */

import * as tf from "@tensorflow/tfjs-core";
import type { Edit } from "../model/block.js";
import { type NodeGroup, type NodeSet, type NodeSpace, visitNodes } from "../nodes/node-space.js";
import { spanInPair } from "../nodes/positions.js";
import type { Pair } from "../prompts/pair.js";
import { fromPosition } from "./from-position.js";
import { type Covered, makeSiteMask, type SiteMask } from "./site-mask.js";

/** One row of a batch of patched runs. */
export interface PatchedRow {
  /** Which pair of the batch the row runs, as an index into the rows of the source values. */
  readonly pairIndex: number;
  readonly pair: Pair;
  readonly nodes: NodeSet;
}

/** The masks of one layer, by group. */
function makeMasks(
  space: NodeSpace,
  groups: readonly NodeGroup[],
  rows: readonly PatchedRow[],
  covered: Covered,
): Map<NodeGroup, SiteMask> {
  const masks = new Map<NodeGroup, SiteMask>();
  const maskOf = (group: NodeGroup): SiteMask => {
    const known = masks.get(group);
    if (known) return known;
    const mask = makeSiteMask(group.site, group.indices, rows.length, covered);
    masks.set(group, mask);
    return mask;
  };
  // Groups of a layer follow each other.
  const first = Math.min(...groups.map(({ offset }) => offset));
  const end = Math.max(...groups.map(({ offset, indices }) => offset + indices * space.labels.length));
  rows.forEach(({ pair, nodes }, r) => {
    const spans = space.labels.map((label) => spanInPair(label, pair));
    let last: { readonly group: NodeGroup; readonly mask: SiteMask } | undefined;
    visitNodes(space, nodesWithin(nodes, first, end), (group, p, i) => {
      const span = spans[p];
      if (!span) return;
      if (last?.group !== group) last = { group, mask: maskOf(group) };
      last.mask.mark(r, i, span);
    });
  });
  return masks;
}

/** The nodes `first` … `end − 1` of a set, in its order. */
function nodesWithin(nodes: NodeSet, first: number, end: number): NodeSet {
  const within = new Uint32Array(nodes.length);
  let count = 0;
  for (const node of nodes) if (node >= first && node < end) within[count++] = node;
  return within.subarray(0, count);
}

/**
 * The edit that puts the source run's values at every row's nodes of a layer. Made layer by layer, because masks of neurons
 * are as large as the residual streams of the runs, each of them.
 *
 * @param rows the rows of the runs to be edited; every row's pair has all of its nodes
 * @param covered the positions of the runs; no node lies before them
 * @param sourceValues values of the source run for the pairs of the batch, at all positions, by group
 */
export function patchEdit(
  space: NodeSpace,
  layer: number,
  rows: readonly PatchedRow[],
  covered: Covered,
  sourceValues: ReadonlyMap<NodeGroup, tf.Tensor>,
): Edit {
  const groups = space.groups.filter((group) => group.layer === layer && sourceValues.has(group));
  if (groups.length === 0) return (_point, _layer, value) => value;
  const masks = [...makeMasks(space, groups, rows, covered)];
  const pairOfRow = Int32Array.from(rows, (row) => row.pairIndex);
  return (site, _layer, value) => {
    const entry = masks.find(([group]) => group.site === site);
    const source = entry && sourceValues.get(entry[0]);
    if (!entry || !source) return value;
    return tf.tidy(() => {
      const perRow = tf.gather(fromPosition(source, covered.from), tf.tensor1d(pairOfRow, "int32"));
      return entry[1].pick(perRow, value);
    });
  };
}
