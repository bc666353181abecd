/** @file From the estimates of all live streams to the numbers that are added to the scores. */

import * as tf from "@tensorflow/tfjs-core";
import type { SiteEstimates } from "../atp/first-order.js";
import type { Site } from "../model/sites.js";

/** How the streams of a sweep enter the GradDrop contribution of a site in a layer. */
export interface StreamWeights {
  /** Whether stream 0 is the main one. */
  readonly hasMain: boolean;
  /** How many dropped passes have the main stream's gradient at this site: those of the layers below it. */
  readonly mainCopies: number;
  /** How many dropped passes there are that do not hold the node itself constant. */
  readonly divisor: number;
}

/**
 * Dropping a layer below a node leaves its gradient as it is; dropping its own makes it 0, unless the node is part of
 * the residual stream.
 * @param layers how many are dropped, from layer 0 on; those above are part of the readout
 */
export function streamWeights(site: Site, layer: number, layers: number, hasMain: boolean): StreamWeights {
  if (layer >= layers) return { hasMain, mainCopies: 1, divisor: 1 };
  const isResidual = site === "residPre" || site === "residMid" || site === "residPost";
  return {
    hasMain,
    mainCopies: site === "residPost" ? layer + 1 : layer,
    divisor: isResidual ? layers : layers - 1,
  };
}

/** Whether the pass that drops the node's own layer has a gradient of its own there: the one at residPost, passed through. */
export function forksAbove(site: Site): boolean {
  return site === "residPre" || site === "residMid";
}

/**
 * (mainCopies·|Î_main| + Σ_d |Î_d|) / divisor, over the streams at hand.
 * @param estimates [S, ...]
 * @param forked estimates of the stream that forks in this layer, [1, ...]
 * @returns [...], owned by the caller
 */
export function dropContribution(
  estimates: tf.Tensor,
  { hasMain, mainCopies, divisor }: StreamWeights,
  forked?: tf.Tensor,
): tf.Tensor {
  return tf.tidy(() => {
    const sizes = tf.concat(forked ? [tf.abs(estimates), tf.abs(forked)] : [tf.abs(estimates)], 0);
    const weights = new Float32Array(sizes.shape[0]).fill(1 / divisor);
    if (hasMain) weights[0] = mainCopies / divisor;
    const perStream = tf.tensor(weights, [weights.length, ...estimates.shape.slice(1).map(() => 1)]);
    return tf.sum(tf.mul(sizes, perStream), 0);
  });
}

/** Stream 0 of [S, ...], as [...]. */
export function firstStream(estimates: tf.Tensor): tf.Tensor {
  return tf.tidy(() => tf.squeeze(tf.slice(estimates, 0, 1), [0]));
}

/** The same function of both kinds of estimates of a site. */
export function mapEstimates<T>(
  { each, everywhere }: SiteEstimates,
  of: (estimates: tf.Tensor, kind: keyof SiteEstimates) => T,
): { readonly each?: T; readonly everywhere?: T } {
  return {
    ...(each && { each: of(each, "each") }),
    ...(everywhere && { everywhere: of(everywhere, "everywhere") }),
  };
}
