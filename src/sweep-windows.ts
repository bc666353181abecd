/** @file Sweeps of windows: every window of a shape over the selected nodes, patched exactly and ranked. */

import { isOfPair, partialRuns } from "./exact/partial-runs.js";
import { patchSets } from "./exact/patch-sets.js";
import type { MetricOfRuns, PatchedRuns } from "./exact/patched-runs.js";
import { scoresOfRuns } from "./exact/scores-of-runs.js";
import { formatWindow, setsOfWindows, type WindowShape, windowAt, windowStarts } from "./exact/windows.js";
import { type NodeSelection, resolveVerify, spaceOfSelection, type VerifyOptions } from "./localize.js";
import type { Model } from "./model/model.js";
import type { Site } from "./model/sites.js";
import type { NodePosition } from "./nodes/node-id.js";
import type { NodeSet, NodeSpace } from "./nodes/node-space.js";
import { orderByContribution } from "./nodes/order.js";
import { statistics } from "./nodes/ranking.js";
import { gapOfPairs, recoveredOf } from "./nodes/recovered.js";
import { contribution, type ScoreTable } from "./nodes/score-table.js";
import type { Pair } from "./prompts/pair.js";

export interface WindowOptions extends Omit<VerifyOptions, "onInterrupted">, NodeSelection {
  readonly window: WindowShape;
  /**
   * Called where the signal stops the runs, before the call rejects, with the windows so far: some of them, or on some of the pairs.
   * Not called where there are none.
   */
  readonly onInterrupted?: (soFar: WindowRanking) => Promise<void> | void;
}

/** Exact effects of windows, in numbers: there may be a hundred thousand of them. `rankedWindows` has the rows. */
export interface WindowRanking {
  readonly space: NodeSpace;
  readonly shape: WindowShape;
  /** The first node of each window. */
  readonly starts: NodeSet;
  /** Every metric of all runs, the ranking one first; patched values lie in [pairs, `starts`]. */
  readonly metrics: readonly MetricOfRuns[];
  /** Of the ranking metric, one row per window. */
  readonly scores: ScoreTable;
  /** Places in `starts`, best first. */
  readonly order: Uint32Array;
  /** In forward passes of one prompt. */
  readonly forwardEquivalents: number;
}

/** One window; the columns of the CSV. Undefined means "not computed", never 0. */
export interface RankedWindow {
  /** From 1. */
  readonly rank: number;
  /** Id, such as `L3-5.mlpOut@7` or `L3.z[2]@7-9`. */
  readonly window: string;
  readonly site: Site;
  readonly firstLayer: number;
  readonly lastLayer: number;
  /** Head, kv-head or neuron. */
  readonly index?: number;
  readonly firstPosition: NodePosition;
  readonly lastPosition: NodePosition;
  /** Mean over pairs of the absolute effect: the ranking key. */
  readonly effectContribution: number;
  /** Signed mean over pairs, and its standard error. */
  readonly effectMean: number;
  readonly effectSe?: number;
  /** Mean effect ÷ (mean source metric − mean base metric), both over the pairs that have the window. */
  readonly recovered?: number;
  /** Pairs that have the window. */
  readonly pairs: number;
}

/**
 * Exact effects of every window over the selected nodes, ranked.
 * @throws InputError as `sweep` does, or for windows that do not fit the model or the pairs
 * @throws RunError if a metric of a run is not finite
 */
export async function sweepWindows(
  model: Model,
  pairs: readonly Pair[],
  { window: shape, onInterrupted, ...options }: WindowOptions,
): Promise<WindowRanking> {
  const space = spaceOfSelection(model.config, pairs, options);
  const starts = windowStarts(space, shape);
  const sets = setsOfWindows(space, shape, starts);
  const rankingOf = (runs: PatchedRuns, ofRuns: NodeSet): WindowRanking => {
    const scores = scoresOfRuns(runs.metrics[0], ofRuns.length);
    const order = orderByContribution(ofRuns.length, (at) => contribution(scores, at));
    return { space, shape, starts: ofRuns, scores, order, ...runs };
  };
  const runs = await patchSets(model, pairs, space, sets, {
    ...resolveVerify(options),
    async onStopped(soFar) {
      const partial = partialRuns(soFar, starts.length, (pair, window) =>
        Array.from(sets.at(window) ?? []).every((node) => isOfPair(space, node, pairs[pair])),
      );
      if (partial)
        await onInterrupted?.(
          rankingOf(
            partial,
            partial.patches.map((at) => starts[at]),
          ),
        );
    },
  });
  return rankingOf(runs, starts);
}

/**
 * The rows of a ranking of windows, best first.
 * @param limit at most so many rows
 */
export function* rankedWindows(
  { space, shape, starts, scores, order, metrics }: WindowRanking,
  { limit = order.length }: { readonly limit?: number } = {},
): Generator<RankedWindow> {
  const [{ patched, ...unpatched }] = metrics;
  for (let place = 0; place < Math.min(limit, order.length); place++) {
    const at = order[place];
    const effect = statistics(scores, at);
    if (!effect) throw new Error(`rankedWindows: expected a value for window ${at}, got none`);
    const gap = gapOfPairs(unpatched, (pair) => !Number.isNaN(patched[pair * starts.length + at]));
    yield {
      rank: place + 1,
      ...partsOfWindow(space, shape, starts[at]),
      effectContribution: effect.contribution,
      effectMean: effect.mean,
      ...(effect.se !== undefined && { effectSe: effect.se }),
      ...recoveredOf(effect.mean, gap),
      pairs: effect.pairs,
    };
  }
}

/** What a window is made of. */
export type WindowParts = Pick<
  RankedWindow,
  "window" | "site" | "firstLayer" | "lastLayer" | "index" | "firstPosition" | "lastPosition"
>;

/** @param start the window's first node */
export function partsOfWindow(space: NodeSpace, shape: WindowShape, start: number): WindowParts {
  const window = windowAt(space, shape, start);
  const { layer, site, index, position } = window.first;
  const further = shape.width - 1;
  const overLayers = shape.over === "layers";
  return {
    window: formatWindow(window),
    site,
    firstLayer: layer,
    lastLayer: overLayers ? layer + further : layer,
    ...(index !== undefined && { index }),
    firstPosition: position,
    lastPosition: overLayers ? position : Number(position) + further,
  };
}
