/**
 * @file What a sender changes in the residual stream when it takes its source value: the difference of its activation
 * between the runs, through the matrix it is written with. Biases cancel in the difference.
 */

import * as tf from "@tensorflow/tfjs-core";
import { joinHeads } from "../../model/block.js";
import type { Model } from "../../model/model.js";
import { linear } from "../../model/ops/linear.js";
import type { Site } from "../../model/sites.js";
import type { BlockWeights, Linear } from "../../model/weights.js";
import type { Node } from "../../nodes/node-id.js";
import type { Span } from "../../nodes/positions.js";
import { fromPosition } from "../from-position.js";
import type { Covered } from "../site-mask.js";
import { cellMask } from "./cell-mask.js";

/** One row of a batch of path runs, as far as its sender goes. */
export interface SendingRow {
  /** Which pair of the batch it runs. */
  readonly pairIndex: number;
  readonly sender: Node;
  readonly senderSpan: Span;
}

/** Where the differences of a site and layer are kept. */
export type SiteKey = `${number}.${Site}`;

export function siteKey({ layer, site }: Pick<Node, "layer" | "site">): SiteKey {
  return `${layer}.${site}`;
}

/**
 * @param rows rows with senders of one site and layer stand together
 * @param differences source − base of the pairs of the batch, in the site's shape
 * @param covered the positions of the result
 * @returns [R, T − from, D], 0 at the positions of no sender; owned by the caller
 */
export async function senderChanges(
  { config, weights }: Model,
  rows: readonly SendingRow[],
  differences: ReadonlyMap<SiteKey, tf.Tensor>,
  covered: Covered,
): Promise<tf.Tensor3D> {
  const parts: tf.Tensor[] = [];
  for (let first = 0; first < rows.length; ) {
    const { layer, site } = rows[first].sender;
    const key = siteKey(rows[first].sender);
    let end = first + 1;
    while (end < rows.length && siteKey(rows[end].sender) === key) end++;
    const group = rows.slice(first, end);
    const difference = differences.get(key);
    if (!difference) throw new Error(`senderChanges: expected differences of ${key}, got none`);
    const block = await weights.layer(layer);
    parts.push(
      tf.tidy(() => {
        const pairs = tf.tensor1d(
          Int32Array.from(group, ({ pairIndex }) => pairIndex),
          "int32",
        );
        const cells = group.map(({ sender, senderSpan }, row) => ({
          row,
          index: sender.index ?? 0,
          span: senderSpan,
        }));
        const mask = cellMask(config, site, group.length, covered, cells);
        const perRow = tf.gather(fromPosition(difference, covered.from), pairs);
        return written(block, site, tf.mul(perRow, mask.factor()));
      }),
    );
    weights.release(layer);
    first = end;
  }
  const all = tf.concat(parts, 0) as tf.Tensor3D;
  tf.dispose(parts);
  return all;
}

/** What a change at the site adds to the residual stream, [R, T − from, D]. */
function written(block: BlockWeights, site: Site, change: tf.Tensor): tf.Tensor {
  const through = (x: tf.Tensor, { weight, layout }: Linear) => linear(x, { weight, layout });
  if (site === "z") return through(joinHeads(change), block.o);
  if (site === "neuron") return through(change, block.mlpOut);
  return change;
}
