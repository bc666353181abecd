/**
 * @file How a worker's memory is divided. What the activations may take is part of the job, because sums of float32 numbers follow the
 * batches, so it is planned once, from nothing but the spec; how many layers stay in memory changes no number, so every worker
 * plans that for itself.
 */

import type { Checkpoint } from "../checkpoint/checkpoint.js";
import { weightsFootprint } from "../checkpoint/footprint.js";
import { planWithin } from "../plan/check-plan.js";
import type { RunPlan } from "../plan/plan-run.js";
import type { Budgets } from "../plan/question.js";
import type { Job } from "./job.js";
import type { UnpackedJob } from "./unpack-job.js";

/** What a worker's process holds before its model is loaded, the native engine included; rather too much than too little. */
export const WORKER_PROCESS_BYTES = 2 ** 29;

/**
 * Plans what a worker holds while it makes the largest shards of a job.
 * @param processBytes what it holds before the model is loaded
 * @param option how the error calls the budget
 * @throws InputError for a budget that cannot be met, with the smallest one that can
 */
export function planOfWorker(
  { source, backend, batchSize, workload: { method, byPair, ...sizes } }: Job,
  { pairs, space, metrics, averaged }: UnpackedJob,
  checkpoint: Checkpoint,
  budgets: Budgets,
  processBytes: number,
  option: string,
): RunPlan {
  const longest = [...pairs].sort((a, b) => b.clean.length - a.clean.length).slice(0, sizes.pairs);
  const ownEstimates = byPair ? Float32Array.BYTES_PER_ELEMENT * space.size * longest.length : 0;
  const question = {
    config: checkpoint.config,
    footprint: weightsFootprint(checkpoint),
    storedBytes: checkpoint.stored.reduce((sum, { bytes }) => sum + bytes, 0),
    backend,
    pairs: longest,
    ...(averaged && { averaged: averaged.pairs }),
    space,
    metrics,
    ...(method !== undefined && { method }),
    patches: { nodes: Math.min(sizes.nodes, space.size) },
    batchSize,
    draws: source.kind === "noise" ? source.draws : 1,
    processBytes: processBytes + ownEstimates,
  };
  return planWithin(question, budgets, option);
}
