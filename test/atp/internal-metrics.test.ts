/** Estimates for metrics that are read inside the model: gradients that enter at a hook point. */

import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { estimateByFullPasses } from "../../bench/full-passes.js";
import { randomModel } from "../../bench/random-model.js";
import { estimateBy } from "../../src/atpstar/estimate.js";
import { METHODS, type Method } from "../../src/atpstar/methods.js";
import { exactEffects } from "../../src/exact/patch-sets.js";
import { localize, verify } from "../../src/localize.js";
import type { Model } from "../../src/model/model.js";
import { type Site, sitesOf } from "../../src/model/sites.js";
import { makeNodeSpace, type NodeSpace, nodeAt } from "../../src/nodes/node-space.js";
import { positionLabels } from "../../src/nodes/positions.js";
import { rankedNodes } from "../../src/nodes/ranking.js";
import { contribution, type ScoreTable } from "../../src/nodes/score-table.js";
import { attentionWeight, neuronActivation, projection } from "../../src/prompts/metrics/internal.js";
import type { InternalMetric } from "../../src/prompts/metrics/metric.js";
import type { Pair } from "../../src/prompts/pair.js";
import { noiseSource } from "../../src/sources/noise.js";
import { startTestEngine } from "../support/engine.js";
import { largestError, relativeError } from "../support/errors.js";
import {
  type ByHand,
  estimatesByHand,
  FOUR_LAYERS,
  gradientsByHand,
  METRIC_LAYER,
  metricsByHand,
  ROLE_PAIRS,
  runByHand,
  type SiteKey,
  valuesByHand,
} from "../support/internal-by-hand.js";

/** Two float32 ways to the same derivative, through up to three blocks. */
const AUTODIFF_TOLERANCE = 5e-5;

/** The same sums in another order. */
const SAME_NUMBERS = 1e-5;

/** Values of order 1, each rounded to float32 a few times. */
const EXACT_TOLERANCE = 2e-6;

const isResidual = (site: Site) => site.startsWith("resid");

/** Layers that GradDrop drops. */
const dropped = ({ reads: { point, layer } }: InternalMetric) => (point === "residPost" ? layer + 1 : layer);

