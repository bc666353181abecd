/** @file What is wrong with a patched run whose metric is not finite. */

import * as tf from "@tensorflow/tfjs-core";
import { RunError } from "../errors.js";
import { isAllFinite, type NonFinite } from "../model/first-non-finite.js";
import type { Model } from "../model/model.js";
import type { NodeGroup, NodeSet, NodeSpace } from "../nodes/node-space.js";
import type { Direction } from "../prompts/direction.js";
import type { Metric } from "../prompts/metrics/metric.js";
import { beginsAt, firstOfPair, firstOfRun } from "../prompts/not-finite.js";
import type { Pair } from "../prompts/pair.js";
import type { ActivationSource } from "../sources/source.js";
import { patchEdit } from "./patch-masks.js";
import { patchedValue } from "./unpatched-run.js";

/** A run of one pair with nodes patched. */
export interface SuspectRun {
  readonly pair: Pair;
  readonly direction: Direction;
  readonly space: NodeSpace;
  readonly nodes: NodeSet;
  /** Where the patched values come from, if not from the source run. */
  readonly replacement?: ActivationSource | undefined;
}

/**
 * @param values of the run, one per metric
 * @param name of what is patched, for the error
 * @throws RunError if one of them is not finite, naming layer and site where that begins
 */
export async function checkPatched(
  model: Model,
  metrics: readonly Metric[],
  values: readonly number[],
  name: string,
  suspect: SuspectRun,
): Promise<void> {
  const wrong = values.findIndex((value) => !Number.isFinite(value));
  if (wrong < 0) return;
  throw new RunError(
    `exactEffects: expected a finite ${metrics[wrong].name} of every patched run, got ${values[wrong]} for ${name} on ${suspect.pair.origin}: ${beginsAt(await firstOfPatched(model, suspect))}`,
  );
}

/**
 * The first value that is not finite: of the unpatched runs, of what is patched in, or of the patched run, which is made again.
 * @returns undefined where all of them are finite
 */
async function firstOfPatched(
  model: Model,
  { pair, direction, space, nodes, replacement }: SuspectRun,
): Promise<NonFinite | undefined> {
  const unpatched = await firstOfPair(model, pair, direction);
  if (unpatched) return unpatched;
  const values = new Map<NodeGroup, tf.Tensor>();
  try {
    await firstOfRun(model, pair, direction, "source", (layer) => (point, _layer, value) => {
      const group = space.groups.find((candidate) => candidate.layer === layer && candidate.site === point);
      if (group) values.set(group, patchedValue(replacement, group.site, layer, value));
      return value;
    });
    for (const [{ layer, site }, value] of values) {
      if (isAllFinite(value)) continue;
      const bad = value.dataSync().find((number) => !Number.isFinite(number));
      return { place: `L${layer}.${site} among the values that are patched in`, value: bad ?? Number.NaN };
    }
    const rows = [{ pair, pairIndex: 0, nodes }];
    const covered = { from: 0, T: pair.clean.length };
    const first = await firstOfRun(model, pair, direction, "base", (layer) =>
      patchEdit(space, layer, rows, covered, values),
    );
    return first && { ...first, place: `${first.place} of the patched run` };
  } finally {
    tf.dispose([...values.values()]);
  }
}
