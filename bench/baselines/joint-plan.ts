/** @file Methods that patch sets of nodes together, and go by what these contribute. */

import type { NodeSet } from "../../src/nodes/node-space.js";
import type { Cost, CostCounter } from "./cost-counter.js";
import { contributionsOfSets, costsOfSets, type Task } from "./study.js";

export interface JointPlan {
  readonly sets: readonly NodeSet[];
  /** @param contributions and costs of the sets */
  readonly verify: (contributions: Float64Array, costs: readonly Cost[]) => CostCounter;
}

/** Carries out several plans. Their sets are patched in one call, in which those that start together go together. */
export async function carryOut(task: Task, plans: readonly JointPlan[]): Promise<CostCounter[]> {
  const sets = plans.flatMap((plan) => plan.sets);
  const contributions = await contributionsOfSets(task, sets);
  const costs = costsOfSets(task, sets);
  let first = 0;
  return plans.map((plan) => {
    const end = first + plan.sets.length;
    const counter = plan.verify(contributions.slice(first, end), costs.slice(first, end));
    first = end;
    return counter;
  });
}
