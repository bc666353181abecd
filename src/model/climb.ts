/**
 * @file Runs that go up through the layers side by side, so that each layer's weights are asked for once, however many runs
 * there are. Within a layer they take turns: only one of them has a block's activations at a time, the others rest between
 * two blocks as bare residual streams.
 */

import * as tf from "@tensorflow/tfjs-core";
import { type BlockContext, blockForward, type Edit, type Past } from "./block.js";
import type { BlockWeights, WeightsProvider } from "./weights.js";
import { withLayer } from "./with-layer.js";

/** What goes up through the layers. */
export interface Climber {
  /** The first layer that it goes through. */
  readonly from: number;
  /** Takes it through a layer; called with every layer from its first one on. */
  through(block: BlockWeights, layer: number): void;
  /** Frees what it holds. */
  dispose(): void;
}

/**
 * Takes climbers through the layers up to `to − 1`, each from its first one on. They stay the caller's, also where one of
 * them throws.
 * @param pause awaited before every block of every climber
 */
export async function climb(
  weights: Pick<WeightsProvider, "layer" | "release">,
  climbers: readonly Pick<Climber, "from" | "through">[],
  to: number,
  pause?: () => Promise<void>,
): Promise<void> {
  const lowest = climbers.reduce((low, { from }) => Math.min(low, from), to);
  for (let layer = lowest; layer < to; layer++) {
    await withLayer(weights, layer, layer + 1 < to ? layer + 1 : undefined, async (block) => {
      for (const climber of climbers) {
        if (climber.from > layer) continue;
        await pause?.();
        climber.through(block, layer);
      }
    });
  }
}

export interface StreamOptions {
  /** The layer whose residPre the stream is; default 0. */
  readonly from?: number;
  /** Makes the edit of a layer, inside its tidy; it is let go behind it. */
  readonly editOf?: (layer: number, block: BlockWeights) => Edit;
  /** For a run that starts behind position 0: makes a layer's keys and values of the positions before it. */
  readonly past?: (layer: number) => Past;
}

/** A residual stream [B, T, D] on its way up through whole blocks. Owns it: `dispose` it where it has arrived. */
export class StreamRun implements Climber {
  readonly from: number;
  readonly #context: BlockContext;
  readonly #options: StreamOptions;
  #stream: tf.Tensor3D;

  /** @param stream becomes the run's own */
  constructor(context: BlockContext, stream: tf.Tensor3D, options: StreamOptions = {}) {
    this.from = options.from ?? 0;
    this.#context = context;
    this.#options = options;
    this.#stream = stream;
  }

  /** Where it is now; stays the run's own. */
  get stream(): tf.Tensor3D {
    return this.#stream;
  }

  through(block: BlockWeights, layer: number): void {
    const { editOf, past } = this.#options;
    const next = tf.tidy(
      () =>
        blockForward(this.#context, block, layer, this.#stream, editOf?.(layer, block), past?.(layer))
          .residPost,
    );
    this.#stream.dispose();
    this.#stream = next;
  }

  dispose(): void {
    this.#stream.dispose();
  }
}
