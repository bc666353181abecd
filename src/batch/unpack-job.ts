/** @file A job as the functions of the library take it, checked against the model that it is for. */

import { InputError } from "../errors.js";
import type { ModelConfig } from "../model/config.js";
import { makeNodeSpace, type NodeSpace } from "../nodes/node-space.js";
import { positionLabels } from "../nodes/positions.js";
import { metricsByName } from "../prompts/metrics/by-names.js";
import type { Metric } from "../prompts/metrics/metric.js";
import { checkPairsForMetric } from "../prompts/metrics/on-runs.js";
import type { Pair } from "../prompts/pair.js";
import { type AveragedPrompts, averagedPrompts } from "../sources/averaged.js";
import { checkDrawnPairs } from "../sources/draws.js";
import { noisedPositions } from "../sources/noise.js";
import type { Job } from "./job.js";
import { metricOf, pairOf } from "./portable.js";

/** A job's input as the functions of the library take it. */
export interface UnpackedJob {
  readonly pairs: readonly Pair[];
  /** The one that ranks first. */
  readonly metrics: readonly [Metric, ...Metric[]];
  /** Of all pairs: that of every shard. */
  readonly space: NodeSpace;
  /** What a mean is taken over; absent where the source is something else. */
  readonly averaged?: AveragedPrompts;
}

/**
 * Checks all that can be wrong with a job on a model, before anything is run.
 *
 * @param job of the shape of a job; see `parseJob`
 * @throws InputError for pairs, metrics, sites, positions or a source that do not fit the model or each other
 */
export function unpackJob(job: Job, config: ModelConfig): UnpackedJob {
  const { source } = job;
  const pairs = job.pairs.map((pair) => pairOf(pair, config));
  const [first, ...also] = metricsByName(job.metrics.map((metric) => metricOf(metric, config)));
  if (!first) throw new InputError("unpackJob: expected at least one metric, got none");
  for (const metric of [first, ...also]) checkPairsForMetric(pairs, metric);
  checkCorrupted(pairs, source.kind);
  if (source.kind === "noise") {
    for (const pair of pairs) noisedPositions(pair, source.at);
    checkDrawnPairs(pairs, source.draws);
  }
  const space = makeNodeSpace(config, job.sites, positionLabels(job.positions, pairs));
  const meanPairs =
    source.kind === "mean" && source.pairs ? source.pairs.map((pair) => pairOf(pair, config)) : undefined;
  const averaged = source.kind === "mean" ? averagedPrompts(meanPairs ?? pairs, pairs) : undefined;
  return { pairs, metrics: [first, ...also], space, ...(averaged && { averaged }) };
}

function checkCorrupted(pairs: readonly Pair[], source: Job["source"]["kind"]): void {
  const lone = source === "noise" ? undefined : pairs.find(({ clean, corrupted }) => corrupted === clean);
  if (lone) {
    throw new InputError(
      `unpackJob: ${lone.origin}: expected a pair with a corrupted prompt, got one without`,
    );
  }
}
