/** @file One unpatched run of a batch of pairs to its readout, and the keys and values that runs behind position 0 take over. */

import * as tf from "@tensorflow/tfjs-core";
import type { BlockContext, Edit, Past } from "../model/block.js";
import type { Model } from "../model/model.js";
import type { HookPoint } from "../model/sites.js";
import { readout, runBlocks } from "../model/transformer.js";
import type { Direction } from "../prompts/direction.js";
import { embedRun, type PairRun } from "../prompts/embed-run.js";
import type { Pair } from "../prompts/pair.js";

/**
 * Runs one prompt of every pair.
 * @param pairs B pairs of one token length
 * @param layers how many layers it goes through, for runs that are not read at their logits; default all
 * @returns `final` at each pair's metric position, [B, D], owned by the caller
 */
export async function finalOfRun(
  model: Model,
  context: BlockContext,
  pairs: readonly Pair[],
  { direction, run }: { readonly direction: Direction; readonly run: PairRun },
  edit: Edit,
  layers = model.config.layers,
): Promise<tf.Tensor2D> {
  const embedded = await embedRun(model, pairs, direction, run);
  const resid = await runBlocks(model, context, embedded, { edit, to: layers });
  const positions = pairs.map((pair) => pair.metricPosition);
  const { final, saved } = await readout(model, resid, positions);
  tf.dispose([embedded, resid, saved]);
  return final;
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
