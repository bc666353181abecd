import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { randomModel } from "../../bench/random-model.js";
import { estimateBy } from "../../src/atpstar/estimate.js";
import { METHODS } from "../../src/atpstar/methods.js";
import { completeness, minimality } from "../../src/exact/circuits.js";
import { faithfulness } from "../../src/exact/faithfulness.js";
import { exactEffects } from "../../src/exact/patch-sets.js";
import { directPaths } from "../../src/exact/paths/path-effects.js";
import { localize } from "../../src/localize.js";
import type { Model } from "../../src/model/model.js";
import { type Site, sitesOf } from "../../src/model/sites.js";
import { logits } from "../../src/model/transformer.js";
import { indexOfNode, makeNodeSpace, type NodeSpace } from "../../src/nodes/node-space.js";
import { contribution, meanEffect } from "../../src/nodes/score-table.js";
import type { Direction } from "../../src/prompts/direction.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import type { Pair } from "../../src/prompts/pair.js";
import { type NoiseOptions, type NoiseSource, noiseSource } from "../../src/sources/noise.js";
import { zeroSource } from "../../src/sources/zero.js";
import { startTestEngine } from "../support/engine.js";
import { largestError, relativeError } from "../support/errors.js";
import { handMadeModel } from "../support/model-by-hand.js";
import { rounded } from "../support/rounded.js";
import { TINY_CONFIGS } from "../support/tiny-config.js";
import { tokenPair } from "../support/token-pair.js";

/** Float32, metrics of order 1, the same values by another way. */
const TOLERANCE = 2e-5;

const DRAWS = 3;
const SHORT = tokenPair([5, 6, 7], [5, 1, 7], { subject: 0 });
const PAIRS = [
  tokenPair([1, 2, 3, 4], [1, 7, 3, 4], { subject: 1 }),
  SHORT,
  tokenPair([9, 8, 7, 6], [9, 8, 2, 6], { subject: 2 }),
];
const AT: NoiseOptions["at"] = ["subject", 1];

beforeAll(() => startTestEngine());

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** One draw of a source as a source of its own. */
function onlyDraw(source: NoiseSource, draw: number): NoiseSource {
  return { ...source, draws: 1, noised: (pair) => source.noised(pair, draw) };
}

/** ε and −ε. */
function withOpposite(source: NoiseSource): NoiseSource {
  return {
    ...source,
    draws: 2,
    noised(pair, draw) {
      const { noise, ...noised } = source.noised(pair, 0);
      if (!noise) throw new Error("expected noise");
      const values = () => (draw === 0 ? noise.values() : noise.values().map((x) => -x));
      return { ...noised, noise: { ...noise, values } };
    },
  };
}

