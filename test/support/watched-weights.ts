/** @file A model whose layers are asked for through a watch that writes everything down, and may fail as a disk does. */

import { RunError } from "../../src/errors.js";
import type { Model } from "../../src/model/model.js";
import type { WeightsProvider } from "../../src/model/weights.js";

/** One call of `layer`. */
export interface LayerRequest {
  readonly layer: number;
  readonly next: number | undefined;
}

export class WatchedModel {
  /** Shares the weights of the model that it was made of, which stays the caller's. */
  readonly model: Model;
  readonly requests: LayerRequest[] = [];
  /** Layers that were asked for and not released. */
  unreleased = 0;
  /** The number of the request that fails, from 0; none if it is undefined. */
  failing: number | undefined;

  constructor(inner: Model) {
    const { weights: within } = inner;
    const weights: WeightsProvider = {
      tokenRows: (ids) => within.tokenRows(ids),
      positions: () => within.positions(),
      layer: async (layer, next) => {
        this.requests.push({ layer, next });
        if (this.requests.length - 1 === this.failing) throw new RunError("layer: the disk is gone");
        const block = await within.layer(layer, next);
        this.unreleased++;
        return block;
      },
      release: (layer) => {
        this.unreleased--;
        within.release(layer);
      },
      finalNorm: () => within.finalNorm(),
      unembeddingRows: (ids) => within.unembeddingRows(ids),
      unembedding: () => within.unembedding(),
      releaseUnembedding: () => within.releaseUnembedding(),
      dispose: () => within.dispose(),
    };
    this.model = { ...inner, weights };
  }

  /** The layers in the order in which they were asked for; begins anew behind them. */
  takeLayers(): number[] {
    return this.requests.splice(0).map(({ layer }) => layer);
  }

  /** Requests whose hint was another layer than the one that was asked for next. */
  wrongHints(): LayerRequest[] {
    return this.requests.filter(({ next }, r) => {
      const following = this.requests.at(r + 1);
      return next !== undefined && next !== following?.layer;
    });
  }

  /** How many requests came as a surprise: not announced, and not for the layer that was there already. */
  surprises(): number {
    return this.requests.filter(({ layer }, r) => {
      if (r === 0) return true;
      const before = this.requests[r - 1];
      return before.layer !== layer && before.next !== layer;
    }).length;
  }
}