describe.each(["plain", "parallel", "gated"] as const)("%s model", (kind) => {
  const config = FOUR_LAYERS[kind];
  const byHand = metricsByHand(config);
  const [pair] = ROLE_PAIRS;
  let model: Model;
  let space: NodeSpace;
  beforeAll(async () => {
    await startTestEngine();
    model = randomModel(config);
    space = makeNodeSpace(config, sitesOf(config), positionLabels("each", [pair]));
  });
  afterAll(() => model.dispose());

  const estimates = async (
    method: Method,
    metric: InternalMetric,
    pairs: readonly Pair[] = [pair],
    of = space,
  ) => {
    const before = tf.memory().numTensors;
    const options = { metric, direction: "noising", space: of, batchSize: 8 } as const;
    const result = await estimateBy(method, model, pairs, options);
    expect(tf.memory().numTensors).toBe(before);
    return result;
  };

  /** Î of every node of the space, with the gradients of the plain pass and of each dropped one. */
  const estimatesOfPasses = async (of: ByHand) => {
    const [base, source] = [
      await runByHand(model, pair.clean, pair),
      await runByHand(model, pair.corrupted, pair),
    ];
    const [baseValues, sourceValues] = [valuesByHand(base, of), valuesByHand(source, of)];
    const passes = [undefined, ...Array.from({ length: dropped(of.metric) }, (_, d) => d)];
    const results = passes.map((held) => {
      const gradients = gradientsByHand(base, of, baseValues, held);
      const all = new Float32Array(space.size);
      for (const { site, layer, offset } of space.groups) {
        const key: SiteKey = `${layer}.${site}`;
        const [gradient, from, to] = [gradients.get(key), baseValues.get(key), sourceValues.get(key)];
        if (!gradient || !from || !to) throw new Error(`expected values at ${key}, got none`);
        all.set(estimatesByHand(site, gradient, to, from), offset);
      }
      tf.dispose([...gradients.values()]);
      return all;
    });
    tf.dispose([...baseValues.values(), ...sourceValues.values()]);
    base.dispose();
    source.dispose();
    return { plain: results[0], dropped: results.slice(1) };
  };

  /** Per site and layer, so that a small one does not hide behind a large one. */
  const compare = (got: ArrayLike<number>, wanted: Float32Array, tolerance: number, what: string) => {
    let compared = 0;
    space.groups.forEach(({ site, layer, offset }, g) => {
      const end = space.groups[g + 1]?.offset ?? space.size;
      const [a, b] = [Array.from(got).slice(offset, end), wanted.subarray(offset, end)];
      const where = `${what}, L${layer}.${site}`;
      if (b.every((value) => value === 0)) {
        expect(Math.max(...a.map(Math.abs)), where).toBe(0);
      } else {
        expect(relativeError(a, b), where).toBeLessThan(tolerance);
        compared++;
      }
    });
    return compared;
  };

  it("atp: autodiff of a change at every site, and exactly 0 where the metric cannot depend on it", async () => {
    for (const of of byHand) {
      const { plain } = await estimatesOfPasses(of);
      const { scores, baseMetric, sourceMetric } = await estimates("atp", of.metric);
      const compared = compare(scores.sum, plain, AUTODIFF_TOLERANCE, of.metric.name);
      expect(compared).toBeGreaterThanOrEqual(
        of.metric.reads.layer === 0 ? 1 : 2 * (space.groups.length / 4),
      );
      expect(new Set(scores.count)).toEqual(new Set([1]));
      expect(baseMetric[0]).not.toBe(sourceMetric[0]);
    }
  });

  it("atp: finite differences of runs edited by hand", async () => {
    const epsilon = 0.02; // truncation ε² = 4e-4 of third derivatives, rounding 1e-7/ε = 5e-6
    const of = byHand[0];
    const [base, source] = [
      await runByHand(model, pair.clean, pair),
      await runByHand(model, pair.corrupted, pair),
    ];
    const [baseValues, sourceValues] = [valuesByHand(base, of), valuesByHand(source, of)];
    const { scores } = await estimates("atp", of.metric, [pair], wholeSites());
    for (const { site, layer, offset, indices } of wholeSites().groups) {
      if (layer > METRIC_LAYER) continue;
      const key: SiteKey = `${layer}.${site}`;
      const along = (step: number) =>
        tf.tidy(() => {
          const [from, to] = [baseValues.get(key), sourceValues.get(key)];
          if (!from || !to) throw new Error(`expected values at ${key}, got none`);
          const moved = base.metric(of, (point, at, value) =>
            point === site && at === layer ? tf.add(value, tf.mul(tf.sub(to, from), step)) : value,
          );
          return moved.dataSync()[0];
        });
      const slope = (along(epsilon) - along(-epsilon)) / (2 * epsilon);
      const estimated = scores.sum.slice(offset, offset + indices).reduce((sum, value) => sum + value, 0);
      expect(estimated, key).toBeCloseTo(slope, 3);
    }
    tf.dispose([...baseValues.values(), ...sourceValues.values()]);
    base.dispose();
    source.dispose();
  });

  const wholeSites = () => makeNodeSpace(config, sitesOf(config), ["*"]);

  it("atp+graddrop: means over passes that hold a layer constant, by autodiff", async () => {
    for (const of of byHand.filter(({ metric }) => dropped(metric) >= 2)) {
      const passes = await estimatesOfPasses(of);
      const { scores } = await estimates("atp+graddrop", of.metric);
      const D = dropped(of.metric);
      const wanted = passes.plain.map((_, node) => {
        const { site, layer } = nodeAt(space, node);
        const divisor = isResidual(site) || layer >= D ? D : D - 1;
        return passes.dropped.reduce((sum, pass) => sum + Math.abs(pass[node]), 0) / divisor;
      });
      const got = passes.plain.map((_, node) => contribution(scores, node));
      compare(got, wanted, AUTODIFF_TOLERANCE, of.metric.name);
      compare(scores.sum, passes.plain, AUTODIFF_TOLERANCE, of.metric.name);
    }
  });

  it("atp*: the numbers of one whole backward pass per dropped layer, in every column", async () => {
    for (const { metric } of byHand.filter((of) => dropped(of.metric) >= 2)) {
      const of = makeNodeSpace(config, sitesOf(config), positionLabels("each", ROLE_PAIRS));
      const options = { metric, direction: "noising", space: of, batchSize: 2 } as const;
      const before = tf.memory().numTensors;
      const full = (await estimateByFullPasses(model, ROLE_PAIRS, options)).scores;
      const streams = (await estimateBy("atp*", model, ROLE_PAIRS, options)).scores;
      const several = (await estimateBy("atp*", model, ROLE_PAIRS, { ...options, streamBudgetBytes: 1 }))
        .scores;
      expect(tf.memory().numTensors).toBe(before);
      expect(full.count).toEqual(streams.count);
      const columns = ({ sumAbs, sum, sumSquares, flags }: ScoreTable) => [
        sumAbs,
        sum,
        sumSquares,
        flags?.saturation ?? [],
        flags?.cancellation?.plain ?? [],
        flags?.cancellation?.dropped ?? [],
      ];
      const wanted = columns(streams);
      columns(full).forEach((column, c) => {
        expect(relativeError(column, wanted[c]), `${metric.name}, column ${c}`).toBeLessThan(SAME_NUMBERS);
      });
      columns(several).forEach((column, c) => {
        expect(relativeError(column, wanted[c]), `${metric.name}, column ${c}`).toBeLessThan(SAME_NUMBERS);
      });
    }
  });

  it("atp+qkfix: exact for queries and keys of the head whose weight is measured", async () => {
    const metrics = byHand.map(({ metric }) => metric).filter(({ reads }) => reads.point === "pattern");
    expect(metrics.length).toBe(2);
    for (const metric of metrics) {
      for (const positions of ["each", "all"] as const) {
        const of = makeNodeSpace(config, ["q", "k"], positionLabels(positions, [pair]));
        const nodes = of.groups
          .filter(({ layer }) => layer === METRIC_LAYER)
          .flatMap(({ offset, indices }) =>
            Array.from({ length: indices * of.labels.length }, (_, n) => offset + n),
          );
        const sets = nodes.map((node) => Uint32Array.of(node));
        const { effects } = await exactEffects(model, [pair], of, sets, {
          metric,
          direction: "noising",
          batchSize: 8,
        });
        const { scores } = await estimates("atp+qkfix", metric, [pair], of);
        const got = nodes.map((node) => scores.sum[node]);
        expect(largestError(got, effects)).toBeLessThan(EXACT_TOLERANCE);
        expect(Math.max(...effects.map(Math.abs))).toBeGreaterThan(1e-3);
        // The plain estimate is not.
        const { scores: plain } = await estimates("atp", metric, [pair], of);
        const linear = nodes.map((node) => plain.sum[node]);
        expect(largestError(linear, effects)).toBeGreaterThan(10 * EXACT_TOLERANCE);
      }
    }
  });

  it("a projection is linear where it is read, and so is the estimate there", async () => {
    for (const { metric } of byHand) {
      const { point, layer } = metric.reads;
      if (point === "pattern" || point === "neuron") continue;
      const of = makeNodeSpace(config, [point], [metric.position]);
      const { scores, baseMetric, sourceMetric } = await estimates("atp", metric, ROLE_PAIRS, of);
      const gap = sourceMetric.reduce((sum, value, p) => sum + value - baseMetric[p], 0);
      expect(scores.sum[layer], metric.name).toBeCloseTo(gap, 4);
      expect(scores.count[layer]).toBe(ROLE_PAIRS.length);
    }
  });

  it("residPre of a layer is residPost of the one below: the same numbers, one layer run for nothing", async () => {
    const direction = Array.from({ length: config.width }, (_, d) => d - 3);
    const above = projection({ layer: 2, site: "residPre", position: "end", direction });
    const below = projection({ layer: 1, site: "residPost", position: "end", direction });
    const of = makeNodeSpace(config, sitesOf(config), positionLabels("roles", ROLE_PAIRS));
    for (const method of METHODS) {
      const a = await estimates(method, above, ROLE_PAIRS, of);
      const b = await estimates(method, below, ROLE_PAIRS, of);
      for (const column of ["sumAbs", "sum", "count"] as const) {
        const [x, y] = [a.scores[column], b.scores[column]];
        // Only the node that is the metric's own place exists in one of the two alone.
        const same = [...x.keys()].filter((node) => {
          const { site, layer } = nodeAt(of, node);
          return layer < 2 || site !== "residPre";
        });
        expect(
          same.map((node) => x[node]),
          method,
        ).toEqual(same.map((node) => y[node]));
      }
      expect([a.baseMetric, a.sourceMetric]).toEqual([b.baseMetric, b.sourceMetric]);
      expect(a.forwardEquivalents).toBeGreaterThan(b.forwardEquivalents);
    }
  });

  it("runs no layer above the metric's, and says what it ran", async () => {
    const metric = neuronActivation({ layer: 2, neuron: 0, position: "end" });
    // Three of four layers, two runs and one pass down; with GradDrop layers 2, 1 and 0 carry 1, 1 and 2 streams.
    expect((await estimates("atp", metric)).forwardEquivalents).toBeCloseTo((2 * 3 + 3) / 4, 10);
    expect((await estimates("atp*", metric)).forwardEquivalents).toBeCloseTo((2 * 3 + 1 + 1 + 2) / 4, 10);
    const direction = Array(config.width).fill(1);
    const post = projection({ layer: 2, site: "residPost", position: "end", direction });
    // Layer 2 may be dropped too: 1, 2 and 3 streams.
    expect((await estimates("atp*", post)).forwardEquivalents).toBeCloseTo((2 * 3 + 1 + 2 + 3) / 4, 10);
  });

  it("gives the same bits when layers are recomputed instead of kept, and however pairs are batched", async () => {
    const { metric } = byHand[0];
    const of = makeNodeSpace(config, sitesOf(config), positionLabels("roles", ROLE_PAIRS));
    const options = { metric, direction: "noising", space: of, batchSize: 8 } as const;
    const kept = await estimateBy("atp*", model, ROLE_PAIRS, options);
    const again = await estimateBy("atp*", model, ROLE_PAIRS, { ...options, activationBudgetBytes: 0 });
    expect(again.scores).toEqual(kept.scores);
    const alone = await estimateBy("atp*", model, ROLE_PAIRS, { ...options, batchSize: 1 });
    expect(relativeError(alone.scores.sumAbs, kept.scores.sumAbs)).toBeLessThan(SAME_NUMBERS);
    expect(largestError(alone.baseMetric, kept.baseMetric)).toBeLessThan(EXACT_TOLERANCE);
  });
});

