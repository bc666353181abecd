/** Two ways to exact effects of single nodes: the sweep, and edited full forward passes. */

import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { prepareEditedPasses } from "../../bench/edited-passes.js";
import { randomModel } from "../../bench/random-model.js";
import { sweepNodes } from "../../src/exact/sweep/sweep.js";
import type { Model } from "../../src/model/model.js";
import { sitesOf } from "../../src/model/sites.js";
import { ALL_POSITIONS } from "../../src/nodes/node-id.js";
import { makeNodeSpace } from "../../src/nodes/node-space.js";
import { positionLabels } from "../../src/nodes/positions.js";
import { DIRECTIONS } from "../../src/prompts/direction.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import { startTestEngine } from "../support/engine.js";
import { largestError } from "../support/errors.js";
import { TINY_CONFIGS } from "../support/tiny-config.js";
import { tokenPair } from "../support/token-pair.js";
import { EXACT_TOLERANCE } from "../support/tolerances.js";

/** Leaves the last pass with fewer rows than the others. */
const ROWS = 7;

describe.each(Object.entries(TINY_CONFIGS))("%s block", (_name, config) => {
  let model: Model;

  beforeAll(async () => {
    await startTestEngine();
    model = randomModel(config, { seed: 5, gain: 1.5 });
  });
  afterAll(() => model.dispose());

  it.each(DIRECTIONS)("%s: agrees with the sweep at every node", async (direction) => {
    // The metric is read before the end, so that the last node has no effect.
    const pair = { ...tokenPair([1, 4, 2, 8, 5, 7], [1, 4, 9, 8, 6, 7]), metricPosition: 4 };
    const labels = [...positionLabels("each", [pair]), ALL_POSITIONS];
    const space = makeNodeSpace(config, sitesOf(config), labels);
    const nodes = Uint32Array.from({ length: space.size }, (_, node) => node);
    const metric = metricByName("logit-diff");

    const tensors = tf.memory().numTensors;
    const passes = await prepareEditedPasses(model, pair, space, { metric, direction });
    const byPasses = await passes.patched(nodes, ROWS);
    passes.dispose();
    expect(tf.memory().numTensors).toBe(tensors);

    const options = { metrics: [metric], direction, batchSize: 1 };
    const [{ patched, base, source }] = (await sweepNodes(model, [pair], space, nodes, options)).metrics;
    const span = Math.abs(source[0] - base[0]);
    expect(span).toBeGreaterThan(0.1);
    expect(passes.base).toBeCloseTo(base[0], 5);
    expect(passes.source).toBeCloseTo(source[0], 5);
    expect(largestError(patched, byPasses) / span).toBeLessThan(EXACT_TOLERANCE);
    // Not equal because nothing was patched.
    expect(largestError(byPasses, new Float32Array(nodes.length).fill(base[0]))).toBeGreaterThan(span / 2);
  });
});
