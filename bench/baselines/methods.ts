/** @file All methods, and the settings that those that have some are tried with. */

import { METHODS, type Method } from "../../src/atpstar/methods.js";
import { planBlocks } from "./blocks.js";
import type { CostCounter } from "./cost-counter.js";
import { planHierarchy } from "./hierarchical.js";
import { byGradients, exhaustive } from "./in-order.js";
import { carryOut } from "./joint-plan.js";
import { ALONG } from "./neighbours.js";
import { costsOfSets, type Study } from "./study.js";
import { bySubsets, patchSubsets, randomSubsets } from "./subsets.js";

export const WITHOUT_GRADIENTS = ["exhaustive", "subsets", "blocks", "hierarchical"] as const;

export const BASELINES = [...WITHOUT_GRADIENTS, ...METHODS] as const;

export type Baseline = (typeof BASELINES)[number];

/** What is tried. */
export interface Settings {
  readonly probabilities: readonly number[];
  /** How many subsets are patched. */
  readonly budgets: readonly number[];
  readonly blockSizes: readonly number[];
  readonly branchings: readonly number[];
}

/** A method in one setting. */
export interface Outcome {
  readonly method: Baseline;
  /** In words; empty for methods without one. */
  readonly setting: string;
  /** More than one where chance decides: of as many runs with other seeds. */
  readonly counters: readonly CostCounter[];
}

const RANDOM_ORDERS = 8;

/** Runs every method in every setting. */
export async function* outcomesOf(
  study: Omit<Study, "truth">,
  { probabilities, budgets, blockSizes, branchings }: Settings,
): AsyncGenerator<Outcome> {
  const orders = Array.from({ length: RANDOM_ORDERS }, (_, seed) => exhaustive(study, seed));
  yield { method: "exhaustive", setting: "", counters: orders };
  for (const probability of probabilities) {
    const sets = randomSubsets(study, Math.max(...budgets), { probability, seed: 1 });
    const patched = await patchSubsets(study, sets);
    const costs = costsOfSets(study, sets);
    for (const budget of budgets) {
      const setting = `${budget} subsets, p = ${probability}`;
      yield { method: "subsets", setting, counters: [bySubsets(study, patched, budget, costs)] };
    }
  }
  const plans = ALONG.flatMap((along) => [
    ...blockSizes.map((size) => ({
      method: "blocks" as const,
      setting: `${size} nodes by ${along}`,
      plan: planBlocks(study, { along, size }),
    })),
    ...branchings.map((branching) => ({
      method: "hierarchical" as const,
      setting: `${branching} pieces by ${along}`,
      plan: planHierarchy(study, { along, branching }),
    })),
  ]);
  const counters = await carryOut(
    study,
    plans.map(({ plan }) => plan),
  );
  for (const [at, { method, setting }] of plans.entries())
    yield { method, setting, counters: [counters[at]] };
  for (const method of METHODS) {
    yield { method, setting: "", counters: [await byGradients(study, method)] };
  }
}

export function isGradientMethod(method: Baseline): method is Method {
  return METHODS.some((known) => known === method);
}
