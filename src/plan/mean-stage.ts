/**
 * @file What the means that are patched in cost, before anything is estimated: a forward pass of each prompt that is averaged.
 * The rules are those of `sources/mean.ts`.
 */

import { bytesOfContext, bytesOfStream } from "../activation-budget.js";
import { forwardFlops } from "../model/flops.js";
import type { Pair } from "../prompts/pair.js";
import { wavesOfBatches } from "../sources/mean.js";
import { FLOAT_BYTES, floatsForward, floatsOfSite, floatsOfStream } from "./activations.js";
import type { PlanQuestion } from "./question.js";
import type { LayerReads } from "./reads.js";
import { largest, type MemoryPart, type StagePlan } from "./stages.js";

/** What a run holds of the means until its end: for each length one value of each site, layer and position. */
export function meanParts({ config, space, averaged }: PlanQuestion): MemoryPart[] {
  if (averaged === undefined) return [];
  const lengths = new Set(averaged.map(({ clean }) => clean.length));
  const sites = [...new Set(space.groups.map(({ site }) => site))];
  const floats = [...lengths].reduce(
    (sum, T) => sum + sites.reduce((of, site) => of + floatsOfSite(config, { B: 1, T }, site), 0),
    0,
  );
  return [{ name: "means", bytes: FLOAT_BYTES * config.layers * floats }];
}

export function planMeanStage(
  question: PlanQuestion,
  averaged: readonly Pair[],
  counted: LayerReads,
): StagePlan {
  const { config, batchSize } = question;
  const layers = Array.from({ length: config.layers }, (_, layer) => layer);
  let flops = 0;
  const waves = [...wavesOfBatches(config, averaged, batchSize)].map((wave) => {
    counted.visit(layers);
    const batches = wave.map(({ pairs, length: T }) => {
      const rows = { B: pairs.length, T };
      flops += rows.B * forwardFlops(config, T);
      return {
        rest: bytesOfStream(config, rows.B * T) + bytesOfContext(config, T, T),
        layer: FLOAT_BYTES * (floatsForward(config, rows) + floatsOfStream(config, rows)),
      };
    });
    return {
      streams: batches.reduce((sum, { rest }) => sum + rest, 0),
      layer: largest(batches, "layer"),
    };
  });
  const means = meanParts(question);
  return {
    stage: "mean",
    forwardEquivalents: averaged.length,
    flops,
    atMost: false,
    reads: counted.take(),
    tensors: [
      ...means,
      // They are there beside the means that are made of them.
      ...means.map(({ bytes }) => ({ name: "sums of values", bytes })),
      { name: "residual streams", bytes: largest(waves, "streams") },
      { name: "one layer forward", bytes: largest(waves, "layer") },
    ],
    tables: [],
  };
}
