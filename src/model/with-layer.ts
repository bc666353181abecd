/** @file A layer's weights for the length of some work. */

import type { BlockWeights, WeightsProvider } from "./weights.js";

/**
 * Gives `work` the weights of a layer, and lets them go behind it, also where it throws.
 * @param next the layer that will be asked for after this one, if that is known
 */
export async function withLayer<Result>(
  weights: Pick<WeightsProvider, "layer" | "release">,
  layer: number,
  next: number | undefined,
  work: (block: BlockWeights) => Result | Promise<Result>,
): Promise<Result> {
  const block = await weights.layer(layer, next);
  try {
    return await work(block);
  } finally {
    weights.release(layer);
  }
}
