/**
 * @file The unpatched runs of a batch of pairs, and what path runs take from them: the base run's residual stream where
 * receivers read it, its keys and values, and the difference between the runs at the senders.
 */

import * as tf from "@tensorflow/tfjs-core";
import type { Model } from "../../model/model.js";
import type { Direction } from "../../prompts/direction.js";
import type { ActivationSource } from "../../sources/source.js";
import { KeysAndValues, kept, runUnpatched, type UnpatchedFinals } from "../unpatched-run.js";
import type { PathPlan } from "./plan.js";
import { streamOf } from "./receivers.js";
import { type SiteKey, siteKey } from "./sender-changes.js";

/** Owns tensors: `dispose` it when the batch is done. */
export interface PathInputs extends UnpatchedFinals {
  /** The base run's stream where receivers read it and where runs start, [B, T, D]. */
  readonly streams: ReadonlyMap<SiteKey, tf.Tensor3D>;
  /** Of the base run. */
  readonly keysAndValues: KeysAndValues;
  /** Patched − base value at the senders, in the site's shape. */
  readonly differences: ReadonlyMap<SiteKey, tf.Tensor>;
  dispose(): void;
}

/**
 * Runs both prompts of every pair of the batch.
 * @param source where the senders' values come from, if not from the source run
 */
export async function runPathInputs(
  model: Model,
  direction: Direction,
  { batch: { pairs }, runs }: PathPlan,
  source?: ActivationSource,
): Promise<PathInputs> {
  const { config } = model;
  const senders = new Set(runs.map(({ sender }) => siteKey(sender)));
  const read = new Set<SiteKey>();
  for (const { hearings } of runs) {
    for (const { receiver } of hearings) read.add(siteKey(streamOf(config, receiver)));
  }
  for (const { layer } of runs) read.add(siteKey({ layer, site: "residPre" }));

  const streams = new Map<SiteKey, tf.Tensor3D>();
  const keysAndValues = new KeysAndValues(runs);
  const baseValues = new Map<SiteKey, tf.Tensor>();
  const differences = new Map<SiteKey, tf.Tensor>();
  const release = () => {
    keysAndValues.dispose();
    tf.dispose([...streams.values(), ...baseValues.values(), ...differences.values()]);
  };
  const { baseFinal, sourceFinal } = await runUnpatched(model, pairs, direction, {
    base(point, layer, value) {
      if (point === "pattern") return;
      const key = siteKey({ layer, site: point });
      if (read.has(key)) streams.set(key, kept(value as tf.Tensor3D));
      if (senders.has(key)) baseValues.set(key, kept(value));
      keysAndValues.see(point, layer, value);
    },
    source(point, layer, value) {
      if (point === "pattern") return;
      const key = siteKey({ layer, site: point });
      const base = baseValues.get(key);
      if (!base) return;
      const patched = source ? source.valuesAt(point, layer, value) : value;
      differences.set(key, tf.keep(tf.sub(patched, base)));
      base.dispose();
      baseValues.delete(key);
    },
    release,
  });
  return {
    streams,
    keysAndValues,
    differences,
    baseFinal,
    sourceFinal,
    dispose() {
      release();
      tf.dispose([baseFinal, sourceFinal]);
    },
  };
}
