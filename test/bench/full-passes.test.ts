/** Two ways to AtP*: gradient streams that fork in one sweep, and one whole backward pass per dropped layer. */

import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { estimateByFullPasses } from "../../bench/full-passes.js";
import { estimateBy } from "../../src/atpstar/estimate.js";
import { loadModel } from "../../src/checkpoint/load-model.js";
import type { Model } from "../../src/model/model.js";
import { sitesOf } from "../../src/model/sites.js";
import { makeNodeSpace } from "../../src/nodes/node-space.js";
import { positionLabels } from "../../src/nodes/positions.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import { startTestEngine } from "../support/engine.js";
import { relativeError } from "../support/errors.js";
import { pairOfGolden } from "../support/golden-nodes.js";
import { goldenFolder, readGolden } from "../support/goldens.js";

/** Both compute the same sums of the same float32 products in another order. */
const SAME_NUMBERS = 1e-5;

describe.each(["gpt2", "gpt_neox", "qwen3"])("%s", (variant) => {
  let model: Model;

  beforeAll(async () => {
    await startTestEngine();
    model = await loadModel(goldenFolder(variant));
  });
  afterAll(() => model.dispose());

  it("agree in every column", async () => {
    const pair = pairOfGolden(readGolden(variant));
    const other = { ...pair, clean: pair.corrupted, corrupted: pair.clean };
    const pairs = [pair, other];
    const space = makeNodeSpace(model.config, sitesOf(model.config), positionLabels("each", pairs));
    const options = {
      metric: metricByName("logit-diff"),
      direction: "noising" as const,
      space,
      batchSize: 2,
    };
    const tensors = tf.memory().numTensors;
    const full = (await estimateByFullPasses(model, pairs, options)).scores;
    expect(tf.memory().numTensors).toBe(tensors);
    const streams = (await estimateBy("atp*", model, pairs, options)).scores;

    expect(full.count).toEqual(streams.count);
    for (const column of ["sumAbs", "sum", "sumSquares"] as const) {
      expect(relativeError(full[column], streams[column]), column).toBeLessThan(SAME_NUMBERS);
    }
    const flags = (scores: typeof full) => [
      scores.flags?.saturation ?? [],
      scores.flags?.cancellation?.plain ?? [],
      scores.flags?.cancellation?.dropped ?? [],
    ];
    const wanted = flags(streams);
    flags(full).forEach((column, c) => {
      expect(relativeError(column, wanted[c])).toBeLessThan(SAME_NUMBERS);
    });
  });
});
