/** @file Methods that verify in an order known beforehand: any one, the true one, and those of the gradient methods. */

import { uniformInt } from "pure-rand/distribution/uniformInt";
import { mersenne } from "pure-rand/generator/mersenne";
import { estimateBy } from "../../src/atpstar/estimate.js";
import type { Method } from "../../src/atpstar/methods.js";
import { contribution } from "../../src/nodes/score-table.js";
import { CostCounter } from "./cost-counter.js";
import { bestFirst, type Study, type Task } from "./study.js";

/** Verifies the candidates in a random order (Fisher and Yates). */
export function exhaustive({ pairs, costs }: Pick<Study, "pairs" | "costs">, seed: number): CostCounter {
  const random = mersenne(seed);
  const order = Uint32Array.from(costs.keys());
  for (let left = order.length - 1; left > 0; left--) {
    const other = uniformInt(random, 0, left);
    [order[left], order[other]] = [order[other], order[left]];
  }
  return verifiedIn(order, { pairs, costs });
}

/** Knows the truth and verifies in its order: what no method can do better. */
export function oracle({ pairs, costs, truth }: Pick<Study, "pairs" | "costs" | "truth">): CostCounter {
  return verifiedIn(bestFirst(truth), { pairs, costs });
}

function verifiedIn(
  order: Uint32Array,
  { pairs, costs }: Pick<Study, "pairs" | "costs">,
  counter = new CostCounter(),
): CostCounter {
  counter.addUnpatched(pairs.length);
  counter.verifyAll(order, costs);
  return counter;
}

/** Verifies in the order of a gradient method's estimates. */
export async function byGradients(
  { model, pairs, space, control, candidates, costs }: Task & Pick<Study, "candidates" | "costs">,
  method: Method,
): Promise<CostCounter> {
  const { scores, forwardEquivalents } = await estimateBy(method, model, pairs, { ...control, space });
  const counter = new CostCounter();
  counter.addEstimates(method, pairs.length, model.config.layers, forwardEquivalents);
  const estimated = Float64Array.from(candidates, (node) => contribution(scores, node));
  return verifiedIn(bestFirst(estimated), { pairs, costs }, counter);
}
