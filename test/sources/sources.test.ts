import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { randomModel } from "../../bench/random-model.js";
import { estimateAtp } from "../../src/atp/estimate.js";
import { exactEffects } from "../../src/exact/patch-sets.js";
import type { Model } from "../../src/model/model.js";
import { type Site, sitesOf } from "../../src/model/sites.js";
import { logits } from "../../src/model/transformer.js";
import { indexOfNode, makeNodeSpace, type NodeSpace } from "../../src/nodes/node-space.js";
import { positionLabels } from "../../src/nodes/positions.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import type { Pair } from "../../src/prompts/pair.js";
import { meanSource } from "../../src/sources/mean.js";
import type { ActivationSource } from "../../src/sources/source.js";
import { zeroSource } from "../../src/sources/zero.js";
import { startTestEngine } from "../support/engine.js";
import { largestError, relativeError } from "../support/errors.js";
import { TINY_CONFIGS } from "../support/tiny-config.js";
import { tokenPair } from "../support/token-pair.js";

/** Float32, metrics of order 1, the same values by another way. */
const TOLERANCE = 2e-5;

const SAME_LENGTH = [tokenPair([1, 2, 3, 4], [1, 7, 3, 4]), tokenPair([9, 8, 7, 6], [9, 8, 2, 6])];
const MIXED = [...SAME_LENGTH, tokenPair([5, 6, 7], [5, 1, 7])];

