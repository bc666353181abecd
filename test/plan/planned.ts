/** @file What the tests of plans share. */

import type { WeightsFootprint } from "../../src/checkpoint/footprint.js";
import type { ModelConfig } from "../../src/model/config.js";
import { makeNodeSpace, parseSites } from "../../src/nodes/node-space.js";
import { positionLabels } from "../../src/nodes/positions.js";
import type { PlanQuestion } from "../../src/plan/question.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import type { Pair } from "../../src/prompts/pair.js";

/** Layers of 100 bytes in memory, 60 of them stored [in, out] and 30 [out, in], and 50 on disk, an embedding of 300, an unembedding of 400 that takes 200 on disk. */
export function roundFootprint(layers: number): WeightsFootprint {
  return {
    layers,
    layerBytes: 100,
    rightFactorBytes: { forward: 60, back: 30 },
    smallBytes: 10,
    embeddingBytes: 300,
    unembeddingBytes: 400,
    tied: false,
    layerBytesOnDisk: Array.from({ length: layers }, () => 50),
    unembeddingBytesOnDisk: 200,
  };
}

export function questionFor(
  config: ModelConfig,
  pairs: readonly Pair[],
  { nodes = "z", ...rest }: { readonly nodes?: string } & Partial<PlanQuestion> = {},
): PlanQuestion {
  return {
    config,
    footprint: roundFootprint(config.layers),
    storedBytes: 50 * config.layers + 350,
    backend: "tensorflow",
    pairs,
    space: makeNodeSpace(config, parseSites(nodes, config), positionLabels("each", pairs)),
    metrics: [metricByName("logit-diff")],
    batchSize: 8,
    processBytes: 0,
    ...rest,
  };
}
