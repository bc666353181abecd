/** @file The backward sweep over recorded runs, from where a gradient enters down to layer 0. */

import * as tf from "@tensorflow/tfjs-core";
import { blockVjp, type Seed, type Visit } from "../model/block.js";
import type { Model } from "../model/model.js";
import { withLayer } from "../model/with-layer.js";
import type { LayerRecord, RecordedRuns } from "./runs.js";

/** Where a gradient enters the model. */
export interface SweepStart {
  /** The layer that the sweep begins with. */
  readonly from: number;
  /** At residPost of that layer, [S, B, T, D]; the sweep disposes it. */
  readonly gradient: tf.Tensor4D;
  /** What enters within that layer; stays the caller's. */
  readonly seed?: Seed;
}

export interface SweepHooks {
  /** Makes the visit of a layer, given its record and the gradient at its residPost. */
  visitLayer(layer: number, record: LayerRecord, dResidPost: tf.Tensor4D): Visit;
  /**
   * The gradient that goes on to the layer below, from those at the layer's residPost and residPre; disposes neither.
   * Left out, it is the one at residPre.
   */
  onward?(layer: number, dResidPost: tf.Tensor4D, dResidPre: tf.Tensor4D): tf.Tensor4D;
}

/**
 * Takes a gradient down through the layers; each layer's weights and record are asked for once.
 *
 * @param then the layer that will be asked for after layer 0, if that is known
 * @returns layer-backwards run: the sum of S over the layers
 */
export async function sweepBack(
  { weights }: Model,
  runs: RecordedRuns,
  { from, gradient, seed }: SweepStart,
  { visitLayer, onward }: SweepHooks,
  then?: number,
): Promise<number> {
  let current = gradient;
  let layerBackwards = 0;
  try {
    for (let layer = from; layer >= 0; layer--) {
      const above = current;
      current = await withLayer(weights, layer, layer > 0 ? layer - 1 : then, (block) =>
        runs.use(layer, block, (record) =>
          tf.tidy(() => {
            const visit = visitLayer(layer, record, above);
            const entering = layer === from ? seed : undefined;
            const dResidPre = blockVjp(runs.context, block, layer, record.saved, above, visit, entering);
            return onward ? onward(layer, above, dResidPre) : dResidPre;
          }),
        ),
      );
      layerBackwards += above.shape[0];
      above.dispose();
    }
  } finally {
    current.dispose();
  }
  return layerBackwards;
}
