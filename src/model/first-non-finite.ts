/**
 * @file Where values of a run begin to be NaN or infinite. A run whose metric is finite is not looked at any closer, so this costs
 * nothing until something is wrong; then the run is made again, value by value.
 */

import * as tf from "@tensorflow/tfjs-core";
import { disposeBlockContext, type Edit, makeBlockContext } from "./block.js";
import { climb, StreamRun } from "./climb.js";
import type { Model } from "./model.js";
import { type HookPoint, isPerHead, siteIndex } from "./sites.js";
import { readout } from "./transformer.js";

/** How the readout is called. */
export const FINAL_NORM = "the final norm";

/** The first value of a run that is not finite. */
export interface NonFinite {
  /** Such as "L2.neuron[100]@0" or "the final norm". */
  readonly place: string;
  /** NaN, Infinity or -Infinity. */
  readonly value: number;
}

/** Whether every number is finite: 0·x is NaN for all that are not. */
export function isAllFinite(value: tf.Tensor): boolean {
  const sum = tf.tidy(() => tf.sum(tf.mul(value, 0)));
  const [zero] = sum.dataSync();
  sum.dispose();
  return zero === 0;
}

/**
 * The first value of one prompt's run that is not finite, in the order in which a run computes them.
 *
 * @param embedded residPre of layer 0, [1, T, D]; stays the caller's
 * @param position where the logits are read
 * @param edit of the run, if it is a patched one
 * @returns undefined if all that a readout gives is finite, so that only logits can be at fault
 */
export async function firstNonFinite(
  model: Model,
  embedded: tf.Tensor3D,
  position: number,
  edit: (layer: number) => Edit = () => (_point, _layer, value) => value,
): Promise<NonFinite | undefined> {
  const context = makeBlockContext(model.config, embedded.shape[1]);
  let found: NonFinite | undefined;
  const run = new StreamRun(context, tf.clone(embedded), {
    editOf: (layer) => {
      const own = edit(layer);
      return (point, at, value) => {
        const edited = own(point, at, value);
        found ??= nonFiniteOf(point, at, edited);
        return edited;
      };
    },
  });
  try {
    await climb(model.weights, [run], model.config.layers);
    if (found) return found;
    const { final, saved } = await readout(model, run.stream, [position]);
    const bad = final.dataSync().find((value) => !Number.isFinite(value));
    tf.dispose([final, saved]);
    return bad === undefined ? undefined : { place: FINAL_NORM, value: bad };
  } finally {
    run.dispose();
    disposeBlockContext(context);
  }
}

/** @param value of one prompt, [1, …] */
function nonFiniteOf(point: HookPoint, layer: number, value: tf.Tensor): NonFinite | undefined {
  if (isAllFinite(value)) return undefined;
  const data = value.dataSync();
  const at = data.findIndex((number) => !Number.isFinite(number));
  const [rows, columns] = value.shape.slice(-2);
  const column = at % columns;
  const row = Math.floor(at / columns);
  const perHead = point === "pattern" || isPerHead(point);
  const hasIndex = perHead || siteIndex(point) !== "none";
  const index = perHead ? Math.floor(row / rows) : column;
  return { place: `L${layer}.${point}${hasIndex ? `[${index}]` : ""}@${row % rows}`, value: data[at] };
}
