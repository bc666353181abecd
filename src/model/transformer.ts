/**
 * @file The whole decoder from token ids to the final residual stream, and its readout: the final norm at the one
 * position per prompt where a metric looks, with VJP. Vocabulary-sized work is left to whoever needs it.
 */

import * as tf from "@tensorflow/tfjs-core";
import { product } from "../engine/matmul.js";
import { type BlockContext, disposeBlockContext, type Edit, makeBlockContext } from "./block.js";
import { climb, StreamRun } from "./climb.js";
import type { Model } from "./model.js";
import { type NormSaved, norm, normVjp } from "./ops/norm.js";

/**
 * Embeds prompts of one length.
 * @param prompts B arrays of T token ids
 * @returns residPre of layer 0, [B, T, D], owned by the caller
 */
export async function embed(
  { weights }: Model,
  prompts: readonly (readonly number[])[],
): Promise<tf.Tensor3D> {
  const positions = await weights.positions();
  const rows = await weights.tokenRows(prompts.flat());
  const [B, T] = [prompts.length, prompts[0].length];
  const result = tf.tidy((): tf.Tensor3D => {
    const embedded = tf.reshape(rows, [B, T, rows.shape[1]]) as tf.Tensor3D;
    return positions ? tf.add(embedded, tf.slice(positions, [0, 0], [T, -1])) : embedded;
  });
  rows.dispose();
  return result;
}

/**
 * Runs all blocks, disposing every intermediate.
 * @param resid residPre of layer 0, [B, T, D]; stays the caller's
 * @returns residPost of the last layer, [B, T, D], owned by the caller
 */
export async function runBlocks(
  { config, weights }: Model,
  context: BlockContext,
  resid: tf.Tensor3D,
  { edit }: { edit?: Edit } = {},
): Promise<tf.Tensor3D> {
  const run = new StreamRun(context, tf.clone(resid), edit && { editOf: () => edit });
  try {
    await climb(weights, [run], config.layers);
    return run.stream;
  } catch (error) {
    // An edit may refuse a value.
    run.dispose();
    throw error;
  }
}

/** The final norm's output where a metric reads it. */
export interface Readout {
  /** [B, D]: logits are its products with rows of the unembedding. */
  readonly final: tf.Tensor2D;
  readonly saved: NormSaved;
}

/**
 * Final norm of the residual stream at one position per prompt.
 * @param resid residPost of the last layer, [B, T, D]
 * @param positions B positions
 * @returns tensors owned by the caller
 */
export async function readout(
  { config, weights }: Model,
  resid: tf.Tensor3D,
  positions: readonly number[],
): Promise<Readout> {
  const finalNorm = await weights.finalNorm();
  const [B, T, D] = resid.shape;
  return tf.tidy(() => {
    const rows = tf.tensor1d(
      Int32Array.from(positions, (position, b) => b * T + position),
      "int32",
    );
    const picked = tf.gather(tf.reshape(resid, [B * T, D]), rows);
    const { y, saved } = norm(config.norm, config.normEps, finalNorm, picked);
    return { final: y as tf.Tensor2D, saved };
  });
}

/**
 * Gradient of `readout` with respect to the residual stream.
 * @param dFinal [B, D]
 * @returns [1, B, T, D], zero at every other position; owned by the caller
 */
export async function readoutVjp(
  { config, weights }: Model,
  { saved }: Readout,
  positions: readonly number[],
  T: number,
  dFinal: tf.Tensor2D,
): Promise<tf.Tensor4D> {
  const finalNorm = await weights.finalNorm();
  const [B, D] = dFinal.shape;
  return tf.tidy(() => {
    const dPicked = normVjp(config.norm, finalNorm, saved, dFinal);
    const here = new Float32Array(B * T);
    positions.forEach((position, b) => {
      here[b * T + position] = 1;
    });
    const spread = tf.mul(tf.tensor3d(here, [B, T, 1]), tf.reshape(dPicked, [B, 1, D]));
    return tf.reshape(spread, [1, B, T, D]) as tf.Tensor4D;
  });
}

/**
 * Logits of every position of prompts of one length: a plain forward pass.
 * @returns [B, T, V], owned by the caller
 */
export async function logits(
  model: Model,
  prompts: readonly (readonly number[])[],
  edit?: Edit,
): Promise<tf.Tensor3D> {
  const [B, T] = [prompts.length, prompts[0].length];
  const context = makeBlockContext(model.config, T);
  const owned: tf.Tensor[] = [];
  try {
    const embedded = await embed(model, prompts);
    owned.push(embedded);
    const resid = await runBlocks(model, context, embedded, { ...(edit && { edit }) });
    owned.push(resid);
    const finalNorm = await model.weights.finalNorm();
    const rows = await model.weights.unembedding();
    try {
      return tf.tidy(() => {
        const { y } = norm(model.config.norm, model.config.normEps, finalNorm, resid);
        const flat = product(tf.reshape(y, [B * T, model.config.width]) as tf.Tensor2D, rows, {
          transposeB: true,
        });
        return tf.reshape(flat, [B, T, model.config.vocabulary]) as tf.Tensor3D;
      });
    } finally {
      model.weights.releaseUnembedding();
    }
  } finally {
    disposeBlockContext(context);
    tf.dispose(owned);
  }
}
