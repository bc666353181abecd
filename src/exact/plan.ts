/**
 * @file Which patched runs a batch of pairs needs, and where each one starts.
 *
 * A patch changes nothing in the layers below its lowest node and, attention being causal, nothing at the positions
 * before its first one. So a run starts there, and runs that start at the same place go through the model together.
 */

import { groupOf, locate, type NodeGroup, type NodeSet, type NodeSpace } from "../nodes/node-space.js";
import { spanInPair } from "../nodes/positions.js";
import type { PairBatch } from "../prompts/buckets.js";
import type { Pair } from "../prompts/pair.js";
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

export interface BatchPlan {
  readonly batch: PairBatch;
  /** Runs that can change the metric. */
  readonly runs: readonly PatchedRun[];
  /** Runs patched behind the position where their pair's metric is read: their effect is 0 by causality. */
  readonly idle: readonly PatchedRun[];
  /** Sites and layers where the runs are patched. */
  readonly groups: ReadonlySet<NodeGroup>;
}

/**
 * Plans the runs of every set on every pair that has all of its nodes.
 * @throws Error for an empty set
 */
export function planBatch(space: NodeSpace, batch: PairBatch, sets: readonly NodeSet[]): BatchPlan {
  const groups = new Set<NodeGroup>();
  const runs = sets.flatMap((nodes, set) => {
    if (nodes.length === 0)
      throw new Error("exactEffects: expected sets of at least one node, got an empty one");
    let layer = Number.POSITIVE_INFINITY;
    const labels = new Set<number>();
    for (const node of nodes) {
      const group = groupOf(space, node);
      groups.add(group);
      layer = Math.min(layer, group.layer);
      labels.add(locate(space, node).p);
    }
    return batch.pairs.flatMap((pair, pairIndex) => {
      const position = firstPosition(space, pair, labels);
      return position === undefined ? [] : [{ pair, pairIndex, set, nodes, layer, position }];
    });
  });
  const changes = ({ pair, position }: PatchedRun) => position <= pair.metricPosition;
  return {
    batch,
    runs: runs.filter(changes).sort((a, b) => a.layer - b.layer || a.position - b.position),
    idle: runs.filter((run) => !changes(run)),
    groups,
  };
}

/** Undefined where the pair lacks one of the labels. */
function firstPosition(space: NodeSpace, pair: Pair, labels: ReadonlySet<number>): number | undefined {
  let first = Number.POSITIVE_INFINITY;
  for (const p of labels) {
    const span = spanInPair(space.labels[p], pair);
    if (!span) return undefined;
    first = Math.min(first, span.first);
  }
  return first;
}

/**
 * Runs that start together, as many at a time as `batchSize` whole prompts have tokens.
 * @param runs in order of layer and position
 * @param T token length of the batch
 */
export function* chunksOfOneStart<Run extends Start>(
  runs: readonly Run[],
  T: number,
  batchSize: number,
): Generator<readonly Run[]> {
  for (let first = 0; first < runs.length; ) {
    const { layer, position } = runs[first];
    const most = Math.floor((batchSize * T) / (T - position));
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
