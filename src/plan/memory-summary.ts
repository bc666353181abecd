/** @file What became of a budget of memory, for the summary of a run. */

import type { ReadingStats } from "../model/weights.js";
import type { RunPlan } from "./plan-run.js";
import type { MemoryPart } from "./stages.js";

/** In bytes and seconds. */
export interface MemorySummary {
  readonly budget?: number;
  readonly planned: {
    readonly total: number;
    readonly parts: readonly MemoryPart[];
    readonly activations: number;
    readonly residentLayers: number;
    readonly bytesRead: number;
  };
  /** The most that the process has held. */
  readonly peak: number;
  /** From disk; absent where everything was in memory. */
  readonly read?: ReadingStats;
}

export function memorySummary(plan: RunPlan, read: ReadingStats | undefined): MemorySummary {
  return {
    ...(plan.memoryBytes !== undefined && { budget: plan.memoryBytes }),
    planned: {
      total: plan.memory.total,
      parts: plan.memory.parts,
      activations: plan.activationBudgetBytes,
      residentLayers: plan.residentLayers,
      bytesRead: plan.reads.bytes,
    },
    peak: process.resourceUsage().maxRSS * 1024,
    ...(read && { read }),
  };
}
