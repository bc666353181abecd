/** @file Which values of a site in a batch of runs are patched: marks at heads, neurons and positions. */

import * as tf from "@tensorflow/tfjs-core";
import { isPerHead, type Site } from "../model/sites.js";
import type { Span } from "../nodes/positions.js";

/** Positions `from` … T−1: those that runs cover. */
export interface Covered {
  readonly from: number;
  readonly T: number;
}

export interface SiteMask {
  /** Marks a row at an index (0 for sites without one) and the positions of a span; what lies before `from` is left out. */
  mark(row: number, index: number, span: Span): void;
  /**
   * The patched values where there is a mark, the others elsewhere: exactly one or the other.
   * @param patched values of the site of R rows over Q = T − from positions, like `others`
   * @returns a tensor owned by the caller
   */
  pick(patched: tf.Tensor, others: tf.Tensor): tf.Tensor;
  /** 1 where there is a mark, 0 elsewhere: [R, I, Q, 1] for head sites, [R, Q, I] for the others; owned by the caller. */
  factor(): tf.Tensor;
}

/** A mask without a mark. */
export function makeSiteMask(site: Site, indices: number, R: number, { from, T }: Covered): SiteMask {
  const Q = T - from;
  const perHead = isPerHead(site);
  const shape = perHead ? [R, indices, Q, 1] : [R, Q, indices];
  const data = new Uint8Array(R * Q * indices);
  const factor = () => tf.tensor(Float32Array.from(data), shape);
  return {
    mark(row, index, span) {
      for (let t = Math.max(span.first - from, 0); t < span.end - from; t++) {
        data[perHead ? (row * indices + index) * Q + t : (row * Q + t) * indices + index] = 1;
      }
    },
    pick: (patched, others) =>
      tf.tidy(() => {
        if (data.length === others.size) return tf.where(tf.tensor(data, shape, "bool"), patched, others);
        // `tf.where` does not broadcast over the width of a head or of the residual stream.
        const here = factor();
        return tf.add(tf.mul(others, tf.sub(1, here)), tf.mul(patched, here));
      }),
    factor,
  };
}
