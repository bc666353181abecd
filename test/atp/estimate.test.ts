import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { randomModel } from "../../bench/random-model.js";
import type { EstimateOptions } from "../../src/atp/batches.js";
import { estimateAtp } from "../../src/atp/estimate.js";
import { RunError } from "../../src/errors.js";
import type { Model } from "../../src/model/model.js";
import { type Site, sitesOf } from "../../src/model/sites.js";
import { indexOfNode, makeNodeSpace, type NodeSpace } from "../../src/nodes/node-space.js";
import { positionLabels } from "../../src/nodes/positions.js";
import { contribution, meanEffect } from "../../src/nodes/score-table.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import { isOutput, type Metric } from "../../src/prompts/metrics/metric.js";
import type { Pair } from "../../src/prompts/pair.js";
import { startTestEngine } from "../support/engine.js";
import { relativeError } from "../support/errors.js";
import { TINY_CONFIGS } from "../support/tiny-config.js";
import { tokenPair } from "../support/token-pair.js";

/** The same float32 numbers summed in another order, or rows computed in another batch. */
const REORDERING_TOLERANCE = 1e-5;

const PAIRS: Pair[] = [
  tokenPair([1, 2, 3, 4, 5], [1, 7, 3, 4, 5], { changed: 1, end: 4 }),
  tokenPair([9, 8, 7, 6, 5], [9, 8, 2, 6, 5], { changed: 2, end: 4 }),
  tokenPair([4, 4, 1], [4, 10, 1], { changed: 1, end: 2 }),
  tokenPair([11, 12, 13, 14, 15], [11, 12, 13, 1, 15], { changed: 3 }),
];

describe.each(["plain", "parallel", "gated"] as const)("%s model", (kind) => {
  let model: Model;
  const spaceOf = (mode: "each" | "roles" | "all", sites: Site[] = sitesOf(model.config)) =>
    makeNodeSpace(model.config, sites, positionLabels(mode, PAIRS));

  const run = async (space: NodeSpace, pairs: Pair[] = PAIRS, options: Partial<EstimateOptions> = {}) => {
    const before = tf.memory().numTensors;
    const result = await estimateAtp(model, pairs, {
      metric: metricByName("logit-diff"),
      direction: "noising",
      batchSize: 8,
      space,
      ...options,
    });
    expect(tf.memory().numTensors).toBe(before);
    return result;
  };

  beforeAll(async () => {
    await startTestEngine();
    model = randomModel(TINY_CONFIGS[kind]);
  });
  afterAll(() => model.dispose());

  it("adds up what each pair gives alone, whatever the batch size and the mixture of lengths", async () => {
    const space = spaceOf("each");
    const together = await run(space);
    const sum = new Float64Array(space.size);
    const sumAbs = new Float64Array(space.size);
    for (const pair of PAIRS) {
      const alone = await run(space, [pair], { batchSize: 1 });
      alone.scores.sum.forEach((value, node) => {
        sum[node] += value;
        sumAbs[node] += Math.abs(value);
      });
    }
    expect(relativeError(together.scores.sum, sum)).toBeLessThan(REORDERING_TOLERANCE);
    expect(relativeError(together.scores.sumAbs, sumAbs)).toBeLessThan(REORDERING_TOLERANCE);
    // Position 4 exists in the three pairs of five tokens, position 2 in all four.
    const atEnd = indexOfNode(space, { site: "mlpOut", layer: 0, position: 4 });
    const atTwo = indexOfNode(space, { site: "mlpOut", layer: 0, position: 2 });
    expect([together.scores.count[atEnd], together.scores.count[atTwo]]).toEqual([3, 4]);
  });

  it("takes the absolute value per pair and after summing over positions", async () => {
    const each = spaceOf("each", ["z", "neuron"]);
    const all = spaceOf("all", ["z", "neuron"]);
    const perPair: number[] = [];
    for (const pair of PAIRS) {
      const { scores } = await run(each, [pair]);
      let total = 0;
      for (let position = 0; position < pair.clean.length; position++) {
        total += scores.sum[indexOfNode(each, { site: "z", layer: 1, index: 2, position })];
      }
      perPair.push(total);
    }
    const { scores } = await run(all);
    const node = indexOfNode(all, { site: "z", layer: 1, index: 2, position: "*" });
    const byHand = perPair.reduce((sum, value) => sum + Math.abs(value), 0) / PAIRS.length;
    expect(contribution(scores, node) / byHand).toBeCloseTo(1, 4);
    expect(meanEffect(scores, node)).toBeCloseTo(perPair.reduce((sum, x) => sum + x, 0) / PAIRS.length, 4);
  });

  it("reads roles at each pair's own position, and leaves out pairs without the role", async () => {
    const each = spaceOf("each", ["mlpOut"]);
    const roles = spaceOf("roles", ["mlpOut"]);
    const { scores } = await run(roles);
    let byHand = 0;
    for (const pair of PAIRS.slice(0, 3)) {
      const alone = await run(each, [pair]);
      byHand +=
        alone.scores.sum[indexOfNode(each, { site: "mlpOut", layer: 1, position: pair.clean.length - 1 })];
    }
    const end = indexOfNode(roles, { site: "mlpOut", layer: 1, position: "end" });
    expect(scores.sum[end]).toBeCloseTo(byHand, 4);
    expect(scores.count[end]).toBe(3);
  });

  it("gives the same bits when layers are recomputed instead of kept", async () => {
    const space = spaceOf("each");
    const kept = await run(space);
    const recomputed = await run(space, PAIRS, { activationBudgetBytes: 0 });
    const partly = await run(space, PAIRS, { activationBudgetBytes: 20_000 });
    expect(recomputed.scores.sum).toEqual(kept.scores.sum);
    expect(partly.scores.sum).toEqual(kept.scores.sum);
    // Three forward equivalents a pair; recomputing all layers of both runs adds two.
    expect(kept.forwardEquivalents).toBe(3 * PAIRS.length);
    expect(recomputed.forwardEquivalents).toBe(5 * PAIRS.length);
    expect(partly.forwardEquivalents).toBeGreaterThan(3 * PAIRS.length);
    expect(partly.forwardEquivalents).toBeLessThan(5 * PAIRS.length);
  });

  it("denoising is noising with the prompts exchanged", async () => {
    const space = spaceOf("each");
    const exchanged = PAIRS.map((pair) => ({ ...pair, clean: pair.corrupted, corrupted: pair.clean }));
    const denoising = await run(space, PAIRS, { direction: "denoising" });
    const noising = await run(space, exchanged);
    expect(denoising.scores.sum).toEqual(noising.scores.sum);
    expect(denoising.baseMetric).toEqual(noising.baseMetric);
    expect(denoising.sourceMetric).toEqual(noising.sourceMetric);
  });

  it("is exactly 0 before the first changed token", async () => {
    const space = spaceOf("each", ["residPre", "k"]);
    const { scores } = await run(space, [PAIRS[1]]);
    for (const position of [0, 1]) {
      expect(scores.sum[indexOfNode(space, { site: "residPre", layer: 2, position })]).toBe(0);
      expect(scores.sum[indexOfNode(space, { site: "k", layer: 2, index: 0, position })]).toBe(0);
    }
    expect(scores.sum[indexOfNode(space, { site: "residPre", layer: 0, position: 2 })]).not.toBe(0);
  });

  it("estimates prompts of one token", async () => {
    const pair = tokenPair([1], [2]);
    const space = makeNodeSpace(model.config, ["residPre"], positionLabels("each", [pair]));
    const { scores, baseMetric, sourceMetric } = await run(space, [pair]);
    expect(scores.count[0]).toBe(1);
    expect(scores.sum[0]).not.toBe(0);
    expect(baseMetric[0]).not.toBe(sourceMetric[0]);
  });

  it("approaches the effect of a small change: kl when denoising has a gradient, when noising none", async () => {
    const space = spaceOf("each", ["z"]);
    const metric = metricByName("kl");
    await expect(run(space, PAIRS, { metric })).rejects.toThrow(
      "estimate: expected direction denoising for metric kl, got noising: its gradient on the clean run is 0",
    );
    const { scores, baseMetric, sourceMetric } = await run(space, PAIRS, { metric, direction: "denoising" });
    expect(Math.max(...scores.sumAbs)).toBeGreaterThan(0);
    expect(Math.min(...baseMetric)).toBeGreaterThan(0);
    expect(Math.max(...sourceMetric.map(Math.abs))).toBeLessThan(1e-6);
  });
});

