/**
 * @file The unpatched runs of a batch of pairs, and what patched runs take from them: the base run's residual stream
 * where they start, its keys and values from there on, and the source run's values where they are patched.
 */

import * as tf from "@tensorflow/tfjs-core";
import { disposeBlockContext, type Edit, makeBlockContext, type Past } from "../model/block.js";
import type { Model } from "../model/model.js";
import { embed, readout, runBlocks } from "../model/transformer.js";
import type { NodeGroup } from "../nodes/node-space.js";
import { basePrompt, type Direction, sourcePrompt } from "../prompts/direction.js";
import type { Pair } from "../prompts/pair.js";
import type { ActivationSource } from "../sources/source.js";
import type { BatchPlan } from "./plan.js";

/** Owns tensors: `dispose` it when the batch is done. */
export interface BaseAndSource {
  /** residPre of the base run [B, T, D], by layer. */
  readonly baseResiduals: ReadonlyMap<number, tf.Tensor3D>;
  /** Keys and values of the base run at all positions, by layer; of the layers that a run with a past goes through. */
  readonly baseKeysAndValues: ReadonlyMap<number, Past>;
  /** Values that are patched in, in the site's shape. */
  readonly sourceValues: ReadonlyMap<NodeGroup, tf.Tensor>;
  /** `final` of either run at each pair's metric position, [B, D]. */
  readonly baseFinal: tf.Tensor2D;
  readonly sourceFinal: tf.Tensor2D;
  dispose(): void;
}

/**
 * Runs both prompts of every pair of the batch.
 * @param plan what the patched runs will need
 * @param source where patched values come from, if not from the source run
 */
export async function runBaseAndSource(
  model: Model,
  pairs: readonly Pair[],
  direction: Direction,
  { runs, groups }: Pick<BatchPlan, "runs" | "groups">,
  source?: ActivationSource,
): Promise<BaseAndSource> {
  const context = makeBlockContext(model.config, pairs[0].clean.length);
  const baseResiduals = new Map<number, tf.Tensor3D>();
  const baseKeys = new Map<number, tf.Tensor4D>();
  const baseValues = new Map<number, tf.Tensor4D>();
  const sourceValues = new Map<NodeGroup, tf.Tensor>();
  const starts = new Set(runs.map(({ layer }) => layer));
  const withPast = runs.filter(({ position }) => position > 0).map(({ layer }) => layer);
  const firstWithPast = withPast.reduce((lowest, layer) => Math.min(lowest, layer), Number.POSITIVE_INFINITY);
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
      if (layer >= firstWithPast && point === "k")
        baseKeys.set(layer, tf.keep(tf.clone(value)) as tf.Tensor4D);
      if (layer >= firstWithPast && point === "v")
        baseValues.set(layer, tf.keep(tf.clone(value)) as tf.Tensor4D);
      return value;
    },
  );
  const sourceFinal = await finalOf(
    (pair) => sourcePrompt(pair, direction),
    (point, layer, value) => {
      const group = wanted.find((candidate) => candidate.site === point && candidate.layer === layer);
      if (group) {
        const patched = source ? source.valuesAt(group.site, layer, value) : tf.clone(value);
        sourceValues.set(group, tf.keep(patched));
      }
      return value;
    },
  );
  disposeBlockContext(context);
  const baseKeysAndValues = new Map<number, Past>();
  for (const [layer, k] of baseKeys) {
    const v = baseValues.get(layer);
    if (v) baseKeysAndValues.set(layer, { k, v });
  }
  return {
    baseResiduals,
    baseKeysAndValues,
    sourceValues,
    baseFinal,
    sourceFinal,
    dispose() {
      const maps = [baseResiduals, baseKeys, baseValues, sourceValues];
      tf.dispose([...maps.flatMap((map) => [...map.values()]), baseFinal, sourceFinal]);
    },
  };
}
