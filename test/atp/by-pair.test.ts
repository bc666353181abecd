/** Signed estimates of every pair from the same pass as the sums over pairs. */

import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { randomModel } from "../../bench/random-model.js";
import { estimateBy, type MethodOptions } from "../../src/atpstar/estimate.js";
import { METHODS } from "../../src/atpstar/methods.js";
import { estimatesByPair } from "../../src/bounds/pair-estimates.js";
import type { Model } from "../../src/model/model.js";
import { sitesOf } from "../../src/model/sites.js";
import { makeNodeSpace } from "../../src/nodes/node-space.js";
import { type PositionMode, positionLabels } from "../../src/nodes/positions.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import { neuronActivation } from "../../src/prompts/metrics/internal.js";
import type { Pair } from "../../src/prompts/pair.js";
import { noiseSource } from "../../src/sources/noise.js";
import { startTestEngine } from "../support/engine.js";
import { relativeError } from "../support/errors.js";
import { TINY_CONFIGS } from "../support/tiny-config.js";
import { tokenPair } from "../support/token-pair.js";

/** Float32 products of one pair and of several. */
const BATCH_TOLERANCE = 1e-5;

/** Float64 sums of the same float32 numbers in another order. */
const SUM_TOLERANCE = 1e-12;

/** Two lengths, so that batches take the pairs in another order than they are given in; roles that not all have. */
const PAIRS: Pair[] = [
  tokenPair([1, 2, 3, 4, 5], [1, 7, 3, 4, 5], { changed: 1, end: 4 }),
  tokenPair([4, 4, 1], [4, 10, 1], { changed: 1 }),
  tokenPair([9, 8, 7, 6, 5], [9, 8, 2, 6, 5], { changed: 2, end: 4 }),
  tokenPair([11, 12, 13, 14, 15], [11, 12, 13, 1, 15], { changed: 3 }),
];

describe.each(["plain", "parallel", "gated"] as const)("%s model", (kind) => {
  let model: Model;
  beforeAll(async () => {
    await startTestEngine();
    model = randomModel(TINY_CONFIGS[kind]);
  });
  afterAll(() => model.dispose());

  const optionsOf = (mode: PositionMode): MethodOptions => ({
    metric: metricByName("logit-diff"),
    direction: "noising",
    batchSize: 2,
    space: makeNodeSpace(model.config, sitesOf(model.config), positionLabels(mode, PAIRS)),
  });

  describe.each(METHODS)("%s", (method) => {
    it.each(["each", "roles", "all"] as const)(
      "gives what each pair gives alone, and the sums over pairs, positions %s",
      async (mode) => {
        const options = optionsOf(mode);
        const { size } = options.space;
        const before = tf.memory().numTensors;
        const { byPair = [], scores } = await estimateBy(method, model, PAIRS, { ...options, byPair: true });
        expect(tf.memory().numTensors).toBe(before);
        expect(byPair.length).toBe(PAIRS.length);
        const sum = new Float64Array(size);
        for (const [p, pair] of PAIRS.entries()) {
          const alone = (await estimateBy(method, model, [pair], options)).scores;
          const present = Uint32Array.from(alone.count.keys()).filter((node) => alone.count[node] === 1);
          expect([...byPair[p]].map(Number.isNaN)).toEqual([...alone.count].map((count) => count === 0));
          const numbers = (values: ArrayLike<number>) => Float64Array.from(present, (node) => values[node]);
          expect(relativeError(numbers(byPair[p]), numbers(alone.sum))).toBeLessThan(BATCH_TOLERANCE);
          for (const node of present) sum[node] += byPair[p][node];
        }
        expect(relativeError(scores.sum, sum)).toBeLessThan(SUM_TOLERANCE);
        expect(sum.some((value) => Math.abs(value) > 0.01)).toBe(true);
      },
    );

    it("keeps them signed and averaged over draws, also where gradient streams run in several sweeps", async () => {
      const source = await noiseSource(model, { at: [1, 2], draws: 3, seed: 5 });
      const { byPair = [], scores } = await estimateBy(method, model, PAIRS, {
        ...optionsOf("each"),
        source,
        streamBudgetBytes: 1,
        byPair: true,
      });
      expect(byPair.length).toBe(PAIRS.length);
      const sum = scores.sum.map((_, node) =>
        byPair.reduce((total, own) => total + (Number.isNaN(own[node]) ? 0 : own[node]), 0),
      );
      expect(relativeError(scores.sum, sum)).toBeLessThan(SUM_TOLERANCE);
      expect(byPair.some((own) => own.some((value) => value < -1e-3))).toBe(true);
    });
  });

  it("does not change the sums, and is not there unless asked for", async () => {
    const options = optionsOf("each");
    const plain = await estimateBy("atp*", model, PAIRS, options);
    const both = await estimateBy("atp*", model, PAIRS, { ...options, byPair: true });
    expect(plain.byPair).toBeUndefined();
    expect(both.scores).toEqual(plain.scores);
    expect(both.forwardEquivalents).toBe(plain.forwardEquivalents);
  });

  it("is 0 above what an internal metric reads", async () => {
    const options = optionsOf("each");
    const metric = neuronActivation({ layer: 1, neuron: 3, position: -1 });
    const { byPair = [] } = await estimateBy("atp", model, [PAIRS[0]], { ...options, metric, byPair: true });
    const { groups, labels } = options.space;
    for (const { layer, offset, indices } of groups) {
      const own = byPair[0].subarray(offset, offset + indices * labels.length);
      if (layer > 1) expect(own.every((value) => value === 0)).toBe(true);
    }
    expect(byPair[0].some((value) => Math.abs(value) > 1e-3)).toBe(true);
  });

  it("feeds the control variate, from one pass over all pairs", async () => {
    const { space, ...control } = optionsOf("each");
    const seen: number[] = [];
    const { byPair, forwardEquivalents } = await estimatesByPair(model, PAIRS, space, {
      ...control,
      onProgress: ({ stage, done, total }) => {
        expect([stage, total]).toEqual(["estimate", PAIRS.length]);
        seen.push(done);
      },
    });
    const fixed = await estimateBy("atp+qkfix", model, PAIRS, { ...control, space, byPair: true });
    expect(byPair).toEqual(fixed.byPair);
    expect(forwardEquivalents).toBe(3 * PAIRS.length);
    // Two batches of the three long pairs, one of the short one.
    expect(seen).toEqual([2, 3, 4]);
  });
});
