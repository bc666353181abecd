/**
 * @file The unpatched runs of a batch of pairs, and what path runs take from them: the base run's residual stream where
 * receivers read it, its keys and values, and the difference between the runs at the senders.
 */

import * as tf from "@tensorflow/tfjs-core";
import { disposeBlockContext, type Edit, makeBlockContext, type Past } from "../../model/block.js";
import type { Model } from "../../model/model.js";
import { embed, readout, runBlocks } from "../../model/transformer.js";
import { basePrompt, type Direction, sourcePrompt } from "../../prompts/direction.js";
import type { ActivationSource } from "../../sources/source.js";
import type { PathPlan } from "./plan.js";
import { streamOf } from "./receivers.js";
import { type SiteKey, siteKey } from "./sender-changes.js";

/** Owns tensors: `dispose` it when the batch is done. */
export interface PathInputs {
  /** The base run's stream where receivers read it and where runs start, [B, T, D]. */
  readonly streams: ReadonlyMap<SiteKey, tf.Tensor3D>;
  /** Keys and values of the base run at all positions, by layer; of the layers that a run with a past goes through. */
  readonly keysAndValues: ReadonlyMap<number, Past>;
  /** Patched − base value at the senders, in the site's shape. */
  readonly differences: ReadonlyMap<SiteKey, tf.Tensor>;
  /** `final` of either run at each pair's metric position, [B, D]. */
  readonly baseFinal: tf.Tensor2D;
  readonly sourceFinal: tf.Tensor2D;
  dispose(): void;
}

/**
 * Runs both prompts of every pair of the batch.
 * @param source where the senders' values come from, if not from the source run
 */
export async function runPathInputs(
  model: Model,
  direction: Direction,
  { batch: { pairs, length: T }, runs }: PathPlan,
  source?: ActivationSource,
): Promise<PathInputs> {
  const { config } = model;
  const senders = new Set(runs.map(({ sender }) => siteKey(sender)));
  const read = new Set<SiteKey>();
  for (const { hearings } of runs) {
    for (const { receiver } of hearings) read.add(siteKey(streamOf(config, receiver)));
  }
  for (const { layer } of runs) read.add(siteKey({ layer, site: "residPre" }));
  const firstWithPast = runs
    .filter(({ position }) => position > 0)
    .reduce((lowest, { layer }) => Math.min(lowest, layer), config.layers);

  const context = makeBlockContext(config, T);
  const streams = new Map<SiteKey, tf.Tensor3D>();
  const keys = new Map<number, tf.Tensor4D>();
  const values = new Map<number, tf.Tensor4D>();
  const baseValues = new Map<SiteKey, tf.Tensor>();
  const differences = new Map<SiteKey, tf.Tensor>();
  const finalOf = async (prompts: (readonly number[])[], edit: Edit): Promise<tf.Tensor2D> => {
    const embedded = await embed(model, prompts);
    const resid = await runBlocks(model, context, embedded, { edit });
    const { final, saved } = await readout(
      model,
      resid,
      pairs.map((pair) => pair.metricPosition),
    );
    tf.dispose([embedded, resid, saved]);
    return final;
  };
  const kept = <Value extends tf.Tensor>(value: Value): Value => tf.keep(tf.clone(value)) as Value;
  const baseFinal = await finalOf(
    pairs.map((pair) => basePrompt(pair, direction)),
    (point, layer, value) => {
      if (point === "pattern") return value;
      const key = siteKey({ layer, site: point });
      if (read.has(key)) streams.set(key, kept(value as tf.Tensor3D));
      if (senders.has(key)) baseValues.set(key, kept(value));
      if (layer >= firstWithPast && point === "k") keys.set(layer, kept(value as tf.Tensor4D));
      if (layer >= firstWithPast && point === "v") values.set(layer, kept(value as tf.Tensor4D));
      return value;
    },
  );
  const sourceFinal = await finalOf(
    pairs.map((pair) => sourcePrompt(pair, direction)),
    (point, layer, value) => {
      if (point === "pattern") return value;
      const key = siteKey({ layer, site: point });
      const base = baseValues.get(key);
      if (base) {
        const patched = source ? source.valuesAt(point, layer, value) : value;
        differences.set(key, tf.keep(tf.sub(patched, base)));
        base.dispose();
      }
      return value;
    },
  );
  disposeBlockContext(context);
  const keysAndValues = new Map<number, Past>();
  for (const [layer, k] of keys) {
    const v = values.get(layer);
    if (v) keysAndValues.set(layer, { k, v });
  }
  return {
    streams,
    keysAndValues,
    differences,
    baseFinal,
    sourceFinal,
    dispose() {
      const maps = [streams, keys, values, differences];
      tf.dispose([...maps.flatMap((map) => [...map.values()]), baseFinal, sourceFinal]);
    },
  };
}
