/**
 * @file What a sender changes in the residual stream when it takes its source value: the difference of its activation
 * between the runs, through the matrix it is written with. Biases cancel in the difference.
 */

import * as tf from "@tensorflow/tfjs-core";
import { joinHeads } from "../../model/block.js";
import type { ModelConfig } from "../../model/config.js";
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

/** Rows whose senders are of one site and layer. */
interface SendersOfSite {
  readonly layer: number;
  readonly site: Site;
  readonly rows: readonly SendingRow[];
}

function bySite(rows: readonly SendingRow[]): SendersOfSite[] {
  const groups: { layer: number; site: Site; rows: SendingRow[] }[] = [];
  for (const row of rows) {
    const { layer, site } = row.sender;
    const last = groups.at(-1);
    if (last?.layer === layer && last.site === site) last.rows.push(row);
    else groups.push({ layer, site, rows: [row] });
  }
  return groups;
}

/** Sites that are written through a matrix of their layer; the others are parts of the stream as they are. */
function isWritten(site: Site): boolean {
  return site === "z" || site === "neuron";
}

/** The changes of a chunk's senders, put together on the way up to where they are heard. Owns tensors. */
export class SenderChanges {
  /** The lowest layer that `see` needs; infinite where it needs none. */
  readonly lowest: number;
  readonly #config: ModelConfig;
  readonly #groups: readonly SendersOfSite[];
  readonly #differences: ReadonlyMap<SiteKey, tf.Tensor>;
  readonly #covered: Covered;
  readonly #written = new Map<SendersOfSite, tf.Tensor>();

  /**
   * @param rows rows with senders of one site and layer stand together
   * @param differences source − base of the pairs of the batch, in the site's shape
   * @param covered the positions of the result
   */
  constructor(
    config: ModelConfig,
    rows: readonly SendingRow[],
    differences: ReadonlyMap<SiteKey, tf.Tensor>,
    covered: Covered,
  ) {
    this.#config = config;
    this.#groups = bySite(rows);
    this.#differences = differences;
    this.#covered = covered;
    const layers = this.#groups.filter(({ site }) => isWritten(site)).map(({ layer }) => layer);
    this.lowest = Math.min(...layers);
  }

  /** To be called with every layer that has senders, from the lowest on. */
  see(block: BlockWeights, layer: number): void {
    for (const group of this.#groups) {
      if (group.layer !== layer || !isWritten(group.site)) continue;
      this.#written.set(
        group,
        tf.tidy(() => written(block, group.site, this.#changeOf(group))),
      );
    }
  }

  /** All rows, once all senders were seen: [R, T − from, D], 0 at the positions of no sender; owned by the caller. */
  whole(): tf.Tensor3D {
    const whole = tf.tidy(() => {
      const parts = this.#groups.map((group) => this.#written.get(group) ?? this.#changeOf(group));
      return tf.concat(parts, 0) as tf.Tensor3D;
    });
    this.dispose();
    return whole;
  }

  /** The difference at each row's sender, 0 elsewhere, in the site's shape. To be called inside a tidy. */
  #changeOf({ layer, site, rows }: SendersOfSite): tf.Tensor {
    const key = siteKey({ layer, site });
    const difference = this.#differences.get(key);
    if (!difference) throw new Error(`SenderChanges: expected differences of ${key}, got none`);
    const pairs = tf.tensor1d(
      Int32Array.from(rows, ({ pairIndex }) => pairIndex),
      "int32",
    );
    const cells = rows.map(({ sender, senderSpan }, row) => ({
      row,
      index: sender.index ?? 0,
      span: senderSpan,
    }));
    const mask = cellMask(this.#config, site, rows.length, this.#covered, cells);
    const perRow = tf.gather(fromPosition(difference, this.#covered.from), pairs);
    return tf.mul(perRow, mask.factor());
  }

  dispose(): void {
    tf.dispose([...this.#written.values()]);
    this.#written.clear();
  }
}

/** What a change at a site that is written through a matrix adds to the residual stream, [R, T − from, D]. */
function written(block: BlockWeights, site: Site, change: tf.Tensor): tf.Tensor {
  const through = (x: tf.Tensor, { weight, layout }: Linear) => linear(x, { weight, layout });
  return site === "z" ? through(joinHeads(change), block.o) : through(change, block.mlpOut);
}
