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

function makeMasks(
  space: NodeSpace,
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
  rows.forEach(({ pair, nodes }, r) => {
    const spans = space.labels.map((label) => spanInPair(label, pair));
    let last: { readonly group: NodeGroup; readonly mask: SiteMask } | undefined;
    visitNodes(space, nodes, (group, p, i) => {
      const span = spans[p];
      if (!span) return;
      if (last?.group !== group) last = { group, mask: maskOf(group) };
      last.mask.mark(r, i, span);
    });
  });
  return masks;
}

/**
 * The edit that puts the source run's values at every row's nodes.
 *
 * @param rows the rows of the runs to be edited; every row's pair has all of its nodes
 * @param covered the positions of the runs; no node lies before them
 * @param sourceValues values of the source run for the pairs of the batch, at all positions, by group
 */
export function patchEdit(
  space: NodeSpace,
  rows: readonly PatchedRow[],
  covered: Covered,
  sourceValues: ReadonlyMap<NodeGroup, tf.Tensor>,
): Edit {
  const masks = [...makeMasks(space, rows, covered)];
  const pairOfRow = Int32Array.from(rows, (row) => row.pairIndex);
  return (site, layer, value) => {
    const entry = masks.find(([group]) => group.site === site && group.layer === layer);
    const source = entry && sourceValues.get(entry[0]);
    if (!entry || !source) return value;
    return tf.tidy(() => {
      const perRow = tf.gather(fromPosition(source, covered.from), tf.tensor1d(pairOfRow, "int32"));
      return entry[1].pick(perRow, value);
    });
  };
}
