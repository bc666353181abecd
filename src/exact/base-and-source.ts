/**
 * @file The unpatched runs of a batch of pairs, and what patched runs take from them: the base run's residual stream
 * where they start, its keys and values from there on, and the source run's values where they are patched.
 */

import * as tf from "@tensorflow/tfjs-core";
import type { Model } from "../model/model.js";
import type { NodeGroup } from "../nodes/node-space.js";
import type { Direction } from "../prompts/direction.js";
import type { UnpatchedReading } from "../prompts/metrics/internal-reader.js";
import type { Pair } from "../prompts/pair.js";
import type { ActivationSource } from "../sources/source.js";
import type { BatchPlan } from "./plan.js";
import { KeysAndValues, kept, patchedValue, runUnpatched, type UnpatchedFinals } from "./unpatched-run.js";

/** Owns tensors: `dispose` it when the batch is done. */
export interface BaseAndSource extends UnpatchedFinals {
  /** residPre of the base run [B, T, D], by layer. */
  readonly baseResiduals: ReadonlyMap<number, tf.Tensor3D>;
  /** Of the base run. */
  readonly baseKeysAndValues: KeysAndValues;
  /** Values that are patched in, in the site's shape. */
  readonly sourceValues: ReadonlyMap<NodeGroup, tf.Tensor>;
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
  const baseResiduals = new Map<number, tf.Tensor3D>();
  const baseKeysAndValues = new KeysAndValues(runs);
  const sourceValues = new Map<NodeGroup, tf.Tensor>();
  const starts = new Set(runs.map(({ layer }) => layer));
  const wanted = [...groups];
  const release = () => {
    baseKeysAndValues.dispose();
    tf.dispose([...baseResiduals.values(), ...sourceValues.values()]);
  };
  const { baseFinal, sourceFinal } = await runUnpatched(model, pairs, direction, {
    base(point, layer, value) {
      if (point === "residPre" && starts.has(layer)) baseResiduals.set(layer, kept(value as tf.Tensor3D));
      baseKeysAndValues.see(point, layer, value);
      readers.base.see(point, layer, value);
    },
    source(point, layer, value) {
      const group = wanted.find((candidate) => candidate.site === point && candidate.layer === layer);
      if (group) sourceValues.set(group, patchedValue(source, group.site, layer, value));
      readers.source.see(point, layer, value);
    },
    release,
    layers,
  });
  return {
    baseResiduals,
    baseKeysAndValues,
    sourceValues,
    baseFinal,
    sourceFinal,
    dispose() {
      release();
      tf.dispose([baseFinal, sourceFinal]);
    },
  };
}
