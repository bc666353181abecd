/**
 * @file The first-order estimate of the nodes of one site in one layer: the dot product of the difference source − base
 * with the gradient, over whatever a node of the site is a vector of.
 */

import * as tf from "@tensorflow/tfjs-core";
import { isPerHead, type Site, siteIndex } from "../model/sites.js";
import { ALL_POSITIONS } from "../nodes/node-id.js";
import type { NodeSpace } from "../nodes/node-space.js";

/** Which estimates a node space asks for. */
export interface Wanted {
  /** At single positions. */
  readonly each: boolean;
  /** At all positions at once. */
  readonly everywhere: boolean;
}

/** Estimates of one site in one layer, gradient streams in front. */
export type SiteEstimates = {
  /** [S, B, I, T] for sites with heads, [S, B, T, I] for the others. */
  readonly each?: tf.Tensor;
  /** [S, B, I] */
  readonly everywhere?: tf.Tensor;
};

export function wantedBy({ labels }: NodeSpace): Wanted {
  return {
    each: labels.some((label) => label !== ALL_POSITIONS),
    everywhere: labels.includes(ALL_POSITIONS),
  };
}

/**
 * @param gradient in the site's shape with the stream axis S in front
 * @param difference source − base, in the site's shape
 * @returns estimates owned by the caller; at all positions they are the sums over positions
 */
export function firstOrder(
  site: Site,
  gradient: tf.Tensor,
  difference: tf.Tensor,
  wanted: Wanted,
): SiteEstimates {
  return tf.tidy(() => {
    const elementwise = tf.mul(gradient, difference);
    const each =
      siteIndex(site) === "none"
        ? tf.sum(elementwise, -1, true) // [S, B, T, 1]
        : isPerHead(site)
          ? tf.sum(elementwise, -1) // [S, B, I, T]
          : elementwise; // [S, B, T, F]
    return {
      ...(wanted.each && { each }),
      ...(wanted.everywhere && { everywhere: tf.sum(each, isPerHead(site) ? 3 : 2) }),
    };
  });
}

/** The numbers of one stream, [1, ...] or [...]; empty where there are none. The tensors stay their owner's. */
export function numbersOf({ each, everywhere }: SiteEstimates): Record<keyof SiteEstimates, Float32Array> {
  const read = (tensor?: tf.Tensor) => (tensor ? (tensor.dataSync() as Float32Array) : new Float32Array());
  return { each: read(each), everywhere: read(everywhere) };
}
