/** @file 0/1 masks over the values of a site in a batch of runs: 1 at chosen heads, neurons and positions. */

import * as tf from "@tensorflow/tfjs-core";
import type { ModelConfig } from "../model/config.js";
import { type Site, siteIndex, siteSize } from "../model/sites.js";
import type { Span } from "../nodes/positions.js";

/** What is 1 in one row. */
export interface MaskCell {
  readonly row: number;
  /** Head, kv-head or neuron; 0 for sites without one. */
  readonly index: number;
  readonly span: Span;
}

/** A mask that fits the site's values: [R, I, T, 1] for head sites, [R, T, I] for the others. The caller owns it. */
export function cellMask(
  config: ModelConfig,
  site: Site,
  { R, T }: { readonly R: number; readonly T: number },
  cells: readonly MaskCell[],
): tf.Tensor {
  const kind = siteIndex(site);
  const perHead = kind === "head" || kind === "kvHead";
  const indices = siteSize(config, site);
  const data = new Float32Array(R * T * indices);
  for (const { row, index, span } of cells) {
    for (let t = span.first; t < span.end; t++) {
      data[perHead ? (row * indices + index) * T + t : (row * T + t) * indices + index] = 1;
    }
  }
  return tf.tensor(data, perHead ? [R, indices, T, 1] : [R, T, indices]);
}
