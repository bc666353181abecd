import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { randomModel } from "../../bench/random-model.js";
import { exactEffects } from "../../src/exact/patch-sets.js";
import type { Model } from "../../src/model/model.js";
import { sitesOf } from "../../src/model/sites.js";
import { logits } from "../../src/model/transformer.js";
import {
  indexOfNode,
  makeNodeSpace,
  type NodeSet,
  type NodeSpace,
  nodeAt,
} from "../../src/nodes/node-space.js";
import { positionLabels } from "../../src/nodes/positions.js";
import type { Direction } from "../../src/prompts/direction.js";
import { METRICS, metricByName } from "../../src/prompts/metrics/index.js";
import type { Pair } from "../../src/prompts/pair.js";
import { startTestEngine } from "../support/engine.js";
import { largestError } from "../support/errors.js";
import { TINY_CONFIGS } from "../support/tiny-config.js";
import { tokenPair } from "../support/token-pair.js";

/** Float32, metrics of order 1, the same product in batches of different sizes. */
const TOLERANCE = 2e-5;

const PAIRS: Pair[] = [
  tokenPair([1, 2, 3, 4, 5], [1, 7, 3, 4, 5], { changed: 1, end: 4 }),
  tokenPair([4, 4, 1], [4, 10, 1], { changed: 1 }),
  tokenPair([9, 8, 7, 6, 5], [9, 8, 2, 6, 5], { changed: 2, end: 4 }),
];

/** Difference of logits at the last position, read off a full forward pass: independent of the readout. */
async function logitDiffByFullPass(model: Model, prompt: readonly number[], pair: Pair, patch?: PatchByHand) {
  const all = await logits(model, [prompt], patch);
  const last = all.dataSync().slice(-model.config.vocabulary);
  all.dispose();
  const mean = (tokens: readonly number[]) =>
    tokens.reduce((sum, token) => sum + last[token], 0) / tokens.length;
  return mean(pair.answers) - mean(pair.wrong);
}

type PatchByHand = Parameters<typeof logits>[2];

/** Values of the source run at one site, as plain numbers. */
async function sourceValuesByHand(model: Model, prompt: readonly number[], site: string, layer: number) {
  let data: Float32Array = new Float32Array();
  (
    await logits(model, [prompt], (at, l, value) => {
      if (at === site && l === layer) data = Float32Array.from(value.dataSync());
      return value;
    })
  ).dispose();
  return data;
}

