/**
 * @file The unpatched runs of a batch of pairs to their readout, and the keys and values that runs behind position 0 take
 * over.
 */

import * as tf from "@tensorflow/tfjs-core";
import { disposeBlockContext, type Edit, makeBlockContext, type Past } from "../model/block.js";
import { climb, StreamRun } from "../model/climb.js";
import type { Model } from "../model/model.js";
import type { HookPoint, Site } from "../model/sites.js";
import { readout } from "../model/transformer.js";
import type { Direction } from "../prompts/direction.js";
import { embedRun } from "../prompts/embed-run.js";
import type { Pair } from "../prompts/pair.js";
import type { ActivationSource } from "../sources/source.js";

/** `final` of either run at each pair's metric position, [B, D]. */
export interface UnpatchedFinals {
  readonly baseFinal: tf.Tensor2D;
  readonly sourceFinal: tf.Tensor2D;
}

/** Sees every hook point's value of a run, and changes none. */
export type Watch = (point: HookPoint, layer: number, value: tf.Tensor) => void;

/** What is watched of the runs. */
export interface Watching {
  readonly base: Watch;
  readonly source: Watch;
  /** Frees what was kept so far; called where a run breaks off. */
  readonly release: () => void;
  /** How many layers the runs go through, where they are not read at their logits; default all. */
  readonly layers?: number;
}

/**
 * Runs both prompts of every pair, side by side: in every layer the base run first.
 * @param pairs B pairs of one token length
 * @returns tensors owned by the caller; `final` is that of the stream that far, where the runs stop below
 */
export async function runUnpatched(
  model: Model,
  pairs: readonly Pair[],
  direction: Direction,
  { base, source, release, layers = model.config.layers }: Watching,
): Promise<UnpatchedFinals> {
  const context = makeBlockContext(model.config, pairs[0].clean.length);
  const runs: StreamRun[] = [];
  const finals: tf.Tensor2D[] = [];
  try {
    for (const [run, watch] of [
      ["base", base],
      ["source", source],
    ] as const) {
      const edit: Edit = (point, layer, value) => {
        watch(point, layer, value);
        return value;
      };
      const embedded = await embedRun(model, pairs, direction, run);
      runs.push(new StreamRun(context, embedded, { editOf: () => edit }));
    }
    await climb(model.weights, runs, layers);
    const positions = pairs.map((pair) => pair.metricPosition);
    for (const { stream } of runs) {
      const { final, saved } = await readout(model, stream, positions);
      tf.dispose(saved);
      finals.push(final);
    }
    const [baseFinal, sourceFinal] = finals;
    return { baseFinal, sourceFinal };
  } catch (error) {
    tf.dispose(finals);
    release();
    throw error;
  } finally {
    for (const run of runs) run.dispose();
    disposeBlockContext(context);
  }
}

/** What is patched in at a site of the source run: a clone of its value, or the replacement's. Outlives the tidy. */
export function patchedValue(
  replacement: ActivationSource | undefined,
  site: Site,
  layer: number,
  value: tf.Tensor,
): tf.Tensor {
  return replacement ? tf.keep(replacement.valuesAt(site, layer, value)) : kept(value);
}

/** A clone that outlives the tidy it is made in. */
export function kept<Value extends tf.Tensor>(value: Value): Value {
  return tf.keep(tf.clone(value)) as Value;
}

/** Keys and values of a run at all positions, for runs that start behind its first. Owns tensors. */
export class KeysAndValues {
  readonly #keys = new Map<number, tf.Tensor4D>();
  readonly #values = new Map<number, tf.Tensor4D>();
  readonly #from: number;

  /** @param runs those that will start over this one: only layers that one with a past goes through are kept */
  constructor(runs: readonly { readonly layer: number; readonly position: number }[]) {
    this.#from = runs
      .filter(({ position }) => position > 0)
      .reduce((lowest, { layer }) => Math.min(lowest, layer), Number.POSITIVE_INFINITY);
  }

  /** To be called by the run's edit with everything it sees. */
  see(point: HookPoint, layer: number, value: tf.Tensor): void {
    if (layer < this.#from) return;
    if (point === "k") this.#keys.set(layer, kept(value as tf.Tensor4D));
    if (point === "v") this.#values.set(layer, kept(value as tf.Tensor4D));
  }

  /**
   * Keys and values before a position, for a batch of runs.
   * @param rows the pair of each run, [R]
   * @returns tensors owned by the caller
   */
  before(position: number, layer: number, rows: tf.Tensor1D): Past {
    const [k, v] = [this.#keys.get(layer), this.#values.get(layer)];
    if (!k || !v) throw new Error(`before: expected the base keys and values of layer ${layer}, got none`);
    const part = (x: tf.Tensor4D): tf.Tensor4D =>
      tf.gather(tf.slice(x, [0, 0, 0, 0], [-1, -1, position, -1]), rows);
    return { k: part(k), v: part(v) };
  }

  dispose(): void {
    tf.dispose([...this.#keys.values(), ...this.#values.values()]);
  }
}
