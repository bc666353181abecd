/** @file 0/1 masks over the values of a site in a batch of runs: 1 at chosen heads, neurons and positions. */

import * as tf from "@tensorflow/tfjs-core";
import { isPerHead, type Site } from "../model/sites.js";
import type { Span } from "../nodes/positions.js";

/** Positions `from` … T−1: those that runs cover. */
export interface Covered {
  readonly from: number;
  readonly T: number;
}

export interface SiteMask {
  /** Puts 1 in a row at an index (0 for sites without one) and the positions of a span; what lies before `from` is left out. */
  mark(row: number, index: number, span: Span): void;
  /**
   * Fits the site's values of R rows over Q = T − from positions: [R, I, Q, 1] for head sites, [R, Q, I] for the others. The
   * caller owns it; nothing may be marked afterwards.
   */
  tensor(): tf.Tensor;
}

/** A mask of 0 everywhere. */
export function makeSiteMask(site: Site, indices: number, R: number, { from, T }: Covered): SiteMask {
  const Q = T - from;
  const perHead = isPerHead(site);
  const data = new Float32Array(R * Q * indices);
  return {
    mark(row, index, span) {
      for (let t = Math.max(span.first - from, 0); t < span.end - from; t++) {
        data[perHead ? (row * indices + index) * Q + t : (row * Q + t) * indices + index] = 1;
      }
    },
    tensor: () => tf.tensor(data, perHead ? [R, indices, Q, 1] : [R, Q, indices]),
  };
}
