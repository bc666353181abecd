/**
 * @file Results of shards put together. Sums are added in the order of the pairs, whoever computed them and when, so that they have
 * the same bits every time.
 */

import type { Estimates } from "../atp/batches.js";
import { RunError } from "../errors.js";
import type { MetricOfRuns, PatchedRuns } from "../exact/patched-runs.js";
import type { NodeSet } from "../nodes/node-space.js";
import { makeScoreTable, mergeScores, type ScoreTable } from "../nodes/score-table.js";
import { estimatesOf, runsOf, type ShardResult } from "./shard-result.js";

type Shards = AsyncIterable<ShardResult> | Iterable<ShardResult>;

/**
 * The estimates of all pairs.
 *
 * @param shards in the order of their pairs. One is held at a time, beside the sums
 * @param pairs how many pairs the job has
 * @throws RunError where they are not estimates of the pairs 0 … pairs − 1, each once
 */
export async function mergeEstimates(shards: Shards, pairs: number): Promise<Estimates> {
  const baseMetric = new Float64Array(pairs);
  const sourceMetric = new Float64Array(pairs);
  const byPair: Float32Array[] = [];
  let scores: ScoreTable | undefined;
  let forwardEquivalents = 0;
  let next = 0;
  for await (const shard of shards) {
    const estimates = estimatesOf(shard);
    const { first, end } = shard.task.kind === "estimate" ? shard.task.pairs : { first: -1, end: -1 };
    if (first !== next || end > pairs) {
      throw new RunError(
        `mergeEstimates: expected a shard of pairs from ${next} on, got ${first} to ${end - 1}`,
      );
    }
    next = end;
    scores ??= emptyLike(estimates.scores);
    mergeScores(scores, estimates.scores);
    baseMetric.set(estimates.baseMetric, first);
    sourceMetric.set(estimates.sourceMetric, first);
    for (const own of estimates.byPair ?? []) byPair.push(own);
    forwardEquivalents += estimates.forwardEquivalents;
  }
  if (!scores || next !== pairs || (byPair.length !== 0 && byPair.length !== pairs)) {
    throw new RunError(
      `mergeEstimates: expected shards of ${pairs} pairs, got ${next}, ${byPair.length} by themselves`,
    );
  }
  return {
    scores,
    baseMetric,
    sourceMetric,
    ...(byPair.length > 0 && { byPair }),
    forwardEquivalents,
  };
}

function emptyLike({ size, flags }: ScoreTable): ScoreTable {
  return makeScoreTable(size, {
    saturation: flags?.saturation !== undefined,
    cancellation: flags?.cancellation !== undefined,
  });
}

/**
 * The patched runs of all pairs and nodes, [pairs, nodes]. A pair's unpatched runs are those of its first shard.
 *
 * @param shards a grid of pair ranges × chunks of nodes, in a fixed order. One is held at a time, beside the whole
 * @param pairs how many pairs the job has
 * @param nodes in the order in which the values are to lie
 * @param metrics names, in the job's order
 * @throws RunError where a pair has no run of a node, two of them, or one of another node
 */
export async function joinVerify(
  shards: Shards,
  pairs: number,
  nodes: NodeSet,
  metrics: readonly string[],
): Promise<PatchedRuns> {
  const places = new Map(Array.from(nodes, (node, place) => [node, place]));
  const joined: readonly MetricOfRuns[] = metrics.map((name) => ({
    name,
    patched: new Float32Array(pairs * nodes.length).fill(Number.NaN),
    base: new Float64Array(pairs),
    source: new Float64Array(pairs),
  }));
  const grid = new Grid(pairs, nodes.length);
  let forwardEquivalents = 0;
  for await (const shard of shards) {
    const runs = runsOf(shard, metrics);
    if (shard.task.kind !== "verify") continue;
    const { pairs: range, nodes: chunk } = shard.task;
    const columns = chunk.map((node) => {
      const place = places.get(node);
      if (place === undefined)
        throw new RunError(`joinVerify: expected nodes that were asked for, got ${node}`);
      return place;
    });
    const isFirst = grid.add(range.first, range.end, columns);
    for (const [m, { patched, base, source }] of runs.metrics.entries()) {
      const into = joined[m];
      if (isFirst) {
        into.base.set(base, range.first);
        into.source.set(source, range.first);
      }
      for (let pair = 0; pair < range.end - range.first; pair++) {
        const row = (range.first + pair) * nodes.length;
        columns.forEach((place, column) => {
          into.patched[row + place] = patched[pair * columns.length + column];
        });
      }
    }
    forwardEquivalents += runs.forwardEquivalents;
  }
  grid.checkFull();
  return { metrics: joined, forwardEquivalents };
}

/** What is filled of [pairs, nodes], where all shards have the same ranges of pairs. */
class Grid {
  /** Nodes that each range has, by its first pair. */
  readonly #ranges = new Map<number, { readonly end: number; readonly has: Uint8Array }>();

  constructor(
    readonly pairs: number,
    readonly nodes: number,
  ) {}

  /** @returns whether it is the first shard of its pairs */
  add(first: number, end: number, columns: readonly number[]): boolean {
    const known = this.#ranges.get(first);
    const range = known ?? { end, has: new Uint8Array(this.nodes) };
    if (range.end !== end || end > this.pairs) {
      throw new RunError(
        `joinVerify: expected pairs ${first} to ${Math.min(range.end, this.pairs) - 1}, got ${first} to ${end - 1}`,
      );
    }
    for (const column of columns) {
      if (range.has[column] === 1) {
        throw new RunError(
          `joinVerify: expected each node once for pairs ${first} to ${end - 1}, got one twice`,
        );
      }
      range.has[column] = 1;
    }
    this.#ranges.set(first, range);
    return known === undefined;
  }

  checkFull(): void {
    let next = 0;
    for (const [first, { end, has }] of [...this.#ranges].sort(([a], [b]) => a - b)) {
      if (first !== next) break;
      if (has.includes(0)) {
        throw new RunError(
          `joinVerify: expected every node for pairs ${first} to ${end - 1}, got some without`,
        );
      }
      next = end;
    }
    if (next !== this.pairs)
      throw new RunError(`joinVerify: expected shards of ${this.pairs} pairs, got ${next}`);
  }
}
