/** @file 0/1 masks over the values of a site in a batch of runs: 1 at chosen heads, neurons and positions. */

import * as tf from "@tensorflow/tfjs-core";
import type { ModelConfig } from "../../model/config.js";
import { isPerHead, type Site, siteSize } from "../../model/sites.js";
import type { Span } from "../../nodes/positions.js";

/** What is 1 in one row. */
export interface MaskCell {
  readonly row: number;
  /** Head, kv-head or neuron; 0 for sites without one. */
  readonly index: number;
  readonly span: Span;
}

/** Positions `from` … T−1: those that runs cover. */
export interface Covered {
  readonly from: number;
  readonly T: number;
}

/**
 * A mask that fits the site's values of R rows over Q = T − from positions: [R, I, Q, 1] for head sites, [R, Q, I] for the
 * others. The caller owns it.
 * @param cells what of them lies before `from` is left out
 */
export function cellMask(
  config: ModelConfig,
  site: Site,
  R: number,
  { from, T }: Covered,
  cells: readonly MaskCell[],
): tf.Tensor {
  const Q = T - from;
  const indices = siteSize(config, site);
  const perHead = isPerHead(site);
  const data = new Float32Array(R * Q * indices);
  for (const { row, index, span } of cells) {
    for (let t = Math.max(span.first - from, 0); t < span.end - from; t++) {
      data[perHead ? (row * indices + index) * Q + t : (row * Q + t) * indices + index] = 1;
    }
  }
  return tf.tensor(data, perHead ? [R, indices, Q, 1] : [R, Q, indices]);
}
