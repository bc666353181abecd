/**
 * @file First-order attribution patching (AtP): every node of every site from one forward pass of each run and one
 * backward pass.
 *
 *   Î(n) = (a_source − a_base) · ∂M/∂a,  gradient taken on the base run; positive raises the metric
 *
 * Cost: 3 forward equivalents per pair (two forward passes, and a backward pass without weight gradients costs as
 * much as one), plus 2/L for each layer that did not fit the memory budget. Source: Nanda 2023, "Attribution
 * Patching"; Kramár et al. 2024, "AtP*", section 2.
 */

import type { Model } from "../model/model.js";
import { groupsOfLayer } from "../nodes/node-space.js";
import { addScores } from "../nodes/score-table.js";
import type { Pair } from "../prompts/pair.js";
import { type EstimateOptions, type Estimates, estimateInBatches, type SweepInput } from "./batches.js";
import { firstOrder, numbersOf, wantedBy } from "./first-order.js";
import { estimateRows, keepByPair } from "./fold.js";
import { averageEstimates } from "./over-draws.js";
import { sweepBack } from "./sweep.js";

/**
 * AtP estimates of every node of the space, over all pairs.
 *
 * @throws InputError for a metric without a gradient, or without one on the clean run when noising; for no pairs, or
 *   pairs that lack the metric's tokens
 * @throws RunError if the metric of a run is not finite
 */
export function estimateAtp(
  model: Model,
  pairs: readonly Pair[],
  options: EstimateOptions,
): Promise<Estimates> {
  return estimateInBatches(model, pairs, options, sweepFirstOrder);
}

function sweepFirstOrder(input: SweepInput): Promise<number> {
  const { model, runs, pairs, draws, T, space } = input;
  const wanted = wantedBy(space);
  return sweepBack(model, runs, input, {
    visitLayer: (layer, { differences }) => {
      const groups = groupsOfLayer(space, layer);
      return (point, _layer, siteGradient) => {
        if (point === "pattern") return;
        const group = groups.get(point);
        const difference = differences[point];
        if (!group || !difference) return;
        const estimates = firstOrder(point, siteGradient, difference, wanted);
        const numbers = numbersOf(averageEstimates(estimates, draws));
        for (const row of estimateRows(space, group, pairs, T)) {
          const values = numbers[row.everywhere ? "everywhere" : "each"];
          addScores(input.scores, row, values);
          keepByPair(input, row, values);
        }
      };
    },
  });
}