describe("together with the rest", () => {
  let model: Model;
  beforeAll(async () => {
    await startTestEngine();
    model = randomModel(FOUR_LAYERS.plain);
  });
  afterAll(() => model.dispose());

  const WEIGHT = "L2.pattern[1]@end:changed";

  it("localize and verify take the text or the metric", async () => {
    const metric = attentionWeight({ layer: 2, head: 1, query: "end", key: "changed" });
    const options = { nodes: "q,k,z", positions: "roles", method: "atp+qkfix", topK: 200 } as const;
    const byText = await localize(model, ROLE_PAIRS, { ...options, metric: WEIGHT });
    const byMetric = await localize(model, ROLE_PAIRS, { ...options, metric });
    expect(byText.order).toEqual(byMetric.order);
    expect(byText.estimates?.sum).toEqual(byMetric.estimates?.sum);
    expect(byText.verified?.scores).toEqual(byMetric.verified?.scores);
    const verified = await verify(model, ROLE_PAIRS, ["L2.q[1]@end", "L3.z[0]@end"], {
      metric: WEIGHT,
      alsoMetrics: ["logit-diff", neuronActivation({ layer: 0, neuron: 1, position: -1 })],
    });
    expect(verified.metrics.map(({ name }) => name)).toEqual([WEIGHT, "logit-diff", "L0.neuron[1]@-1"]);
    const [first, second] = rankedNodes(verified);
    expect([first.node, second.node, second.effectContribution]).toEqual(["L2.q[1]@end", "L3.z[0]@end", 0]);
    const estimated = [...rankedNodes(byText)].find(({ node }) => node === "L2.q[1]@end");
    expect(Math.abs((estimated?.estimateMean ?? 0) - (first.effectMean ?? 0))).toBeLessThan(EXACT_TOLERANCE);
  });

  it("draws of noise are averaged, in what is read and in what is estimated", async () => {
    const source = await noiseSource(model, { at: ["changed"], draws: 3 });
    const direction = Array.from({ length: model.config.width }, (_, d) => d - 5);
    const metric = projection({ layer: 2, site: "residPost", position: "end", direction });
    const space = makeNodeSpace(model.config, ["residPost"], ["end"]);
    const options = { metric, direction: "noising", batchSize: 8, source } as const;
    const { scores, baseMetric, sourceMetric } = await estimateBy("atp*", model, ROLE_PAIRS, {
      ...options,
      space,
    });
    const node = space.groups[2].offset;
    const { effects } = await exactEffects(model, ROLE_PAIRS, space, [Uint32Array.of(node)], options);
    const gap = sourceMetric.reduce((sum, value, p) => sum + value - baseMetric[p], 0);
    expect(Math.abs(gap)).toBeGreaterThan(0.1);
    expect(scores.sum[node]).toBeCloseTo(gap, 4);
    expect(effects.reduce((sum, effect) => sum + effect, 0)).toBeCloseTo(gap, 4);
    expect([...scores.count]).toEqual([3, 3, 3, 3]);
    source.dispose();
  });
});

