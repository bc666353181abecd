/**
 * @file Which runs a batch of pairs needs for a list of paths, and where each one starts: at the lowest layer and first
 * position where a receiver hears something. Runs that start at the same place go through the model together.
 */

import type { ModelConfig } from "../../model/config.js";
import { SITES } from "../../model/sites.js";
import type { Node } from "../../nodes/node-id.js";
import { type Span, spanInPair } from "../../nodes/positions.js";
import type { PairBatch } from "../../prompts/buckets.js";
import type { Pair } from "../../prompts/pair.js";
import { type Receiver, readsBehind, receiverSpan } from "./receivers.js";
import type { SendingRow } from "./sender-changes.js";

/** A sender, and the receivers that hear it together. `final` is the only receiver of its path. */
export interface Path {
  readonly sender: Node;
  readonly receivers: readonly Receiver[];
}

/** A receiver of one run, with the positions at which it reads. */
export interface Hearing {
  readonly receiver: Receiver;
  readonly span: Span;
}

/** A pair of the batch with a path. */
export interface PathRun extends SendingRow {
  readonly pair: Pair;
  readonly path: number;
  /** The receivers that read behind the sender. */
  readonly hearings: readonly Hearing[];
  /** The lowest layer where a receiver hears the sender; the number of layers for `final`. */
  readonly layer: number;
  /** The first position where one does. */
  readonly position: number;
}

export interface PathPlan {
  readonly batch: PairBatch;
  /** Runs that can change the metric, in order of where they start, then by layer and site of the sender. */
  readonly runs: readonly PathRun[];
  /** Runs whose receivers hear the sender only behind where the metric is read: their effect is 0 by causality. */
  readonly idle: readonly PathRun[];
}

/** Who hears whom where, in one pair. */
interface Reach {
  readonly senderSpan: Span;
  readonly hearings: readonly Hearing[];
  /** Layer and first position of each receiver that hears the sender. */
  readonly heard: readonly { readonly layer: number; readonly first: number }[];
}

/**
 * @returns undefined where the pair does not have the path: it lacks a position, or no receiver reads behind the sender
 *   at a position of the sender's
 */
function reachOf(config: ModelConfig, pair: Pair, { sender, receivers }: Path): Reach | undefined {
  const senderSpan = spanInPair(sender.position, pair);
  const spans = receivers.map((receiver) => receiverSpan(receiver, pair));
  if (!senderSpan || spans.includes(undefined)) return undefined;
  const hearings = receivers.flatMap((receiver, r) => {
    const span = spans[r];
    return span && readsBehind(config, receiver, sender) ? [{ receiver, span }] : [];
  });
  const heard = hearings.flatMap(({ receiver, span }) => {
    const first = Math.max(span.first, senderSpan.first);
    const layer = receiver === "final" ? config.layers : receiver.layer;
    return first < Math.min(span.end, senderSpan.end) ? [{ layer, first }] : [];
  });
  return heard.length > 0 ? { senderSpan, hearings, heard } : undefined;
}

/** Whether some pair has the path. */
export function pathExists(config: ModelConfig, pairs: readonly Pair[], path: Path): boolean {
  return pairs.some((pair) => reachOf(config, pair, path) !== undefined);
}

/** Plans a run for every path on every pair that has it. */
export function planPaths(config: ModelConfig, batch: PairBatch, paths: readonly Path[]): PathPlan {
  const runs: PathRun[] = [];
  const idle: PathRun[] = [];
  paths.forEach((path, p) => {
    batch.pairs.forEach((pair, pairIndex) => {
      const reach = reachOf(config, pair, path);
      if (!reach) return;
      const inTime = reach.heard.filter(({ first }) => first <= pair.metricPosition);
      const layer = Math.min(...inTime.map((place) => place.layer));
      const position = Math.min(...inTime.map(({ first }) => first));
      const { senderSpan, hearings } = reach;
      const run = { pair, pairIndex, path: p, sender: path.sender, senderSpan, hearings, layer, position };
      (inTime.length > 0 ? runs : idle).push(run);
    });
  });
  runs.sort(
    (a, b) =>
      a.layer - b.layer ||
      a.position - b.position ||
      a.sender.layer - b.sender.layer ||
      SITES.indexOf(a.sender.site) - SITES.indexOf(b.sender.site),
  );
  return { batch, runs, idle };
}