describe.each(["plain", "parallel", "gated"] as const)("%s model", (kind) => {
  let model: Model;
  let space: NodeSpace;

  beforeAll(async () => {
    await startTestEngine();
    model = randomModel(TINY_CONFIGS[kind]);
    space = makeNodeSpace(model.config, sitesOf(model.config), positionLabels("each", PAIRS));
  });
  afterAll(() => model.dispose());

  const run = async (
    of: NodeSpace,
    sets: NodeSet[],
    batchSize = 8,
    direction: Direction = "noising",
    name = "logit-diff",
  ) => {
    const before = tf.memory().numTensors;
    const result = await exactEffects(model, PAIRS, of, sets, {
      metric: metricByName(name),
      direction,
      batchSize,
    });
    expect(tf.memory().numTensors).toBe(before);
    return result;
  };

  it("equals a full forward pass of one prompt, patched by hand, at every site", async () => {
    const [pair] = PAIRS;
    for (const site of sitesOf(model.config)) {
      const indices = space.groups.find((group) => group.site === site)?.indices ?? 1;
      const index = indices > 1 ? 1 : 0;
      const node = { site, layer: 1, position: 3, ...(indices > 1 && { index }) };
      const source = await sourceValuesByHand(model, pair.corrupted, site, 1);
      const patched = await logitDiffByFullPass(model, pair.clean, pair, (at, layer, value) => {
        if (at !== site || layer !== 1) return value;
        const data = Float32Array.from(value.dataSync());
        // [1, n, T, h] for heads, [1, T, F] for neurons, [1, T, D] otherwise.
        const width = value.shape[value.rank - 1] ?? 0;
        const first = value.rank === 4 ? (index * 5 + 3) * width : 3 * width + index;
        const length = site === "neuron" ? 1 : width;
        data.set(source.subarray(first, first + length), first);
        return tf.tensor(data, value.shape);
      });
      const base = await logitDiffByFullPass(model, pair.clean, pair);
      const { effects } = await run(space, [Uint32Array.of(indexOfNode(space, node))]);
      expect(effects[0], site).toBeCloseTo(patched - base, 4);
      expect(patched - base, site).not.toBe(0);
    }
  });

  it("does not depend on the batch size, nor on what else is patched in the same batch", async () => {
    const sets = Array.from({ length: 40 }, (_, s) =>
      Uint32Array.from({ length: 1 + (s % 3) }, (_unused, i) => (s * 137 + i * 401) % space.size),
    );
    const many = await run(space, sets, 64);
    const few = await run(space, sets, 3);
    const present = (effects: Float32Array) => effects.filter((effect) => !Number.isNaN(effect));
    expect(present(many.effects).length).toBeGreaterThan(80);
    expect([...many.effects].map(Number.isNaN)).toEqual([...few.effects].map(Number.isNaN));
    expect(largestError(present(many.effects), present(few.effects))).toBeLessThan(TOLERANCE);
    expect(largestError(many.baseMetric, few.baseMetric)).toBeLessThan(TOLERANCE);
  });

  it("marks what a pair lacks as not computed: no such position, no such role", async () => {
    const atFour = Uint32Array.of(indexOfNode(space, { site: "mlpOut", layer: 0, position: 4 }));
    const { effects } = await run(space, [atFour]);
    expect([...effects].map(Number.isNaN)).toEqual([false, true, false]);

    const roles = makeNodeSpace(model.config, ["residPre"], positionLabels("roles", PAIRS));
    const changed = Uint32Array.of(indexOfNode(roles, { site: "residPre", layer: 0, position: "changed" }));
    const end = Uint32Array.of(indexOfNode(roles, { site: "residPre", layer: 0, position: "end" }));
    const both = Uint32Array.of(changed[0], end[0]);
    const byRole = await run(roles, [changed, end, both]);
    // [pair, set]; only one token differs, so patching its embedding is the whole difference between the runs.
    const gap = byRole.sourceMetric.map((source, pair) => source - byRole.baseMetric[pair]);
    const wanted = [gap[0], 0, gap[0], gap[1], Number.NaN, Number.NaN, gap[2], 0, gap[2]];
    byRole.effects.forEach((effect, at) => {
      if (Number.isNaN(wanted[at])) expect(effect).toBeNaN();
      else expect(effect).toBeCloseTo(wanted[at], 4);
    });
  });

  it("denoising starts from the corrupted run", async () => {
    const whole = makeNodeSpace(model.config, ["residPre"], positionLabels("all", PAIRS));
    const set = Uint32Array.of(indexOfNode(whole, { site: "residPre", layer: 0, position: "*" }));
    const noising = await run(whole, [set]);
    const denoising = await run(whole, [set], 8, "denoising");
    expect(denoising.baseMetric).toEqual(noising.sourceMetric);
    expect(
      largestError(
        denoising.effects,
        noising.effects.map((effect) => -effect),
      ),
    ).toBeLessThan(TOLERANCE);
  });

  it("gives every metric's effect of patching everything as source − base", async () => {
    const whole = makeNodeSpace(model.config, ["residPre"], positionLabels("all", PAIRS));
    const set = Uint32Array.of(indexOfNode(whole, { site: "residPre", layer: 0, position: "*" }));
    for (const { name } of METRICS) {
      const { effects, baseMetric, sourceMetric } = await run(whole, [set], 8, "noising", name);
      const gap = sourceMetric.map((source, pair) => source - baseMetric[pair]);
      expect(largestError(effects, gap), name).toBeLessThan(TOLERANCE);
    }
  });

  it("counts two unpatched runs a pair and the layers and positions that patched runs went through", async () => {
    const at = (layer: number, position: number) =>
      Uint32Array.of(indexOfNode(space, { site: "mlpOut", layer, position }));
    const [late, early] = [at(2, 2), at(0, 2)];
    const { forwardEquivalents } = await run(space, [late, early, Uint32Array.of(late[0], early[0])]);
    // Three pairs: 2 each; 3 of 5 tokens in two of them, 1 of 3 in the other; of which 1/3 for the last of three layers, 1 for
    // the first, 1 for both together.
    const tokens = 3 / 5 + 1 / 3 + 3 / 5;
    expect(forwardEquivalents).toBeCloseTo(3 * 2 + (1 / 3 + 1 + 1) * tokens, 10);

    // Before the first token that differs, at 1, 1 and 2, nothing does: it is not run, and others start behind it.
    const before = await run(space, [at(0, 0), Uint32Array.of(at(0, 0)[0], late[0]), new Uint32Array()]);
    expect(before.forwardEquivalents).toBeCloseTo(3 * 2 + 4 / 5 + 2 / 3 + 3 / 5, 10);
    before.effects.forEach((effect, s) => {
      if (s % 3 !== 1) expect(effect).toBe(0);
    });

    // From position 2 on: 3 of 5 tokens in two pairs, 1 of 3 in the other; and all three layers.
    const behind = Uint32Array.of(indexOfNode(space, { site: "q", layer: 0, index: 1, position: 2 }));
    const suffixes = await run(space, [behind]);
    expect(suffixes.forwardEquivalents).toBeCloseTo(3 * 2 + 2 * (3 / 5) + 1 / 3, 10);
  });

  it("knows without a run that nothing behind the metric's position changes it", async () => {
    const early = PAIRS.map((pair) => ({ ...pair, metricPosition: 1 }));
    const metric = metricByName("logit-diff");
    const options = { metric, direction: "noising" as const, batchSize: 8 };
    const node = (position: number) =>
      Uint32Array.of(indexOfNode(space, { site: "residPre", layer: 0, position }));
    const { effects, forwardEquivalents } = await exactEffects(
      model,
      early,
      space,
      [node(2), node(1)],
      options,
    );
    // [pair, set]; the third pair's prompts differ at position 2 only.
    expect([effects[0], effects[2], effects[4]]).toEqual([0, 0, 0]);
    expect(Math.abs(effects[1])).toBeGreaterThan(0.01);
    // The third pair differs behind position 1 only.
    expect(effects[5]).toBe(0);
    expect(forwardEquivalents).toBeCloseTo(3 * 2 + 4 / 5 + 2 / 3, 10);
  });

  it("names what is in the space", () => {
    expect(nodeAt(space, indexOfNode(space, { site: "z", layer: 1, index: 3, position: 2 }))).toEqual({
      site: "z",
      layer: 1,
      index: 3,
      position: 2,
    });
  });
});