describe.each(["plain", "parallel", "gated"] as const)("%s model", (kind) => {
  let model: Model;
  let space: NodeSpace;
  let source: NoiseSource;
  let tensors: number;

  beforeAll(async () => {
    model = randomModel(TINY_CONFIGS[kind]);
    space = makeNodeSpace(model.config, sitesOf(model.config), [0, 1, 2, 3, "*"]);
    source = await noiseSource(model, { at: AT, multiple: 0.8, draws: DRAWS, seed: 7 });
    tensors = tf.memory().numTensors;
  });
  afterAll(() => {
    expect(tf.memory().numTensors).toBe(tensors);
    model.dispose();
  });

  const base = { metric: metricByName("logit-diff"), direction: "noising" as const, batchSize: 8 };
  const node = (site: Site, layer: number, position: number | string, index?: number) =>
    indexOfNode(space, { site, layer, position, ...(index !== undefined && { index }) });

  /** A plain run of the clean prompt, with noise if asked for, and with one value of a site overwritten. */
  async function runByHand(
    pair: Pair,
    draw: number | undefined,
    site: Site,
    layer: number,
    write?: { readonly values: Float32Array; readonly position: number },
  ): Promise<{ metric: number; seen: Float32Array }> {
    let seen = new Float32Array();
    const { width, vocabulary } = model.config;
    const all = await logits(model, [pair.clean], (at, l, value) => {
      const data = Float32Array.from(value.dataSync());
      if (at === "residPre" && l === 0 && draw !== undefined) {
        const { noise } = source.noised(pair, draw);
        noise?.positions.forEach((position, p) => {
          for (let d = 0; d < width; d++) data[position * width + d] += noise.values()[p * width + d];
        });
      }
      if (at === site && l === layer) {
        seen = data.slice();
        if (write) {
          const size = data.length / pair.clean.length;
          data.set(
            write.values.subarray(write.position * size, (write.position + 1) * size),
            write.position * size,
          );
        }
      }
      return tf.tensor(data, value.shape);
    });
    const last = all.dataSync().slice(-vocabulary);
    all.dispose();
    const mean = (tokens: readonly number[]) => meanOf(tokens.map((token) => last[token]));
    return { metric: mean(pair.answers) - mean(pair.wrong), seen };
  }

  it.each(["noising", "denoising"] as const)(
    "%s: effects are means over runs that were noised by hand",
    async (direction) => {
      const [pair] = PAIRS;
      const position = 2;
      const runs = { base: [] as number[], source: [] as number[], patched: [] as number[] };
      for (let draw = 0; draw < DRAWS; draw++) {
        const [ofBase, ofSource] = direction === "noising" ? [undefined, draw] : [draw, undefined];
        const from = await runByHand(pair, ofSource, "mlpOut", 1);
        runs.source.push(from.metric);
        runs.base.push((await runByHand(pair, ofBase, "mlpOut", 1)).metric);
        const write = { values: from.seen, position };
        runs.patched.push((await runByHand(pair, ofBase, "mlpOut", 1, write)).metric);
      }
      const sets = [Uint32Array.of(node("mlpOut", 1, position))];
      const exact = await exactEffects(model, PAIRS, space, sets, { ...base, direction, source });
      expect(exact.baseMetric[0]).toBeCloseTo(meanOf(runs.base), 4);
      expect(exact.sourceMetric[0]).toBeCloseTo(meanOf(runs.source), 4);
      expect(exact.effects[0]).toBeCloseTo(meanOf(runs.patched) - meanOf(runs.base), 4);
      expect(Math.abs(exact.effects[0])).toBeGreaterThan(100 * TOLERANCE);
      expect(exact.forwardEquivalents).toBeGreaterThan(2 * DRAWS * PAIRS.length);
    },
  );

  it("patching all that was noised, or everything, gives the source run; the corrupted prompt is never run", async () => {
    const sets = [
      Uint32Array.of(node("residPre", 0, 1)),
      Uint32Array.of(node("residPre", 0, "*")),
      Uint32Array.of(node("residPre", 0, 3)),
    ];
    const [pair] = PAIRS;
    const exact = await exactEffects(model, [pair], space, sets, { ...base, source });
    const gap = exact.sourceMetric[0] - exact.baseMetric[0];
    expect(Math.abs(gap)).toBeGreaterThan(100 * TOLERANCE);
    expect(largestError(exact.effects, [gap, gap, 0])).toBeLessThan(TOLERANCE);

    const other = { ...pair, corrupted: [4, 4, 4, 4] };
    expect(await exactEffects(model, [other], space, sets, { ...base, source })).toEqual(exact);
  });

  it("does not depend on batches or on the other pairs; the same seed gives the same, another one does not", async () => {
    const sets = [Uint32Array.of(node("z", 1, 1, 2)), Uint32Array.of(node("mlpOut", 0, "*"))];
    const effectsOf = async (pairs: readonly Pair[], batchSize: number, from = source) =>
      (await exactEffects(model, pairs, space, sets, { ...base, batchSize, source: from })).effects;
    const together = await effectsOf(PAIRS, 8);
    for (const batchSize of [1, 4]) {
      expect(largestError(await effectsOf(PAIRS, batchSize), together)).toBeLessThan(TOLERANCE);
    }
    expect(largestError(await effectsOf([PAIRS[2]], 8), together.slice(4))).toBeLessThan(TOLERANCE);
    const options = { at: AT, multiple: 0.8, draws: DRAWS };
    const again = await noiseSource(model, { ...options, seed: 7 });
    expect(await effectsOf(PAIRS, 8, again)).toEqual(together);
    const other = await noiseSource(model, { ...options, seed: 8 });
    expect(largestError(await effectsOf(PAIRS, 8, other), together)).toBeGreaterThan(100 * TOLERANCE);
  });

  it.each(METHODS)("%s: estimates are averaged over the draws of a pair", async (method) => {
    const options = { ...base, space, source };
    const tables = await Promise.all(
      [1, 4, 16].map((batchSize) => estimateBy(method, model, PAIRS, { ...options, batchSize })),
    );
    for (const { scores, baseMetric } of tables) {
      expect(relativeError(scores.sumAbs, tables[0].scores.sumAbs)).toBeLessThan(TOLERANCE);
      expect(baseMetric.length).toBe(PAIRS.length);
    }
    expect(tables[0].scores.count[node("z", 1, 1, 2)]).toBe(PAIRS.length);
    expect(tables[0].scores.count[node("z", 1, 3, 2)]).toBe(PAIRS.length - 1);

    const [pair] = PAIRS;
    const { scores, sourceMetric, forwardEquivalents } = await estimateBy(method, model, [pair], options);
    const draws = await Promise.all(
      Array.from({ length: DRAWS }, (_, draw) =>
        estimateBy(method, model, [pair], { ...options, source: onlyDraw(source, draw) }),
      ),
    );
    const mean = scores.sum.map((_, n) => meanOf(draws.map((one) => one.scores.sum[n])));
    expect(relativeError(scores.sum, mean)).toBeLessThan(TOLERANCE);
    expect(sourceMetric[0]).toBeCloseTo(meanOf(draws.map((one) => one.sourceMetric[0])), 4);
    expect(forwardEquivalents).toBeCloseTo(DRAWS * draws[0].forwardEquivalents, 6);
    if (method === "atp" || method === "atp+qkfix") {
      expect(relativeError(scores.sumAbs, mean.map(Math.abs))).toBeLessThan(TOLERANCE);
    }
    const gap = scores.flags?.saturation;
    if (gap) {
      const plain = await estimateBy("atp", model, [pair], options);
      const expected = mean.map((x, n) => Math.abs(x - plain.scores.sum[n]));
      expect(largestError(gap, expected)).toBeLessThan(TOLERANCE);
    }
  });

  it.each(METHODS)("%s: draws that cancel leave nothing where the embeddings enter", async (method) => {
    const entering = makeNodeSpace(model.config, ["residPre"], [1]);
    const options = { ...base, space: entering };
    const one = await estimateBy(method, model, [PAIRS[0]], { ...options, source: onlyDraw(source, 0) });
    const both = await estimateBy(method, model, [PAIRS[0]], { ...options, source: withOpposite(source) });
    expect(one.scores.sumAbs[0]).toBeGreaterThan(100 * TOLERANCE);
    expect(both.scores.count[0]).toBe(1);
    const { sum, sumAbs, flags: { saturation, cancellation } = {} } = both.scores;
    for (const column of [sum, sumAbs, saturation, cancellation?.plain, cancellation?.dropped]) {
      expect(Math.abs(column?.[0] ?? 0)).toBeLessThan(TOLERANCE / 100);
    }
  });

  it("paths: effects are means over draws", async () => {
    const ends = { senders: ["L0.mlpOut@*", "L1.z[1]@3"], receivers: ["L2.v[0]@*", "final"] };
    const whole = await directPaths(model, PAIRS, { ...base, ...ends, source });
    const draws = await Promise.all(
      Array.from({ length: DRAWS }, (_, draw) =>
        directPaths(model, PAIRS, { ...base, ...ends, source: onlyDraw(source, draw) }),
      ),
    );
    const mean = (of: (one: (typeof draws)[number]) => ArrayLike<number>) =>
      Array.from(of(whole), (_, at) => meanOf(draws.map((one) => of(one)[at])));
    const known = (values: ArrayLike<number>) => Array.from(values).filter((x) => !Number.isNaN(x));
    expect(known(whole.effects).length).toBe(10); // The second pair has no position 3.
    expect(largestError(known(whole.effects), known(mean((one) => one.effects)))).toBeLessThan(TOLERANCE);
    expect(Math.max(...known(whole.effects).map(Math.abs))).toBeGreaterThan(100 * TOLERANCE);
    expect(
      largestError(
        whole.baseMetric,
        mean((one) => one.baseMetric),
      ),
    ).toBeLessThan(TOLERANCE);
    expect(
      largestError(
        whole.sourceMetric,
        mean((one) => one.sourceMetric),
      ),
    ).toBeLessThan(TOLERANCE);
  });

  it("localize: verified effects are those of the sets, whatever the direction", async () => {
    for (const direction of ["noising", "denoising"] as const) {
      const ranking = await localize(model, PAIRS, {
        direction,
        source,
        nodes: "z,mlpOut,residPre",
        positions: "each",
        topK: 30,
      });
      const { nodes = new Uint32Array(), scores } = ranking.verified ?? {};
      const sets = Array.from(nodes, (n) => Uint32Array.of(n));
      const { effects, baseMetric, sourceMetric } = await exactEffects(model, PAIRS, ranking.space, sets, {
        ...base,
        direction,
        source,
      });
      expect(nodes.length).toBe(30);
      expect(largestError(ranking.baseMetric, baseMetric)).toBeLessThan(TOLERANCE);
      expect(largestError(ranking.sourceMetric, sourceMetric)).toBeLessThan(TOLERANCE);
      nodes.forEach((_, n) => {
        const own = PAIRS.map((_, pair) => effects[pair * nodes.length + n]).filter((x) => !Number.isNaN(x));
        if (!scores) throw new Error("expected scores");
        expect(meanEffect(scores, n)).toBeCloseTo(meanOf(own), 4);
        expect(contribution(scores, n)).toBeCloseTo(meanOf(own.map(Math.abs)), 4);
      });
    }
  });

  it("faithfulness: f is 0 at the noised runs, not where all of the space is patched", async () => {
    const outputs = makeNodeSpace(model.config, ["mlpOut"], ["*"]);
    const order = Uint32Array.from({ length: outputs.size }, (_, n) => n);
    const curve = await faithfulness(model, PAIRS, { space: outputs, order }, { ...base, source });
    const { sourceMetric, baseMetric } = await exactEffects(model, PAIRS, outputs, [order], {
      ...base,
      source,
    });
    expect(curve.sourceMetric).toBeCloseTo(meanOf([...sourceMetric]), 5);
    expect(curve.baseMetric).toBeCloseTo(meanOf([...baseMetric]), 5);
    expect(Math.abs(curve.allPatched.metric - curve.sourceMetric)).toBeGreaterThan(100 * TOLERANCE);
  });

  it("kl compares with the clean run", async () => {
    const sets = [Uint32Array.of(node("mlpOut", 1, 1))];
    const metricsOf = (direction: Direction) =>
      exactEffects(model, PAIRS, space, sets, { ...base, metric: metricByName("kl"), direction, source });
    const [noising, denoising] = [await metricsOf("noising"), await metricsOf("denoising")];
    expect(largestError(noising.baseMetric, [0, 0, 0])).toBeLessThan(TOLERANCE);
    expect(Math.min(...noising.sourceMetric)).toBeGreaterThan(100 * TOLERANCE);
    expect(largestError(denoising.baseMetric, noising.sourceMetric)).toBeLessThan(TOLERANCE);
    await expect(
      estimateBy("atp", model, PAIRS, { ...base, space, source, metric: metricByName("kl") }),
    ).rejects.toThrow("estimate: expected direction denoising for metric kl, got noising");
  });
});