describe("input", () => {
  let model: Model;
  beforeAll(async () => {
    await startTestEngine();
    model = randomModel(TINY_CONFIGS.plain);
  });
  afterAll(() => model.dispose());

  it("refuses metrics without a gradient, pairs without the metric's tokens, and no pairs", async () => {
    const space = makeNodeSpace(model.config, ["z"], [0]);
    const run = (pairs: Pair[], name: string) =>
      estimateAtp(model, pairs, { metric: metricByName(name), direction: "noising", space, batchSize: 4 });
    await expect(run(PAIRS, "rank")).rejects.toThrow("estimate: expected a metric with a gradient, got rank");
    await expect(run([{ ...PAIRS[0], wrong: [] }], "logit-diff")).rejects.toThrow(
      'checkPairsForMetric: pair of 1,2,3,4,5: metric logit-diff expected "wrong" tokens, got none',
    );
    await expect(run([], "logit-diff")).rejects.toThrow("expected at least one pair, got none");
  });

  it("leaves no tensor where the metric's gradient, or the way back from it, breaks off", async () => {
    const space = makeNodeSpace(model.config, ["z"], [0]);
    const metric = metricByName("logit-diff");
    if (!isOutput(metric)) throw new Error("expected a metric of the logits");
    const withoutGradient: Metric = {
      ...metric,
      prepare: async (input) => ({
        ...(await metric.prepare(input)),
        gradient() {
          throw new RunError("gradient: not today");
        },
      }),
    };
    let norms = 0;
    const finalNorm = async () => {
      // Both runs have theirs.
      if (++norms === 3) throw new RunError("finalNorm: the disk is gone");
      return await model.weights.finalNorm();
    };
    const broken = { ...model, weights: { ...model.weights, finalNorm } };
    const options = { direction: "noising", space, batchSize: 4 } as const;
    const before = tf.memory().numTensors;
    const first = estimateAtp(model, [PAIRS[0]], { ...options, metric: withoutGradient });
    await expect(first).rejects.toThrow("gradient: not today");
    expect(tf.memory().numTensors).toBe(before);
    await expect(estimateAtp(broken, [PAIRS[0]], { ...options, metric })).rejects.toThrow("the disk is gone");
    expect(tf.memory().numTensors).toBe(before);
  });

  it("stops before the next batch when aborted, leaving no tensor", async () => {
    const space = makeNodeSpace(model.config, ["z"], [0]);
    const stop = new AbortController();
    const before = tf.memory().numTensors;
    const run = estimateAtp(model, PAIRS, {
      metric: metricByName("logit-diff"),
      direction: "noising",
      space,
      batchSize: 1,
      signal: stop.signal,
      onProgress: ({ done }) => {
        if (done === 2) stop.abort(new Error("enough"));
        expect(done).toBeLessThanOrEqual(2);
      },
    });
    await expect(run).rejects.toThrow("enough");
    expect(tf.memory().numTensors).toBe(before);
  });
});