describe.each(["plain", "parallel", "gated"] as const)("%s model", (kind) => {
  let model: Model;
  let space: NodeSpace;
  let sites: Site[];

  beforeAll(async () => {
    await startTestEngine();
    model = randomModel(TINY_CONFIGS[kind]);
    sites = sitesOf(model.config);
    space = makeNodeSpace(model.config, sites, positionLabels("each", MIXED));
  });
  afterAll(() => model.dispose());

  const base = { metric: metricByName("logit-diff"), direction: "noising" as const, batchSize: 8 };
  const node = (site: Site, position: number, index?: number) =>
    indexOfNode(space, { site, layer: 1, position, ...(index !== undefined && { index }) });

  async function withMeans<T>(pairs: Pair[], body: (source: ActivationSource) => Promise<T>): Promise<T> {
    const source = await meanSource(model, pairs, { direction: "noising", sites, batchSize: 2 });
    try {
      return await body(source);
    } finally {
      source.dispose();
    }
  }

  /** Metric of a pair's clean run with one value of a site overwritten by plain numbers. */
  async function metricByHand(pair: Pair, site: Site, layer: number, write: (data: Float32Array) => void) {
    const all = await logits(model, [pair.clean], (at, l, value) => {
      if (at !== site || l !== layer) return value;
      const data = Float32Array.from(value.dataSync());
      write(data);
      return tf.tensor(data, value.shape);
    });
    const last = all.dataSync().slice(-model.config.vocabulary);
    all.dispose();
    const mean = (tokens: readonly number[]) =>
      tokens.reduce((sum, token) => sum + last[token], 0) / tokens.length;
    return mean(pair.answers) - mean(pair.wrong);
  }

  it("zero: the effect is that of writing zeros by hand, and the estimate that of −a·gradient", async () => {
    const [pair] = SAME_LENGTH;
    const before = tf.memory().numTensors;
    const source = zeroSource();
    const sets = [Uint32Array.of(node("mlpOut", 2)), Uint32Array.of(node("neuron", 1, 4))];
    const { effects, baseMetric } = await exactEffects(model, [pair], space, sets, { ...base, source });
    const { width, mlpWidth } = model.config;
    const mlpOut = await metricByHand(pair, "mlpOut", 1, (data) => data.fill(0, 2 * width, 3 * width));
    const neuron = await metricByHand(pair, "neuron", 1, (data) => data.fill(0, mlpWidth + 4, mlpWidth + 5));
    expect(effects[0]).toBeCloseTo(mlpOut - baseMetric[0], 4);
    expect(effects[1]).toBeCloseTo(neuron - baseMetric[0], 4);

    // Halving an activation goes half the way of zeroing it: a first-order estimate is linear in the step.
    const halved: ActivationSource = { ...source, valuesAt: (_site, _layer, like) => tf.mul(like, 0.5) };
    const whole = await estimateAtp(model, [pair], { ...base, space, source });
    const half = await estimateAtp(model, [pair], { ...base, space, source: halved });
    expect(
      relativeError(
        half.scores.sum.map((x) => 2 * x),
        whole.scores.sum,
      ),
    ).toBeLessThan(TOLERANCE);
    expect(tf.memory().numTensors).toBe(before);
  });

  it("mean over one pair is that pair's source prompt", async () => {
    const [pair] = SAME_LENGTH;
    const before = tf.memory().numTensors;
    const sets = Array.from({ length: 30 }, (_, s) => Uint32Array.of((s * 53) % space.size));
    await withMeans([pair], async (source) => {
      expect(source.description).toBe("mean over 1 prompts, position by position");
      const byMean = await exactEffects(model, [pair], space, sets, { ...base, source });
      const byPrompt = await exactEffects(model, [pair], space, sets, base);
      expect(largestError(byMean.effects, byPrompt.effects)).toBeLessThan(TOLERANCE);
      const estimatedByMean = await estimateAtp(model, [pair], { ...base, space, source });
      const estimatedByPrompt = await estimateAtp(model, [pair], { ...base, space });
      expect(relativeError(estimatedByMean.scores.sum, estimatedByPrompt.scores.sum)).toBeLessThan(TOLERANCE);
    });
    expect(tf.memory().numTensors).toBe(before);
  });

  it("mean over pairs of one length keeps positions apart", async () => {
    const [pair] = SAME_LENGTH;
    const { width } = model.config;
    const sum = new Float32Array(4 * width);
    for (const { corrupted } of SAME_LENGTH) {
      (
        await logits(model, [corrupted], (at, l, value) => {
          if (at === "attnOut" && l === 1) {
            for (const [i, x] of value.dataSync().entries()) sum[i] += x;
          }
          return value;
        })
      ).dispose();
    }
    const byHand = await metricByHand(pair, "attnOut", 1, (data) =>
      data.set(
        sum.subarray(2 * width, 3 * width).map((x) => x / 2),
        2 * width,
      ),
    );
    await withMeans(SAME_LENGTH, async (source) => {
      const sets = [Uint32Array.of(node("attnOut", 2))];
      const { effects, baseMetric } = await exactEffects(model, [pair], space, sets, { ...base, source });
      expect(effects[0]).toBeCloseTo(byHand - baseMetric[0], 4);
    });
  });

  it("mean over pairs of several lengths is taken over all positions", async () => {
    const [pair] = SAME_LENGTH;
    const { width } = model.config;
    const sum = new Float32Array(width);
    for (const { corrupted } of MIXED) {
      (
        await logits(model, [corrupted], (at, l, value) => {
          if (at === "attnOut" && l === 1) {
            for (const [i, x] of value.dataSync().entries()) sum[i % width] += x;
          }
          return value;
        })
      ).dispose();
    }
    const byHand = await metricByHand(pair, "attnOut", 1, (data) =>
      data.set(
        sum.map((x) => x / 11),
        2 * width,
      ),
    );
    await withMeans(MIXED, async (source) => {
      expect(source.description).toBe("mean over 3 prompts, over all positions");
      const sets = [Uint32Array.of(node("attnOut", 2))];
      const { effects, baseMetric } = await exactEffects(model, [pair], space, sets, { ...base, source });
      expect(effects[0]).toBeCloseTo(byHand - baseMetric[0], 4);
    });
  });

  it("refuses sites and prompt lengths that it has no means for", async () => {
    const [pair, , short] = MIXED;
    const source = await meanSource(model, [pair], { direction: "noising", sites: ["z"], batchSize: 2 });
    const set = (site: Site, index?: number) => [Uint32Array.of(node(site, 1, index))];
    await expect(exactEffects(model, [pair], space, set("mlpOut"), { ...base, source })).rejects.toThrow(
      "meanSource: expected a site among z and prompts of 4 tokens, got mlpOut and 4 tokens",
    );
    await expect(exactEffects(model, [short], space, set("z", 0), { ...base, source })).rejects.toThrow(
      "meanSource: expected a site among z and prompts of 4 tokens, got z and 3 tokens",
    );
    source.dispose();
    await expect(meanSource(model, [], { direction: "noising", sites, batchSize: 2 })).rejects.toThrow(
      "meanSource: expected at least one pair, got none",
    );
  });
});