describe("what cannot be estimated", () => {
  let model: Model;
  beforeAll(async () => {
    await startTestEngine();
    model = randomModel(FOUR_LAYERS.plain);
  });
  afterAll(() => model.dispose());

  const run = (method: Method, metric: InternalMetric) =>
    estimateBy(method, model, ROLE_PAIRS, {
      metric,
      direction: "noising",
      space: makeNodeSpace(model.config, ["z"], [0]),
      batchSize: 4,
    });

  it.each(["atp+graddrop", "atp*"] as const)(
    "%s: a metric with fewer than two layers below",
    async (method) => {
      const why = "GradDrop averages over the other layers, and there are none; use atp or atp+qkfix";
      await expect(run(method, neuronActivation({ layer: 1, neuron: 3, position: "end" }))).rejects.toThrow(
        `estimateBy: expected a metric with at least 2 layers below it for method ${method}, got L1.neuron[3]@end with 1: ${why}`,
      );
      const direction = Array(model.config.width).fill(1);
      const post = projection({ layer: 0, site: "residPost", position: 0, direction });
      await expect(run(method, post)).rejects.toThrow(`got L0.residPost@0:direction with 1: ${why}`);
      const enough = projection({ layer: 1, site: "residPost", position: 0, direction });
      expect((await run(method, enough)).scores.count[0]).toBe(3);
    },
  );

  it("what the model or a pair does not have", async () => {
    await expect(run("atp", attentionWeight({ layer: 4, head: 0, query: 0, key: 0 }))).rejects.toThrow(
      "checkModelForMetric: metric L4.pattern[0]@0:0: expected a layer from 0 to 3, got 4",
    );
    await expect(run("atp", attentionWeight({ layer: 2, head: 0, query: 4, key: 0 }))).rejects.toThrow(
      "checkPairsForMetric: pair of 4,4,1: metric L2.pattern[0]@4:0: query: expected an integer position from -3 to 2 (the prompt has 3 tokens), got 4",
    );
  });
});
