/**
 * @file The unpatched runs of a batch of pairs, and what patched runs take from them: the base run's residual stream
 * where they start, its keys and values from there on, and the source run's values where they are patched.
 */

import * as tf from "@tensorflow/tfjs-core";
import { disposeBlockContext, makeBlockContext } from "../model/block.js";
import type { Model } from "../model/model.js";
import type { NodeGroup } from "../nodes/node-space.js";
import type { Direction } from "../prompts/direction.js";
import type { UnpatchedReading } from "../prompts/metrics/internal-reader.js";
import type { Pair } from "../prompts/pair.js";
import type { ActivationSource } from "../sources/source.js";
import type { BatchPlan } from "./plan.js";
import { finalOfRun, KeysAndValues, kept } from "./unpatched-run.js";

/** Owns tensors: `dispose` it when the batch is done. */
export interface BaseAndSource {
  /** residPre of the base run [B, T, D], by layer. */
  readonly baseResiduals: ReadonlyMap<number, tf.Tensor3D>;
  /** Of the base run. */
  readonly baseKeysAndValues: KeysAndValues;
  /** Values that are patched in, in the site's shape. */
  readonly sourceValues: ReadonlyMap<NodeGroup, tf.Tensor>;
  /** `final` of either run at each pair's metric position, [B, D]; of the stream that far, where they stop below. */
  readonly baseFinal: tf.Tensor2D;
  readonly sourceFinal: tf.Tensor2D;
  dispose(): void;
}

/**
 * Runs both prompts of every pair of the batch.
 * @param plan what the patched runs will need
 * @param source where patched values come from, if not from the source run
 * @param read what is read off them, and how many layers that takes
 */
export async function runBaseAndSource(
  model: Model,
  pairs: readonly Pair[],
  direction: Direction,
  { runs, groups }: Pick<BatchPlan, "runs" | "groups">,
  source: ActivationSource | undefined,
  { readers, layers }: UnpatchedReading,
): Promise<BaseAndSource> {
  const context = makeBlockContext(model.config, pairs[0].clean.length);
  const baseResiduals = new Map<number, tf.Tensor3D>();
  const baseKeysAndValues = new KeysAndValues(runs);
  const sourceValues = new Map<NodeGroup, tf.Tensor>();
  const starts = new Set(runs.map(({ layer }) => layer));
  const wanted = [...groups];

  const baseFinal = await finalOfRun(
    model,
    context,
    pairs,
    { direction, run: "base" },
    (point, layer, value) => {
      if (point === "residPre" && starts.has(layer)) baseResiduals.set(layer, kept(value as tf.Tensor3D));
      baseKeysAndValues.see(point, layer, value);
      readers.base.see(point, layer, value);
      return value;
    },
    layers,
  );
  const sourceFinal = await finalOfRun(
    model,
    context,
    pairs,
    { direction, run: "source" },
    (point, layer, value) => {
      const group = wanted.find((candidate) => candidate.site === point && candidate.layer === layer);
      if (group) {
        const patched = source ? tf.keep(source.valuesAt(group.site, layer, value)) : kept(value);
        sourceValues.set(group, patched);
      }
      readers.source.see(point, layer, value);
      return value;
    },
    layers,
  );
  disposeBlockContext(context);
  return {
    baseResiduals,
    baseKeysAndValues,
    sourceValues,
    baseFinal,
    sourceFinal,
    dispose() {
      baseKeysAndValues.dispose();
      tf.dispose([...baseResiduals.values(), ...sourceValues.values(), baseFinal, sourceFinal]);
    },
  };
}
