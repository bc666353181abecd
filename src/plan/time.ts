/** @file How long a planned run will take on a machine of known rates. */

import type { MachineRates } from "./measure-machine.js";
import type { RunPlan } from "./plan-run.js";

/**
 * What a run reaches of the speed of its largest product: the rest goes to norms, activations, softmax and smaller products.
 * Measured for sweeps and estimates on two cores, see the README.
 */
const REACHED = 0.55;

export interface PlannedSeconds {
  /** Reading all weights once, where nothing is streamed. */
  readonly load?: number;
  /** By stage; absent where its cost is not known. */
  readonly stages: readonly {
    readonly stage: string;
    readonly seconds?: number;
    readonly boundBy?: "compute" | "reading";
  }[];
}

/** The next layer is read while one computes, so that of a streamed stage the slower of the two counts. */
export function secondsOf(plan: RunPlan, { flops, readBytes }: MachineRates): PlannedSeconds {
  return {
    ...(plan.memoryBytes === undefined && readBytes !== undefined && { load: plan.reads.bytes / readBytes }),
    stages: plan.stages.map((stage) => {
      if (stage.flops === undefined) return { stage: stage.stage };
      const compute = stage.flops / (REACHED * flops);
      const reading =
        plan.memoryBytes === undefined || readBytes === undefined ? 0 : stage.reads.bytes / readBytes;
      const boundBy = reading > compute ? "reading" : "compute";
      return { stage: stage.stage, seconds: Math.max(compute, reading), boundBy };
    }),
  };
}
