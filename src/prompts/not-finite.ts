/** @file What is wrong with a pair whose metric is not finite: where in which of its runs that begins. */

import type { Edit } from "../model/block.js";
import { firstNonFinite, type NonFinite } from "../model/first-non-finite.js";
import type { Model } from "../model/model.js";
import type { Direction } from "./direction.js";
import { embedRun, type PairRun } from "./embed-run.js";
import type { Pair } from "./pair.js";

/**
 * The first value of a run of a pair that is not finite.
 * @param edit of the run, if it is a patched one
 * @returns as `firstNonFinite` does
 */
export async function firstOfRun(
  model: Model,
  pair: Pair,
  direction: Direction,
  run: PairRun,
  edit?: (layer: number) => Edit,
): Promise<NonFinite | undefined> {
  const embedded = await embedRun(model, [pair], direction, run);
  try {
    return await firstNonFinite(model, embedded, pair.metricPosition, edit);
  } finally {
    embedded.dispose();
  }
}

/** The first one of a pair's unpatched runs, with the run that has it; undefined where there is none. */
export async function firstOfPair(
  model: Model,
  pair: Pair,
  direction: Direction,
): Promise<NonFinite | undefined> {
  for (const run of ["base", "source"] as const) {
    const first = await firstOfRun(model, pair, direction, run);
    if (first) return { ...first, place: `${first.place} of the ${run} run` };
  }
  return undefined;
}

/**
 * The end of a message about a metric that is not finite.
 * @param readOff what is read off the activations
 */
export function beginsAt(first: NonFinite | undefined, readOff = "logits"): string {
  return first === undefined
    ? `its activations are finite, its ${readOff} are not`
    : `values begin to be not finite at ${first.place}, which is ${first.value}`;
}
