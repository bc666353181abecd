/** Sweeps of the library: every selected node, every metric. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { randomModel } from "../bench/random-model.js";
import { exactEffects } from "../src/exact/patch-sets.js";
import { pathEffects } from "../src/exact/paths/path-effects.js";
import { sweep, verify } from "../src/localize.js";
import type { Model } from "../src/model/model.js";
import { makeNodeSpace } from "../src/nodes/node-space.js";
import { positionLabels } from "../src/nodes/positions.js";
import { rankedNodes } from "../src/nodes/ranking.js";
import { metricByName } from "../src/prompts/metrics/index.js";
import { startTestEngine } from "./support/engine.js";
import { largestError } from "./support/errors.js";
import { TINY_CONFIGS } from "./support/tiny-config.js";
import { tokenPair } from "./support/token-pair.js";

/** Float32, metrics of order 1, the same product in batches of different sizes. */
const TOLERANCE = 2e-5;

const PAIRS = [
  tokenPair([1, 2, 3, 4, 5], [1, 7, 3, 4, 5], { changed: 1 }),
  tokenPair([4, 4, 1], [4, 10, 1], { changed: 1 }),
  tokenPair([9, 8, 7, 6, 5], [9, 8, 2, 6, 5], { changed: 2 }),
];

let model: Model;
beforeAll(async () => {
  await startTestEngine();
  model = randomModel(TINY_CONFIGS.gated);
});
afterAll(() => model.dispose());

describe("sweep", () => {
  it("has every metric's exact effect of every selected node, over the pairs that have it", async () => {
    const alsoMetrics = ["prob", metricByName("rank")];
    const ranking = await sweep(model, PAIRS, { nodes: "k,z,mlpOut", alsoMetrics });
    const space = makeNodeSpace(model.config, ["k", "z", "mlpOut"], positionLabels("each", PAIRS));
    expect(ranking.space).toEqual(space);
    expect([...ranking.order].sort((a, b) => a - b)).toEqual([...Array(space.size).keys()]);

    // As sets of one node, which take another way through the model.
    const sets = Array.from({ length: space.size }, (_, node) => Uint32Array.of(node));
    expect(ranking.metrics.map(({ name }) => name)).toEqual(["logit-diff", "prob", "rank"]);
    for (const { name, patched, base, source } of ranking.metrics) {
      const options = { metric: metricByName(name), direction: "noising", batchSize: 8 } as const;
      const wanted = await exactEffects(model, PAIRS, space, sets, options);
      const effects = patched.map((value, at) => value - base[Math.floor(at / space.size)]);
      expect([...effects].map(Number.isNaN)).toEqual([...wanted.effects].map(Number.isNaN));
      const present = (values: Float32Array) => values.filter((value) => !Number.isNaN(value));
      expect(largestError(present(effects), present(wanted.effects)), name).toBeLessThan(TOLERANCE);
      expect(largestError(base, wanted.baseMetric), name).toBeLessThan(TOLERANCE);
      expect(largestError(source, wanted.sourceMetric), name).toBeLessThan(TOLERANCE);
      if (name !== "logit-diff") continue;
      for (const row of rankedNodes(ranking)) {
        const node = ranking.order[row.rank - 1];
        const own = PAIRS.map((_, pair) => wanted.effects[pair * space.size + node]).filter(
          (effect) => !Number.isNaN(effect),
        );
        const mean = own.reduce((sum, effect) => sum + effect, 0) / own.length;
        const contribution = own.reduce((sum, effect) => sum + Math.abs(effect), 0) / own.length;
        expect(row).toMatchObject({ pairs: own.length, verified: true });
        expect(
          largestError([row.effectMean ?? Number.NaN, row.contribution], [mean, contribution]),
        ).toBeLessThan(TOLERANCE);
      }
    }
    expect(ranking.forwardEquivalents.estimate).toBe(0);
  });

  it("takes negative positions from each pair's end, in nodes as in paths", async () => {
    const atEnd = PAIRS.map((pair) => ({ ...pair, roles: new Map([["end", pair.clean.length - 1]]) }));
    const values = async (position: string) => {
      const { metrics } = await verify(model, atEnd, [`L0.residPre@${position}`, `L1.k[1]@${position}`]);
      const ends = {
        senders: [`L0.z[0]@${position}`],
        receivers: [`L1.q[2]@${position}`, `L2.mlp@${position}`],
      };
      const control = { metric: metricByName("logit-diff"), direction: "noising", batchSize: 4 } as const;
      const { effects } = await pathEffects(model, atEnd, { ...control, ...ends });
      return [...metrics[0].patched, ...effects];
    };
    const byRole = await values("end");
    expect(await values("-1")).toEqual(byRole);
    expect(byRole.every(Number.isFinite)).toBe(true);
    expect(new Set(byRole).size).toBeGreaterThan(6);
    // The middle pair has three tokens.
    const [first] = rankedNodes(await verify(model, PAIRS, ["L0.mlpOut@-4"]));
    expect(first).toMatchObject({ node: "L0.mlpOut@-4", position: -4, pairs: 2 });
    await expect(verify(model, PAIRS, ["L0.mlpOut@-6"])).rejects.toThrow(
      "spaceOfNodes: expected a position or role that some pair has, got -6 in L0.mlpOut@-6",
    );
  });

  it("takes the same nodes as verify, with the same values", async () => {
    const options = { metric: "prob-diff", alsoMetrics: ["kl"], direction: "denoising" } as const;
    const swept = await sweep(model, PAIRS, { ...options, nodes: ["z"], positions: "roles" });
    const ids = [...rankedNodes(swept)].map(({ node }) => node);
    expect(ids.length).toBe(model.config.layers * model.config.heads);
    const verified = await verify(model, PAIRS, ids, options);
    expect([...rankedNodes(verified)].map(({ node }) => node)).toEqual(ids);
    expect(verified.metrics.map(({ name }) => name)).toEqual(["prob-diff", "kl"]);
    verified.metrics.forEach(({ patched }, m) => {
      // [pairs, nodes], in the order of `ids` here and of the space there.
      const wanted = PAIRS.flatMap((_, pair) =>
        Array.from(swept.order, (node) => swept.metrics[m].patched[pair * ids.length + node]),
      );
      expect(largestError(patched, wanted)).toBeLessThan(TOLERANCE);
    });
  });

  it("refuses a metric that is there twice, and an unknown one", async () => {
    await expect(sweep(model, PAIRS, { alsoMetrics: ["kl", "logit-diff"] })).rejects.toThrow(
      "metricsByName: expected each metric once, got logit-diff twice",
    );
    await expect(verify(model, PAIRS, ["L0.z[0]@1"], { alsoMetrics: ["loss"] })).rejects.toThrow(
      /^parseMetric: expected one of logit-diff, .*, got "loss"$/,
    );
  });
});
