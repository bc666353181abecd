/** @file The measurements of a job, made by its shards: what `measureHere` does in one process. */

import type { SubsetDesign } from "../bounds/design.js";
import type { Measurements, VerifiedAtCost } from "../bounds/measurements.js";
import type { SampleEffects } from "../bounds/observe.js";
import type { PairEstimates } from "../bounds/pair-estimates.js";
import { type MetricSums, makeMetricSums, sumMetric } from "../exact/metric-sums.js";
import type { MetricOfRuns } from "../exact/patched-runs.js";
import { scoresOfRuns } from "../exact/scores-of-runs.js";
import type { NodeSet } from "../nodes/node-space.js";
import { makeScoreTable } from "../nodes/score-table.js";
import type { ShardSource } from "./coordinator-shards.js";
import { cutRange, type ShardSizes, sampleTasks, verifyTasks } from "./coordinator-splitting.js";
import { joinVerify } from "./merge-shards.js";
import type { PreparedJob } from "./prepare-job.js";
import { effectsOf } from "./shard-result.js";
import type { NamedTask, Range } from "./shard-task.js";

/** Metrics of each pair's unpatched runs. */
export type UnpatchedMetric = Pick<MetricOfRuns, "base" | "source">;

export class JobMeasurements implements Measurements {
  /** Of every chunk that was verified, where there are further metrics. */
  readonly #sums: { readonly nodes: NodeSet; readonly metrics: readonly MetricSums[] }[] = [];

  /** @param byPair signed estimates of each pair, of the estimate stage */
  constructor(
    readonly job: Pick<PreparedJob, "space" | "pairs" | "metrics">,
    readonly sizes: ShardSizes,
    readonly shards: Pick<ShardSource, "make" | "results">,
    readonly byPair: readonly Float32Array[] | undefined,
  ) {}

  async verify(nodes: NodeSet): Promise<VerifiedAtCost & { readonly unpatched?: UnpatchedMetric }> {
    const { pairs } = this.job;
    const named = await this.shards.make("verify", verifyTasks(nodes, pairs.length, this.sizes));
    const scores = makeScoreTable(nodes.length);
    let forwardEquivalents = 0;
    let unpatched: UnpatchedMetric | undefined;
    const chunks = cutRange({ first: 0, end: nodes.length }, this.sizes.nodes);
    // Chunk by chunk: the runs of all nodes and pairs together may be more than fits.
    for (const [c, { first, end }] of chunks.entries()) {
      const perChunk = named.length / chunks.length;
      const runs = await this.#join(named.slice(c * perChunk, (c + 1) * perChunk), nodes.slice(first, end));
      const part = scoresOfRuns(runs.metrics[0], end - first);
      scores.sumAbs.set(part.sumAbs, first);
      scores.sum.set(part.sum, first);
      scores.sumSquares.set(part.sumSquares, first);
      scores.count.set(part.count, first);
      forwardEquivalents += runs.forwardEquivalents;
      this.#addSums(nodes.slice(first, end), runs.metrics);
      unpatched ??= { base: runs.metrics[0].base, source: runs.metrics[0].source };
    }
    return { verified: { nodes, scores }, forwardEquivalents, ...(unpatched && { unpatched }) };
  }

  async sample(design: SubsetDesign, samples: Range): Promise<SampleEffects> {
    const tasks = sampleTasks(design, this.job.space.size, samples, this.sizes);
    const effects = new Float64Array(samples.end - samples.first);
    let forwardEquivalents = 0;
    let place = 0;
    for await (const result of this.shards.results("certify", await this.shards.make("certify", tasks))) {
      const part = effectsOf(result);
      effects.set(part.effects, place);
      place += part.effects.length;
      forwardEquivalents += part.forwardEquivalents;
    }
    return { effects, forwardEquivalents };
  }

  /** Those that the estimates were summed from: they cost nothing more. */
  async estimatesByPair(): Promise<PairEstimates> {
    if (!this.byPair) throw new Error("estimatesByPair: expected a job with estimates by pair, got none");
    return { byPair: this.byPair, forwardEquivalents: 0 };
  }

  /**
   * Every metric of the runs with single nodes patched, summed over pairs.
   * @param nodes all that were verified; the sums are in their order
   */
  metricsOfVerified(nodes: NodeSet): MetricSums[] {
    const placeOf = new Map(Array.from(nodes, (node, place) => [node, place]));
    const [first] = this.#sums;
    return first.metrics.map((unpatched, m) => {
      const joined = makeMetricSums(unpatched, nodes.length);
      for (const { nodes: chunk, metrics } of this.#sums) {
        const { patched, patchedBase, count } = metrics[m];
        chunk.forEach((node, from) => {
          const to = placeOf.get(node);
          if (to === undefined)
            throw new Error(`metricsOfVerified: expected every node, got none for ${node}`);
          joined.patched[to] = patched[from];
          joined.patchedBase[to] = patchedBase[from];
          joined.count[to] = count[from];
        });
      }
      return joined;
    });
  }

  #addSums(nodes: NodeSet, metrics: readonly MetricOfRuns[]): void {
    if (metrics.length === 1) return;
    // Unpatched runs of the first chunk stand for those of all, which are the same: not one of each chunk is kept.
    const unpatched = this.#sums[0]?.metrics ?? metrics;
    const sums = metrics.map(({ name, patched }, m) => {
      const { base, source } = unpatched[m];
      return sumMetric({ name, patched, base, source });
    });
    this.#sums.push({ nodes, metrics: sums });
  }

  #join(shards: readonly NamedTask[], nodes: NodeSet) {
    const names = this.job.metrics.map(({ name }) => name);
    return joinVerify(this.shards.results("verify", shards), this.job.pairs.length, nodes, names);
  }
}
