/** @file From a checked run to its plan: what `--memory` divides, and what `atp plan` shows. */

import { weightsFootprint } from "../checkpoint/footprint.js";
import type { Backend } from "../engine/start-engine.js";
import { planWithin } from "../plan/check-plan.js";
import type { RunPlan } from "../plan/plan-run.js";
import type { Budgets, PlanQuestion } from "../plan/question.js";
import { drawsOf } from "./noise.js";
import type { PreparedRun } from "./prepare-run.js";

/** What a command is going to do. */
export type PlannedWork = Pick<PlanQuestion, "space" | "method" | "patches" | "certificate">;

export function questionOf(
  { opened, pairs, averaged, metric, alsoMetrics, options, noise }: PreparedRun,
  work: PlannedWork,
  backend: Backend,
): PlanQuestion {
  const { config, checkpoint } = opened;
  return {
    ...work,
    config,
    footprint: weightsFootprint(checkpoint),
    storedBytes: checkpoint.stored.reduce((sum, { bytes }) => sum + bytes, 0),
    backend,
    pairs,
    ...(averaged && { averaged: averaged.pairs }),
    metrics: [metric, ...alsoMetrics],
    batchSize: options.batchSize,
    draws: drawsOf(noise),
    processBytes: process.memoryUsage.rss(),
  };
}

/** What the options say of memory. */
export function budgetsOf({ memory, activationMemory }: PreparedRun["options"]): Budgets {
  return {
    ...(memory !== undefined && { memoryBytes: memory }),
    ...(activationMemory !== undefined && { activationBytes: activationMemory }),
  };
}

/**
 * The plan of a run with --memory; undefined without.
 * @param workOf called with --memory only
 * @throws InputError for a budget that cannot be met
 */
export function planOfRun(
  prepared: PreparedRun,
  workOf: () => PlannedWork,
  backend: Backend,
): RunPlan | undefined {
  if (prepared.options.memory === undefined) return undefined;
  return planWithin(questionOf(prepared, workOf(), backend), budgetsOf(prepared.options), "--memory");
}