describe("a model without layers that do anything", () => {
  // Dimensions: nothing but the embedding. The logit difference is the stream · (1, −3).
  const difference = [1, -3];
  let model: Model;

  beforeAll(() => {
    model = handMadeModel("embeddings", {
      embedding: [
        [2, 0],
        [-2, 4],
        [0, 0],
      ],
      layers: [{}, {}],
      unembedding: [
        [1, 0],
        [0, 3],
        [0, 0],
      ],
    });
  });
  afterAll(() => model.dispose());

  const pair = (clean: number[]): Pair => ({ ...tokenPair(clean, clean), answers: [0], wrong: [1] });

  it.each(METHODS)(
    "%s: contribution is the mean over pairs of |mean over draws of noise · (1, −3)|",
    async (method) => {
      // 2, 0, −2, 4, 0, 0: mean 2/3, mean of squares 4, variance 4 − 4/9.
      const sigma = Math.sqrt(32 / 9);
      const source = await noiseSource(model, { at: [1], multiple: 0.5, draws: 4, seed: 3 });
      expect(source.embeddingDeviation).toBeCloseTo(sigma, 10);
      expect(source.description).toBe("noise of 0.5 σ at 1, 4 draws, seed 3");
      const pairs = [pair([0, 1]), pair([2, 2])];
      const steps = pairs.map((each) =>
        [0, 1, 2, 3].map((draw) => {
          const { noise } = source.noised(each, draw);
          const [x, y] = noise?.values() ?? [];
          return x * difference[0] + y * difference[1];
        }),
      );
      const means = steps.map(meanOf);
      const tooLarge = meanOf(steps.flat().map(Math.abs));
      const space = makeNodeSpace(model.config, ["residPre", "residPost"], [1]);
      const options = {
        metric: metricByName("logit-diff"),
        direction: "noising" as const,
        batchSize: 8,
        source,
      };
      const { scores } = await estimateBy(method, model, pairs, { ...options, space });
      const sets = Array.from({ length: space.size }, (_, n) => Uint32Array.of(n));
      const { effects } = await exactEffects(model, pairs, space, sets, options);
      sets.forEach((_, n) => {
        expect(contribution(scores, n)).toBeCloseTo(meanOf(means.map(Math.abs)), 4);
        expect(contribution(scores, n)).toBeLessThan(tooLarge - 0.1);
        expect(meanEffect(scores, n)).toBeCloseTo(meanOf(means), 4);
        expect([effects[n], effects[space.size + n]]).toEqual(means.map((x) => expect.closeTo(x, 4)));
      });
    },
  );

  it("noise is normal, of the deviation asked for, and different at every draw, position, dimension and pair", async () => {
    const draws = 4000;
    const { embeddingDeviation, noised } = await noiseSource(model, {
      at: ["*"],
      multiple: 2,
      draws,
      seed: -1,
    });
    const [one, other] = [pair([0, 1]), pair([0, 2])];
    const rows = Array.from({ length: draws }, (_, draw) =>
      [one, other].flatMap((each) => [...(noised(each, draw).noise?.values() ?? [])]),
    );
    const size = 8; // 2 pairs of 2 positions of 2 dimensions
    const columns = Array.from({ length: size }, (_, c) =>
      rows.map((row) => row[c] / (2 * embeddingDeviation)),
    );
    // Standard errors of a mean, of a correlation and of E[x⁴] − 3 of N normal numbers are 1/√N, 1/√N and √(96/N).
    const se = 1 / Math.sqrt(draws);
    for (const [c, x] of columns.entries()) {
      expect(Math.abs(meanOf(x))).toBeLessThan(4 * se);
      expect(Math.abs(meanOf(x.map((value) => value ** 2)) - 1)).toBeLessThan(4 * Math.SQRT2 * se);
      expect(Math.abs(meanOf(x.map((value) => value ** 4)) - 3)).toBeLessThan(4 * Math.sqrt(96) * se);
      expect(Math.abs(meanOf(x.slice(1).map((value, i) => value * x[i])))).toBeLessThan(4 * se);
      for (const y of columns.slice(c + 1)) {
        expect(Math.abs(meanOf(x.map((value, i) => value * y[i])))).toBeLessThan(4 * se);
      }
    }
  });

  it("noise of a position is the same wherever else there is noise, and whatever the multiple", async () => {
    const each = pair([0, 1, 2]);
    const at = async (labels: NoiseOptions["at"], multiple: number) => {
      const { noise } = (await noiseSource(model, { at: labels, multiple, seed: 5 })).noised(each, 1);
      return { positions: noise?.positions, values: [...(noise?.values() ?? [])] };
    };
    const [some, all] = [await at([2], 1), await at([2, "*", 2], 1)];
    expect([some.positions, all.positions]).toEqual([[2], [0, 1, 2]]);
    expect(all.values.slice(4)).toEqual(some.values);
    expect((await at([2], 2)).values).toEqual(some.values.map((x) => 2 * x));
    const ofRole = { ...each, roles: new Map([["end", 2]]) };
    expect(
      (await noiseSource(model, { at: ["end"], multiple: 1, seed: 5 })).noised(ofRole, 1).noise?.values(),
    ).toEqual(Float32Array.from(some.values));
  });

  it("refuses what makes no noise", async () => {
    const refused = (options: Partial<NoiseOptions>) =>
      expect(noiseSource(model, { at: [1], ...options })).rejects;
    await refused({ at: [] }).toThrow(
      "noiseSource: expected at least one position or role that gets noise, got none",
    );
    for (const wrong of ["-0", 1.5, "a b", ""]) {
      await refused({ at: ["*", wrong] }).toThrow(
        `noiseSource: expected positions, names of roles or "*", got ${wrong}`,
      );
    }
    for (const multiple of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      await refused({ multiple }).toThrow(
        `noiseSource: expected multiple to be a positive number that float32 can hold, got ${multiple}`,
      );
    }
    for (const draws of [0, 1.5]) {
      await refused({ draws }).toThrow(`noiseSource: expected draws to be a positive integer, got ${draws}`);
    }
    await refused({ seed: 2 ** 31 }).toThrow(
      "noiseSource: expected seed to be an integer from -2^31 to 2^31 - 1, got 2147483648",
    );
  });

  it("refuses pairs that cannot be noised, and pairs without a corrupted prompt where nothing stands in for it", async () => {
    const space = makeNodeSpace(model.config, ["residPre"], [0]);
    const options = { metric: metricByName("logit-diff"), direction: "noising" as const, batchSize: 8 };
    const run = async (pairs: Pair[], at?: NoiseOptions["at"]) => {
      const source = at && (await noiseSource(model, { at }));
      return exactEffects(model, pairs, space, [Uint32Array.of(0)], {
        ...options,
        ...(source && { source }),
      });
    };
    const named = { ...pair([0, 1]), roles: new Map([["subject", 0]]), origin: "facts.jsonl:1" };
    const plain = { ...pair([0, 1]), origin: "facts.jsonl:2" };
    await expect(run([named, plain], ["subject"])).rejects.toThrow(
      "noiseSource: facts.jsonl:2: expected a pair with all that gets noise, subject, got one of 2 tokens and no roles, without subject",
    );
    await expect(run([named], [0, 5])).rejects.toThrow(
      "noiseSource: facts.jsonl:1: expected a pair with all that gets noise, 0,5, got one of 2 tokens and the roles subject, without 5",
    );
    await expect(run([{ ...named, metricPosition: 0 }], [1])).rejects.toThrow(
      "noiseSource: facts.jsonl:1: expected noise at a position up to 0, where the metric is read, got it at 1: it would change nothing",
    );
    await expect(
      estimateBy("atp", model, [plain], {
        ...options,
        space,
        source: await noiseSource(model, { at: ["subject"] }),
      }),
    ).rejects.toThrow("noiseSource: facts.jsonl:2: expected a pair with all that gets noise");
    const lone = { ...plain, corrupted: plain.clean };
    await expect(run([lone])).rejects.toThrow(
      "drawPairs: facts.jsonl:2: expected a pair with a corrupted prompt, or a noise source to stand in for it, got neither",
    );
    await run([lone], [0]);
    await exactEffects(model, [lone], space, [Uint32Array.of(0)], { ...options, source: zeroSource() });
  });
});

