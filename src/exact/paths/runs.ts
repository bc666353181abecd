/**
 * @file Runs with receivers that hear a sender. What a receiver hears is the base run's stream + the sender's change, not
 * the stream of the run it is patched into: the sender reaches it directly, never through another component.
 */

import * as tf from "@tensorflow/tfjs-core";
import { type BlockContext, disposeBlockContext, type Edit, makeBlockContext } from "../../model/block.js";
import { type Climber, StreamRun } from "../../model/climb.js";
import type { ModelConfig } from "../../model/config.js";
import type { Model } from "../../model/model.js";
import { readout } from "../../model/transformer.js";
import type { BlockWeights, NormWeights } from "../../model/weights.js";
import type { Node } from "../../nodes/node-id.js";
import { fromPosition } from "../from-position.js";
import type { Covered, SiteMask } from "../site-mask.js";
import { cellMask } from "./cell-mask.js";
import type { PathInputs } from "./inputs.js";
import type { PathRun } from "./plan.js";
import { heardFinal, heardInBlock } from "./receiver-values.js";
import { type BlockReceiver, RECEIVER_SITES, streamOf } from "./receivers.js";
import { SenderChanges, type SiteKey, siteKey } from "./sender-changes.js";

/** What all path runs of a batch of pairs work with. */
export interface PathBatch {
  readonly config: ModelConfig;
  /** Token length. */
  readonly T: number;
  readonly inputs: PathInputs;
  readonly freezeNorm: boolean;
}

/** What a chunk has from where its receivers hear the first sender on. Owns all but `baseStream`'s results. */
interface Hearers {
  readonly context: BlockContext;
  /** The pair of each row, [R]. */
  readonly pairOfRow: tf.Tensor1D;
  /** [R, Q, D] */
  readonly changes: tf.Tensor3D;
  /** The base run's stream, a row of the result per row of the chunk, [R, Q, D]; owned by the caller. */
  readonly baseStream: (place: Pick<Node, "layer" | "site">) => tf.Tensor3D;
  /** Absent where the final residual stream is the receiver: no block runs. */
  readonly run?: StreamRun;
}

/** Runs that start at the same layer and position. From the lowest sender on it takes down what senders change. */
export class PathChunk implements Climber {
  readonly from: number;
  readonly rows: readonly PathRun[];
  readonly #batch: PathBatch;
  readonly #covered: Covered;
  readonly #senders: SenderChanges;
  #hearers: Hearers | undefined;

  constructor(batch: PathBatch, rows: readonly PathRun[]) {
    const [{ layer, position }] = rows;
    this.rows = rows;
    this.#batch = batch;
    this.#covered = { from: position, T: batch.T };
    this.#senders = new SenderChanges(batch.config, rows, batch.inputs.differences, this.#covered);
    this.from = Math.min(this.#senders.lowest, layer);
  }

  through(block: BlockWeights, layer: number): void {
    const [{ layer: start }] = this.rows;
    if (layer <= start) this.#senders.see(block, layer);
    if (layer < start) return;
    this.#hearers ??= this.#setOut();
    this.#hearers.run?.through(block, layer);
  }

  #setOut(): Hearers {
    const { config, T, inputs } = this.#batch;
    const [{ layer: start, position: from }] = this.rows;
    const pairOfRow = tf.tensor1d(
      Int32Array.from(this.rows, ({ pairIndex }) => pairIndex),
      "int32",
    );
    const context = makeBlockContext(config, T, from);
    const baseStream = (place: Pick<Node, "layer" | "site">) =>
      gathered(inputs.streams, siteKey(place), from, pairOfRow);
    const hearers = { context, pairOfRow, changes: this.#senders.whole(), baseStream };
    if (start === config.layers) return hearers;
    const run = new StreamRun(context, baseStream({ layer: start, site: "residPre" }), {
      from: start,
      editOf: (layer, block) => this.#hearingEdit(hearers, block, layer),
      ...(from > 0 && { past: (layer) => inputs.keysAndValues.before(from, layer, pairOfRow) }),
    });
    return { ...hearers, run };
  }

  /**
   * The final norm's output of each row at its pair's metric position, once the chunk has arrived.
   * @returns [R, D], owned by the caller
   */
  async final(model: Model): Promise<tf.Tensor2D> {
    this.#hearers ??= this.#setOut();
    const { run } = this.#hearers;
    if (!run) return this.#finalHeard(this.#hearers, await model.weights.finalNorm());
    const positions = this.rows.map(({ pair }) => pair.metricPosition - this.#covered.from);
    const { final, saved } = await readout(model, run.stream, positions);
    tf.dispose(saved);
    return final;
  }

  /** The final residual stream is the receiver. */
  #finalHeard({ changes, baseStream }: Hearers, norm: NormWeights): tf.Tensor2D {
    const { config, freezeNorm } = this.#batch;
    const { T, from } = this.#covered;
    return tf.tidy(() => {
      const Q = T - from;
      const places = tf.tensor1d(
        Int32Array.from(this.rows, ({ pair }, r) => r * Q + pair.metricPosition - from),
        "int32",
      );
      const picked = (x: tf.Tensor): tf.Tensor =>
        tf.gather(tf.reshape(x, [this.rows.length * Q, config.width]), places);
      const base = picked(baseStream({ layer: config.layers - 1, site: "residPost" }));
      const stream = tf.add(base, picked(changes));
      return heardFinal(config, norm, { stream, ...(freezeNorm && { frozenTo: base }) });
    });
  }

  /** The edit that puts what the layer's receivers compute of what they hear into the run. To be called inside a tidy. */
  #hearingEdit({ context, changes, baseStream }: Hearers, block: BlockWeights, layer: number): Edit {
    const { config, freezeNorm } = this.#batch;
    const patches = new Map<string, { readonly mask: SiteMask; readonly heard: tf.Tensor }>();
    for (const site of RECEIVER_SITES) {
      const cells = this.rows.flatMap(({ hearings }, row) =>
        hearings.flatMap(({ receiver, span }) =>
          receiver !== "final" && receiver.layer === layer && receiver.site === site
            ? [{ row, index: receiver.index ?? 0, span }]
            : [],
        ),
      );
      if (cells.length === 0) continue;
      const place: BlockReceiver = { layer, site, position: "*" };
      const base = baseStream(streamOf(config, place));
      const heard = { stream: tf.add(base, changes), ...(freezeNorm && { frozenTo: base }) };
      patches.set(site, {
        mask: cellMask(config, site, this.rows.length, this.#covered, cells),
        heard: heardInBlock(context, block, site, heard),
      });
    }
    return (point, _layer, value) => {
      const patch = patches.get(point);
      if (!patch) return value;
      return patch.mask.pick(patch.heard, value);
    };
  }

  dispose(): void {
    this.#senders.dispose();
    if (!this.#hearers) return;
    const { context, pairOfRow, changes, run } = this.#hearers;
    run?.dispose();
    tf.dispose([pairOfRow, changes]);
    disposeBlockContext(context);
  }
}

function gathered(
  streams: ReadonlyMap<SiteKey, tf.Tensor3D>,
  key: SiteKey,
  from: number,
  pairOfRow: tf.Tensor1D,
): tf.Tensor3D {
  return tf.tidy(() => tf.gather(fromPosition(existing(streams, key), from), pairOfRow));
}

function existing<Key, Value>(map: ReadonlyMap<Key, Value>, key: Key): Value {
  const value = map.get(key);
  if (value === undefined) throw new Error(`runPaths: expected values of ${key} in the base run, got none`);
  return value;
}
