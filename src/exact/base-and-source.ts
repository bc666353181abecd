/**
 * @file The unpatched runs of a batch of pairs, and what patched runs take from them: the base run's residual stream
 * where they start, and the source run's values where they are patched.
 */

import * as tf from "@tensorflow/tfjs-core";
import { type BlockContext, disposeBlockContext, type Edit, makeBlockContext } from "../model/block.js";
import type { Model } from "../model/model.js";
import { embed, readout, runBlocks } from "../model/transformer.js";
import type { NodeGroup } from "../nodes/node-space.js";
import { basePrompt, type Direction, sourcePrompt } from "../prompts/direction.js";
import type { Pair } from "../prompts/pair.js";

/** Owns tensors: `dispose` it when the batch is done. */
export interface BaseAndSource {
  readonly context: BlockContext;
  /** residPre of the base run [B, T, D], by layer. */
  readonly baseResiduals: ReadonlyMap<number, tf.Tensor3D>;
  /** Values of the source run, in the site's shape. */
  readonly sourceValues: ReadonlyMap<NodeGroup, tf.Tensor>;
  /** `final` of either run at each pair's metric position, [B, D]. */
  readonly baseFinal: tf.Tensor2D;
  readonly sourceFinal: tf.Tensor2D;
  dispose(): void;
}

/**
 * Runs both prompts of every pair.
 *
 * @param pairs B pairs of one token length
 * @param starts layers at which patched runs will start
 * @param groups sites and layers at which they will be patched
 */
export async function runBaseAndSource(
  model: Model,
  pairs: readonly Pair[],
  direction: Direction,
  starts: ReadonlySet<number>,
  groups: ReadonlySet<NodeGroup>,
): Promise<BaseAndSource> {
  const context = makeBlockContext(model.config, pairs[0].clean.length);
  const baseResiduals = new Map<number, tf.Tensor3D>();
  const sourceValues = new Map<NodeGroup, tf.Tensor>();
  const wanted = [...groups];

  const finalOf = async (promptOf: (pair: Pair) => readonly number[], edit: Edit): Promise<tf.Tensor2D> => {
    const embedded = await embed(model, pairs.map(promptOf));
    const resid = await runBlocks(model, context, embedded, { edit });
    const positions = pairs.map((pair) => pair.metricPosition);
    const { final, saved } = await readout(model, resid, positions);
    tf.dispose([embedded, resid, saved]);
    return final;
  };
  const baseFinal = await finalOf(
    (pair) => basePrompt(pair, direction),
    (point, layer, value) => {
      if (point === "residPre" && starts.has(layer)) {
        baseResiduals.set(layer, tf.keep(tf.clone(value)) as tf.Tensor3D);
      }
      return value;
    },
  );
  const sourceFinal = await finalOf(
    (pair) => sourcePrompt(pair, direction),
    (point, layer, value) => {
      const group = wanted.find((candidate) => candidate.site === point && candidate.layer === layer);
      if (group) sourceValues.set(group, tf.keep(tf.clone(value)));
      return value;
    },
  );
  return {
    context,
    baseResiduals,
    sourceValues,
    baseFinal,
    sourceFinal,
    dispose() {
      disposeBlockContext(context);
      tf.dispose([...baseResiduals.values(), ...sourceValues.values(), baseFinal, sourceFinal]);
    },
  };
}
