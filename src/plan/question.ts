/** @file What a plan is made of: a run that is known in all but its numbers. Nothing here needs a weight. */

import type { Method } from "../atpstar/methods.js";
import type { WeightsFootprint } from "../checkpoint/footprint.js";
import type { Backend } from "../engine/start-engine.js";
import type { ModelConfig } from "../model/config.js";
import type { NodeSpace } from "../nodes/node-space.js";
import { isOutput, type Metric } from "../prompts/metrics/metric.js";
import type { Pair } from "../prompts/pair.js";

/** The nodes that are patched one by one, or the sets of them that are patched together. */
export type PlannedPatches =
  | {
      /** How many nodes of the space, whichever they are. */
      readonly nodes: number;
    }
  | {
      /** Sets of any nodes of the space: windows, circuits, paths. Left out: how many runs that takes is not known. */
      readonly sets: { readonly patchedRuns?: number; readonly forwardEquivalents?: number };
    };

/** What `localize` is asked to be certain of; defaults as in `certify`. */
export interface PlannedCertificate {
  readonly confidence: number;
  /** Most forward equivalents. */
  readonly budget?: number;
}

export interface PlanQuestion {
  readonly config: ModelConfig;
  readonly footprint: WeightsFootprint;
  /** All weights as they are stored. */
  readonly storedBytes: number;
  /** The engine, which decides how much memory its tensors can have. */
  readonly backend: Backend;
  readonly pairs: readonly Pair[];
  readonly space: NodeSpace;
  /** The first one ranks; estimates are of it alone. */
  readonly metrics: readonly Metric[];
  /**
   * Pairs over whose prompts the values that are patched in are averaged, those alone that are run (`averagedPrompts`); absent where
   * they are not.
   */
  readonly averaged?: readonly Pair[];
  /** How nodes are estimated; absent where they are not. */
  readonly method?: Method;
  /** What is patched exactly; absent where nothing is. */
  readonly patches?: PlannedPatches;
  readonly certificate?: PlannedCertificate;
  /** Most prompts in one pass. */
  readonly batchSize: number;
  /** How often each pair is run; default 1. */
  readonly draws?: number;
  /** What the process holds before the model is loaded, the engine included. */
  readonly processBytes?: number;
}

/** What may be used. */
export interface Budgets {
  /** Total memory of the process; left out, everything is held in memory. */
  readonly memoryBytes?: number;
  /** What the activations of one pass may take; left out, up to 1 GiB of what there is. */
  readonly activationBytes?: number;
}

/** Whether a metric needs every row of the unembedding. */
export function needsWholeUnembedding(metrics: readonly Metric[]): boolean {
  return logitTermsOf(metrics) > 0;
}

/** What reading the metrics, one after the other, holds at a time as large as the logits. */
export function logitTermsOf(metrics: readonly Metric[]): number {
  return metrics.reduce((most, metric) => Math.max(most, isOutput(metric) ? metric.logitTerms : 0), 0);
}
