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
      expect(source.description).toBe("mean over 1 prompt of 4 tokens, position by position");
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

  it("a mean says the same of a pair, whatever pairs of other lengths there are", async () => {
    const sets = Array.from({ length: 40 }, (_, s) => Uint32Array.of((s * 37) % space.size));
    const effectsOf = (averaged: Pair[]) =>
      withMeans(averaged, async (source) => {
        const { effects } = await exactEffects(model, SAME_LENGTH, space, sets, { ...base, source });
        const { scores } = await estimateAtp(model, SAME_LENGTH, { ...base, space, source });
        return { effects, estimates: scores.sum, description: source.description };
      });
    const alone = await effectsOf(SAME_LENGTH);
    const beside = await effectsOf(MIXED);
    expect(beside.effects).toEqual(alone.effects);
    expect(beside.estimates).toEqual(alone.estimates);
    expect(alone.description).toBe("mean over 2 prompts of 4 tokens, position by position");
    expect(beside.description).toBe("mean over 1 prompt of 3 tokens and 2 of 4 tokens, position by position");
  });

  it("a token that all prompts begin with has no effect beside a longer pair, and every pair its own length's mean", async () => {
    const begin = [tokenPair([1, 2, 3], [1, 7, 3]), tokenPair([1, 5, 6], [1, 4, 6])];
    const longer = tokenPair([1, 5, 2, 8], [1, 5, 9, 8]);
    const start = makeNodeSpace(model.config, ["residPre"], [0, 1, 2, 3]);
    const sets = [0, 1].map((position) =>
      Uint32Array.of(indexOfNode(start, { site: "residPre", layer: 0, position })),
    );
    await withMeans([...begin, longer], async (source) => {
      const pairs = [...begin, longer];
      const { effects } = await exactEffects(model, pairs, start, sets, { ...base, source });
      for (const pair of [0, 1, 2]) expect(Math.abs(effects[2 * pair])).toBeLessThan(TOLERANCE);
      expect(Math.abs(effects[1])).toBeGreaterThan(100 * TOLERANCE);
      // Of its length there is one prompt, so its mean is its source prompt, which has the same token at position 1.
      expect(Math.abs(effects[5])).toBeLessThan(TOLERANCE);
    });
  });

  it("only prompts of a length that is studied are run", async () => {
    let rows = 0;
    const { weights } = model;
    const counting = Object.assign(Object.create(weights), {
      tokenRows(ids: readonly number[]) {
        rows += ids.length;
        return weights.tokenRows(ids);
      },
    });
    const options = { direction: "noising", sites: ["z" as const], batchSize: 2 } as const;
    const source = await meanSource({ ...model, weights: counting }, MIXED, {
      ...options,
      studied: [SAME_LENGTH[0]],
    });
    expect(rows).toBe(2 * 4);
    source.dispose();
    await expect(meanSource(model, SAME_LENGTH, { ...options, studied: [MIXED[2]] })).rejects.toThrow(
      "meanSource: expected a prompt of 3 tokens to average over, as many as pair of 5,6,7 has, got none among 2",
    );
  });

  it("a prompt whose activations are not finite is named", async () => {
    const { weights } = model;
    const broken = Object.assign(Object.create(weights), {
      async tokenRows(ids: readonly number[]) {
        const rows = await weights.tokenRows(ids);
        const data = Float32Array.from(rows.dataSync());
        rows.dispose();
        ids.forEach((id, row) => {
          if (id === 6) data.fill(Number.NaN, row * model.config.width, (row + 1) * model.config.width);
        });
        return tf.tensor2d(data, [ids.length, model.config.width]);
      },
    });
    const before = tf.memory().numTensors;
    await expect(
      meanSource({ ...model, weights: broken }, SAME_LENGTH, {
        direction: "noising",
        sites: ["mlpOut"],
        batchSize: 2,
      }),
    ).rejects.toThrow(
      "meanSource: expected finite activations of every prompt that is averaged, got others of pair of 9,8,7,6: values begin to be not finite at L0.residPre@3, which is NaN",
    );
    expect(tf.memory().numTensors).toBe(before);
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