it("circuits: a node is negative when it moves the metric away from the noised run", async () => {
  // Dimensions: x, output. The metric is output − 3x, the MLP adds x to the output. Noise of 1 on x makes the metric
  // −2(x + 1) instead of −2x; the MLP's own part of that is +1.
  const model = handMadeModel("negative", {
    embedding: [[2, 0]],
    layers: [{ neurons: { 0: { reads: [1, 0], writes: [0, 1] } } }],
    unembedding: [[-3, 1]],
  });
  const pair: Pair = { ...tokenPair([0], [0]), answers: [0], wrong: [] };
  const source: NoiseSource = {
    description: "1 on x",
    embeddingDeviation: 1,
    draws: 1,
    noised: (given) => ({
      ...given,
      corrupted: given.clean,
      noise: { positions: [0], values: () => Float32Array.of(1, 0) },
    }),
    dispose() {},
  };
  const space = makeNodeSpace(model.config, ["mlpOut"], [0]);
  const options = { metric: metricByName("logit"), direction: "noising" as const, batchSize: 1, source };
  const circuit = Uint32Array.of(0);
  const found = await completeness(model, [pair], space, circuit, { ...options, randomSubsets: 0 });
  expect(rounded(found)).toMatchObject({ model: -4, source: -6, nothing: -3 });
  expect(found.subsets[1]).toMatchObject({ removed: ["L0.mlpOut@0"], negative: true });
  const { nodes } = await minimality(model, [pair], space, circuit, options);
  expect(rounded(nodes[0])).toMatchObject({ effectMean: 1, negative: true });
  model.dispose();
});
