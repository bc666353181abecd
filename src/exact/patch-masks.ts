/**
 * @file Which values of a batch of patched runs come from the source run: one 0/1 mask per site and layer, and the
 * edit that applies them.
 */

import * as tf from "@tensorflow/tfjs-core";
import type { Edit } from "../model/block.js";
import { isPerHead } from "../model/sites.js";
import { locate, type NodeGroup, type NodeSet, type NodeSpace } from "../nodes/node-space.js";
import { spanInPair } from "../nodes/positions.js";
import type { Pair } from "../prompts/pair.js";
import { fromPosition } from "./from-position.js";

/** One row of a batch of patched runs. */
export interface PatchedRow {
  /** Which pair of the batch the row runs, as an index into the rows of the source values. */
  readonly pairIndex: number;
  readonly pair: Pair;
  readonly nodes: NodeSet;
}

/** Positions `from` … T−1: those that the runs cover. */
interface Positions {
  readonly from: number;
  readonly T: number;
}

/** Masks of R rows over Q = T − from positions: [R, I, Q, 1] for head sites, [R, Q, I] for the others. */
type Masks = Map<NodeGroup, { readonly data: Float32Array; readonly shape: number[] }>;

function maskShape({ site, indices }: NodeGroup, R: number, Q: number): number[] {
  return isPerHead(site) ? [R, indices, Q, 1] : [R, Q, indices];
}

function makeMasks(space: NodeSpace, rows: readonly PatchedRow[], { from, T }: Positions): Masks {
  const Q = T - from;
  const masks: Masks = new Map();
  rows.forEach(({ pair, nodes }, r) => {
    const spans = space.labels.map((label) => spanInPair(label, pair));
    for (const node of nodes) {
      const { group, p, i } = locate(space, node);
      const span = spans[p];
      if (!span) continue;
      let mask = masks.get(group);
      if (!mask) {
        const shape = maskShape(group, rows.length, Q);
        mask = { data: new Float32Array(tf.util.sizeFromShape(shape)), shape };
        masks.set(group, mask);
      }
      const perHead = isPerHead(group.site);
      for (let t = span.first - from; t < span.end - from; t++) {
        const at = perHead ? (r * group.indices + i) * Q + t : (r * Q + t) * group.indices + i;
        mask.data[at] = 1;
      }
    }
  });
  return masks;
}

/**
 * The edit that puts the source run's values at every row's nodes: value·(1 − mask) + source·mask, which is exactly one
 * or the other.
 *
 * @param rows the rows of the runs to be edited; every row's pair has all of its nodes
 * @param positions those that the runs cover; no node lies before them
 * @param sourceValues values of the source run for the pairs of the batch, at all positions, by group
 */
export function patchEdit(
  space: NodeSpace,
  rows: readonly PatchedRow[],
  positions: Positions,
  sourceValues: ReadonlyMap<NodeGroup, tf.Tensor>,
): Edit {
  const masks = [...makeMasks(space, rows, positions)];
  const pairOfRow = Int32Array.from(rows, (row) => row.pairIndex);
  return (site, layer, value) => {
    const entry = masks.find(([group]) => group.site === site && group.layer === layer);
    const source = entry && sourceValues.get(entry[0]);
    if (!entry || !source) return value;
    return tf.tidy(() => {
      const mask = tf.tensor(entry[1].data, entry[1].shape);
      const covered = fromPosition(source, positions.from);
      const perRow = tf.gather(covered, tf.tensor1d(pairOfRow, "int32"));
      return tf.add(tf.mul(value, tf.sub(1, mask)), tf.mul(perRow, mask));
    });
  };
}
