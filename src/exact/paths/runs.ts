/**
 * @file Runs with receivers that hear a sender. What a receiver hears is the base run's stream + the sender's change, not
 * the stream of the run it is patched into: the sender reaches it directly, never through another component.
 */

import * as tf from "@tensorflow/tfjs-core";
import {
  type BlockContext,
  blockForward,
  disposeBlockContext,
  type Edit,
  makeBlockContext,
  type Past,
} from "../../model/block.js";
import type { Model } from "../../model/model.js";
import { readout } from "../../model/transformer.js";
import type { BlockWeights } from "../../model/weights.js";
import type { Node } from "../../nodes/node-id.js";
import { fromPosition } from "../from-position.js";
import type { Covered, SiteMask } from "../site-mask.js";
import { cellMask } from "./cell-mask.js";
import type { PathInputs } from "./inputs.js";
import type { PathRun } from "./plan.js";
import { heardFinal, heardInBlock } from "./receiver-values.js";
import { type BlockReceiver, RECEIVER_SITES, streamOf } from "./receivers.js";
import { type SiteKey, senderChanges, siteKey } from "./sender-changes.js";

/** What the rows of a chunk share. Owns nothing. */
interface Chunk {
  readonly rows: readonly PathRun[];
  readonly covered: Covered;
  /** [R, Q, D] */
  readonly changes: tf.Tensor3D;
  /** The base run's stream, a row of the result per row of the chunk, [R, Q, D]; owned by the caller. */
  readonly baseStream: (place: Pick<Node, "layer" | "site">) => tf.Tensor3D;
  readonly freezeNorm: boolean;
}

/**
 * The final norm's output of each row at its pair's metric position.
 * @param rows all of them start at the same layer and position
 * @param T token length of the batch
 * @returns [R, D], owned by the caller
 */
export async function runPaths(
  model: Model,
  rows: readonly PathRun[],
  T: number,
  inputs: PathInputs,
  freezeNorm: boolean,
): Promise<tf.Tensor2D> {
  const [{ layer: start, position: from }] = rows;
  const covered = { from, T };
  const pairOfRow = tf.tensor1d(
    Int32Array.from(rows, ({ pairIndex }) => pairIndex),
    "int32",
  );
  const changes = await senderChanges(model, rows, inputs.differences, covered);
  const chunk: Chunk = {
    rows,
    covered,
    changes,
    baseStream: (place) => gathered(inputs.streams, siteKey(place), from, pairOfRow),
    freezeNorm,
  };
  const final =
    start === model.config.layers
      ? await finalHeard(model, chunk)
      : await finalOfBlocks(model, start, chunk, (layer) =>
          inputs.keysAndValues.before(from, layer, pairOfRow),
        );
  tf.dispose([pairOfRow, changes]);
  return final;
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

/** The final residual stream is the receiver: no block runs. */
async function finalHeard({ config, weights }: Model, chunk: Chunk): Promise<tf.Tensor2D> {
  const { norm } = await weights.unembedding();
  const { rows, covered, changes, freezeNorm } = chunk;
  return tf.tidy(() => {
    const Q = covered.T - covered.from;
    const places = tf.tensor1d(
      Int32Array.from(rows, ({ pair }, r) => r * Q + pair.metricPosition - covered.from),
      "int32",
    );
    const picked = (x: tf.Tensor): tf.Tensor =>
      tf.gather(tf.reshape(x, [rows.length * Q, config.width]), places);
    const base = picked(chunk.baseStream({ layer: config.layers - 1, site: "residPost" }));
    const stream = tf.add(base, picked(changes));
    return heardFinal(config, norm, { stream, ...(freezeNorm && { frozenTo: base }) });
  });
}

async function finalOfBlocks(
  model: Model,
  start: number,
  chunk: Chunk,
  past: (layer: number) => Past,
): Promise<tf.Tensor2D> {
  const { config, weights } = model;
  const { from, T } = chunk.covered;
  const context = makeBlockContext(config, T, from);
  let current = chunk.baseStream({ layer: start, site: "residPre" });
  for (let layer = start; layer < config.layers; layer++) {
    const block = await weights.layer(layer);
    const next = tf.tidy(() => {
      const edit = hearingEdit(context, block, layer, chunk);
      const before = from > 0 ? past(layer) : undefined;
      return blockForward(context, block, layer, current, edit, before).residPost;
    });
    weights.release(layer);
    current.dispose();
    current = next;
  }
  const positions = chunk.rows.map(({ pair }) => pair.metricPosition - from);
  const { final, saved } = await readout(model, current, positions);
  tf.dispose([current, saved]);
  disposeBlockContext(context);
  return final;
}

/** The edit that puts what the layer's receivers compute of what they hear into the run. To be called inside a tidy. */
function hearingEdit(context: BlockContext, block: BlockWeights, layer: number, chunk: Chunk): Edit {
  const { rows, covered, changes, freezeNorm } = chunk;
  const patches = new Map<string, { readonly mask: SiteMask; readonly heard: tf.Tensor }>();
  for (const site of RECEIVER_SITES) {
    const cells = rows.flatMap(({ hearings }, row) =>
      hearings.flatMap(({ receiver, span }) =>
        receiver !== "final" && receiver.layer === layer && receiver.site === site
          ? [{ row, index: receiver.index ?? 0, span }]
          : [],
      ),
    );
    if (cells.length === 0) continue;
    const place: BlockReceiver = { layer, site, position: "*" };
    const base = chunk.baseStream(streamOf(context.config, place));
    const heard = { stream: tf.add(base, changes), ...(freezeNorm && { frozenTo: base }) };
    patches.set(site, {
      mask: cellMask(context.config, site, rows.length, covered, cells),
      heard: heardInBlock(context, block, site, heard),
    });
  }
  return (point, _layer, value) => {
    const patch = patches.get(point);
    if (!patch) return value;
    return patch.mask.pick(patch.heard, value);
  };
}
