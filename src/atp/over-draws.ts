/** @file Estimates averaged over the draws of a noise source, before anything is taken absolute. */

import * as tf from "@tensorflow/tfjs-core";
import type { SiteEstimates } from "./first-order.js";

/**
 * @param estimates [S, B·draws, …], the draws of a pair next to each other; disposed here if there are several
 * @returns [S, B, …], owned by the caller
 */
export function averageEstimates(estimates: SiteEstimates, draws: number): SiteEstimates {
  if (draws === 1) return estimates;
  const averaged = (estimate: tf.Tensor) =>
    tf.tidy(() => {
      const [S, rows, ...rest] = estimate.shape;
      return tf.mean(tf.reshape(estimate, [S, rows / draws, draws, ...rest]), 2);
    });
  const { each, everywhere } = estimates;
  const means = {
    ...(each && { each: averaged(each) }),
    ...(everywhere && { everywhere: averaged(everywhere) }),
  };
  tf.dispose(estimates);
  return means;
}
