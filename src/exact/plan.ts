/**
 * @file Which patched runs a batch of pairs needs, and where each one starts.
 *
 * A patch changes nothing in the layers below its lowest node and, attention being causal, nothing at the positions
 * before its first one, nor before the first token that differs. So a run starts there, and runs that start at the same place go through the model together.
 */

import { bytesOfContext, bytesOfStream, restingBudget, tokensWithin } from "../activation-budget.js";
import type { ModelConfig } from "../model/config.js";
import { type NodeGroup, type NodeSet, type NodeSpace, visitNodes } from "../nodes/node-space.js";
import { type Span, spanInPair } from "../nodes/positions.js";
import type { PairBatch } from "../prompts/buckets.js";
import { firstDifference, type Pair } from "../prompts/pair.js";
import { wavesWithin } from "../wave.js";
import type { PatchedRow } from "./patch-masks.js";

/** Where a run leaves the base run. */
interface Start {
  /** The lowest layer in which it differs. */
  readonly layer: number;
  /** The first position at which it does. */
  readonly position: number;
}

/** A pair of the batch with a set patched in. */
export interface PatchedRun extends PatchedRow, Start {
  readonly set: number;
}

/** What a set's start depends on, whatever the pair. */
export interface SetOutline {
  readonly nodes: NodeSet;
  /** The lowest layer of a node. */
  readonly layer: number;
  /** The places on the position axis where it has nodes. */
  readonly labels: readonly number[];
  readonly groups: ReadonlySet<NodeGroup>;
}

export function outlineOfSet(space: NodeSpace, nodes: NodeSet): SetOutline {
  const seen = new Uint8Array(space.labels.length);
  const groups = new Set<NodeGroup>();
  let layer = Number.POSITIVE_INFINITY;
  let last: NodeGroup | undefined;
  visitNodes(space, nodes, (group, p) => {
    seen[p] = 1;
    if (group === last) return;
    last = group;
    groups.add(group);
    layer = Math.min(layer, group.layer);
  });
  return { nodes, layer, labels: space.labels.flatMap((_, p) => (seen[p] ? [p] : [])), groups };
}

export interface BatchPlan {
  readonly batch: PairBatch;
  /** Sets × pairs, whether they need a run or not. */
  readonly asked: number;
  /** Runs that can change a metric. */
  readonly runs: readonly PatchedRun[];
  /** Runs patched where nothing differs, or behind or above all that the metrics read: their effect is 0. */
  readonly idle: readonly PatchedRun[];
  /** Sites and layers where the runs are patched. */
  readonly groups: ReadonlySet<NodeGroup>;
}

/** What patched runs of a batch are planned from. */
export interface SetsOfBatch {
  readonly space: NodeSpace;
  readonly batch: PairBatch;
  readonly sets: readonly SetOutline[];
  /** Whether patched values are those of the pairs' source runs. */
  readonly fromPrompt: boolean;
  /** Whether a set is to be patched on a pair of the batch; default: on every one. */
  readonly isAsked?: (set: number, pairIndex: number) => boolean;
}

/**
 * Plans the runs of every set on every pair that it is asked for and that has all of its nodes.
 * @param changes whether a run can change a metric
 */
export function planBatch(
  { space, batch, sets, fromPrompt, isAsked = () => true }: SetsOfBatch,
  changes: (run: PatchedRun) => boolean,
): BatchPlan {
  const differFrom = batch.pairs.map((pair) => (fromPrompt ? firstDifference(pair) : 0));
  let asked = 0;
  const runs = sets.flatMap(({ nodes, layer, labels }, set) =>
    batch.pairs.flatMap((pair, pairIndex) => {
      if (!isAsked(set, pairIndex)) return [];
      asked++;
      const span = spanOf(space, pair, labels);
      if (!span) return [];
      // What comes before the first token that differs has the same value in both runs: patching it changes nothing.
      const from = differFrom[pairIndex];
      const position = span.end > from ? Math.max(span.first, from) : Number.POSITIVE_INFINITY;
      return [{ pair, pairIndex, set, nodes, layer, position }];
    }),
  );
  return {
    batch,
    asked,
    runs: runs.filter(changes).sort((a, b) => a.layer - b.layer || a.position - b.position),
    idle: runs.filter((run) => !changes(run)),
    groups: new Set(sets.flatMap(({ groups }) => [...groups])),
  };
}

/** From the first position to the last; undefined where the pair lacks one of the labels. */
function spanOf(space: NodeSpace, pair: Pair, labels: readonly number[]): Span | undefined {
  let [first, end] = [Number.POSITIVE_INFINITY, 0];
  for (const p of labels) {
    const span = spanInPair(space.labels[p], pair);
    if (!span) return undefined;
    first = Math.min(first, span.first);
    end = Math.max(end, span.end);
  }
  return { first, end };
}

/**
 * Runs that start together, as many at a time as have so many tokens; at least one.
 * @param runs in order of layer and position
 * @param T token length of the batch
 */
function* chunksOfOneStart<Run extends Start>(
  runs: readonly Run[],
  T: number,
  tokensAtOnce: number,
): Generator<readonly Run[]> {
  for (let first = 0; first < runs.length; ) {
    const { layer, position } = runs[first];
    const most = Math.max(1, Math.floor(tokensAtOnce / (T - position)));
    let end = first + 1;
    while (
      end < runs.length &&
      end - first < most &&
      runs[end].layer === layer &&
      runs[end].position === position
    )
      end++;
    yield runs.slice(first, end);
    first = end;
  }
}

/**
 * The same chunks, those together that go up side by side.
 * @param budgetBytes what the activations of a chunk may take
 * @param streams what a run takes between two layers, in residual streams; beside them a chunk has a mask and rotary tables
 */
export function wavesOfRuns<Run extends Start>(
  config: ModelConfig,
  runs: readonly Run[],
  T: number,
  budgetBytes: number,
  streams = 1,
): Iterable<readonly (readonly Run[])[]> {
  const chunks = chunksOfOneStart(runs, T, tokensWithin(budgetBytes, config, T));
  return wavesWithin(chunks, restingBudget(budgetBytes), ({ length, 0: { position } }) => {
    const Q = T - position;
    return streams * bytesOfStream(config, length * Q) + bytesOfContext(config, Q, T);
  });
}
