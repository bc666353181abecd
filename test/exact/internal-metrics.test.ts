/** Exact patching, measured inside the model: the metric is read behind the patches, and nothing runs above it. */

import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { randomModel } from "../../bench/random-model.js";
import { exactEffects, patchSets } from "../../src/exact/patch-sets.js";
import { patchedMetrics } from "../../src/exact/patched-metrics.js";
import { directPaths, pathEffects } from "../../src/exact/paths/path-effects.js";
import { sweepNodes } from "../../src/exact/sweep/sweep.js";
import type { Model } from "../../src/model/model.js";
import { type HookPoint, isPerHead, sitesOf } from "../../src/model/sites.js";
import { logits } from "../../src/model/transformer.js";
import { indexOfNode, makeNodeSpace, type NodeSet, type NodeSpace } from "../../src/nodes/node-space.js";
import { positionLabels } from "../../src/nodes/positions.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import { attentionWeight, neuronActivation, projection } from "../../src/prompts/metrics/internal.js";
import type { InternalMetric, Metric } from "../../src/prompts/metrics/metric.js";
import type { Pair } from "../../src/prompts/pair.js";
import { startTestEngine } from "../support/engine.js";
import { largestError } from "../support/errors.js";
import {
  type ByHand,
  FOUR_LAYERS,
  METRIC_LAYER,
  metricsByHand,
  ROLE_PAIRS,
} from "../support/internal-by-hand.js";

/** Float32, values of order 1, the same product in batches of different sizes. */
const TOLERANCE = 2e-5;

type EditByHand = NonNullable<Parameters<typeof logits>[2]>;

/** The metric of a full forward pass, read at its hook point behind the edit. */
async function readByFullPass(
  model: Model,
  prompt: readonly number[],
  pair: Pair,
  { metric: { reads }, read }: ByHand,
  edit: EditByHand = (_point, _layer, value) => value,
): Promise<number> {
  let seen = Number.NaN;
  const all = await logits(model, [prompt], (point, layer, value) => {
    const edited = edit(point, layer, value);
    if (point === reads.point && layer === reads.layer) seen = read(edited, pair).dataSync()[0];
    return edited;
  });
  all.dispose();
  return seen;
}

/** The values of one run at every hook point and layer. */
async function valuesByHand(model: Model, prompt: readonly number[]): Promise<Map<string, Float32Array>> {
  const values = new Map<string, Float32Array>();
  const all = await logits(model, [prompt], (point, layer, value) => {
    values.set(`${layer}.${point}`, Float32Array.from(value.dataSync()));
    return value;
  });
  all.dispose();
  return values;
}

describe.each(["plain", "parallel", "gated"] as const)("%s model", (kind) => {
  const config = FOUR_LAYERS[kind];
  const byHand = metricsByHand(config);
  let model: Model;
  let space: NodeSpace;
  beforeAll(async () => {
    await startTestEngine();
    model = randomModel(config);
    space = makeNodeSpace(config, sitesOf(config), positionLabels("each", ROLE_PAIRS));
  });
  afterAll(() => model.dispose());

  const effectsOf = async (
    metric: Metric,
    sets: readonly NodeSet[],
    of = space,
    pairs: readonly Pair[] = ROLE_PAIRS,
    batchSize = 8,
  ) => {
    const before = tf.memory().numTensors;
    const result = await exactEffects(model, pairs, of, sets, { metric, direction: "noising", batchSize });
    expect(tf.memory().numTensors).toBe(before);
    return result;
  };

  it("equals a full forward pass, patched and read by hand, at every site", async () => {
    const [pair] = ROLE_PAIRS;
    const T = pair.clean.length;
    const sources = await valuesByHand(model, pair.corrupted);
    for (const of of byHand) {
      const base = await readByFullPass(model, pair.clean, pair, of);
      let changed = 0;
      for (const layer of [0, METRIC_LAYER]) {
        for (const site of sitesOf(config)) {
          const group = space.groups.find((g) => g.site === site && g.layer === layer);
          const indices = group?.indices ?? 1;
          const index = indices > 1 ? 1 : 0;
          const position = layer === 0 ? 1 : 2;
          const source = sources.get(`${layer}.${site}`);
          if (!source) throw new Error(`no values of ${site}`);
          const patched = await readByFullPass(model, pair.clean, pair, of, (at, l, value) => {
            if (at !== site || l !== layer) return value;
            const data = Float32Array.from(value.dataSync());
            // [1, n, T, h] for heads, [1, T, F] for neurons, [1, T, D] otherwise.
            const width = value.shape[value.rank - 1] ?? 0;
            const first = isPerHead(site) ? (index * T + position) * width : position * width + index;
            const length = site === "neuron" ? 1 : width;
            data.set(source.subarray(first, first + length), first);
            return tf.tensor(data, value.shape);
          });
          const node = indexOfNode(space, { site, layer, position, ...(indices > 1 && { index }) });
          const { effects, baseMetric } = await effectsOf(of.metric, [Uint32Array.of(node)], space, [pair]);
          const what = `${of.metric.name}, L${layer}.${site}`;
          expect(Math.abs(effects[0] - (patched - base)), what).toBeLessThan(TOLERANCE);
          expect(Math.abs(baseMetric[0] - base), what).toBeLessThan(TOLERANCE);
          if (Math.abs(patched - base) > 10 * TOLERANCE) changed++;
        }
      }
      expect(changed, of.metric.name).toBeGreaterThan(of.metric.reads.layer === 0 ? 0 : 5);
    }
  });

  it("is source − base when the whole prompt is patched at the embedding", async () => {
    const whole = makeNodeSpace(config, ["residPre"], ["*"]);
    const set = Uint32Array.of(indexOfNode(whole, { site: "residPre", layer: 0, position: "*" }));
    for (const of of byHand) {
      const { effects, baseMetric, sourceMetric } = await effectsOf(of.metric, [set], whole);
      const gap = sourceMetric.map((source, p) => source - baseMetric[p]);
      expect(largestError(effects, gap), of.metric.name).toBeLessThan(TOLERANCE);
      for (const [p, pair] of ROLE_PAIRS.entries()) {
        const source = await readByFullPass(model, pair.corrupted, pair, of);
        expect(Math.abs(sourceMetric[p] - source), of.metric.name).toBeLessThan(TOLERANCE);
      }
      expect(Math.max(...gap.map(Math.abs)), of.metric.name).toBeGreaterThan(1e-3);
    }
  });

  it("is source − base to the bit for a neuron, and for a site that is projected, patched where they are read", async () => {
    for (const { metric } of byHand) {
      const { point, layer } = metric.reads;
      if (point === "pattern") continue;
      const of = makeNodeSpace(config, [point], [metric.position === -1 ? "end" : metric.position]);
      const index = "neuron" in metric.takes ? metric.takes.neuron : undefined;
      const node = { site: point, layer, position: of.labels[0], ...(index !== undefined && { index }) };
      const { effects, baseMetric, sourceMetric } = await effectsOf(
        metric,
        [Uint32Array.of(indexOfNode(of, node))],
        of,
      );
      const gap = sourceMetric.map((source, p) => Math.fround(source - baseMetric[p]));
      expect([...effects], metric.name).toEqual([...gap]);
    }
  });

  it("runs nothing for nodes above the metric, behind it, or beside it in its layer: exactly 0", async () => {
    const metric = attentionWeight({ layer: METRIC_LAYER, head: 1, query: 1, key: 0 });
    const nodes = [
      { site: "residPre", layer: METRIC_LAYER + 1, position: 0 },
      { site: "q", layer: METRIC_LAYER + 1, index: 1, position: 1 },
      { site: "v", layer: METRIC_LAYER, index: 0, position: 0 },
      { site: "z", layer: METRIC_LAYER, index: 1, position: 1 },
      { site: "neuron", layer: METRIC_LAYER, index: 0, position: 1 },
      { site: "residPost", layer: METRIC_LAYER, position: 0 },
      { site: "residPre", layer: 0, position: 2 },
    ] as const;
    const sets = nodes.map((node) => Uint32Array.of(indexOfNode(space, node)));
    const { effects, forwardEquivalents } = await effectsOf(metric, sets);
    expect(new Set(effects)).toEqual(new Set([0]));
    // Two unpatched runs of three layers of four.
    expect(forwardEquivalents).toBeCloseTo((3 * 2 * 3) / 4, 10);
    // A patched key: layer 2 of four, from position 1 on, 4 of 5 and 2 of 3 tokens; the third pair differs from 2 on only.
    const key = Uint32Array.of(indexOfNode(space, { site: "k", layer: METRIC_LAYER, index: 0, position: 1 }));
    const some = await effectsOf(metric, [...sets, key]);
    expect(some.forwardEquivalents).toBeCloseTo((3 * 2 * 3 + 4 / 5 + 2 / 3) / 4, 10);
  });

  it("marks what a pair lacks as not computed, above the metric too", async () => {
    const metric = neuronActivation({ layer: 1, neuron: 0, position: 0 });
    const sets = [0, 3].map((layer) =>
      Uint32Array.of(indexOfNode(space, { site: "mlpOut", layer, position: 4 })),
    );
    const { effects } = await effectsOf(metric, sets);
    // [pair, set]; the second pair has three tokens.
    expect([...effects]).toEqual([0, 0, Number.NaN, Number.NaN, 0, 0]);
  });

  it("gives each of several metrics, inside and at the logits, what it is alone", async () => {
    // The pairs' own metric position comes before some of what is read inside, and behind other of it.
    const pairs = ROLE_PAIRS.map((pair) => ({ ...pair, metricPosition: pair.roles.get("changed") ?? 0 }));
    const metrics: Metric[] = [
      byHand[0].metric,
      metricByName("logit-diff"),
      ...byHand.slice(1).map(({ metric }) => metric),
      metricByName("kl"),
    ];
    const sets = Array.from({ length: 60 }, (_, s) =>
      Uint32Array.from({ length: 1 + (s % 3) }, (_unused, i) => (s * 137 + i * 401) % space.size),
    );
    const before = tf.memory().numTensors;
    const options = { direction: "noising", batchSize: 2 } as const;
    const together = await patchSets(model, pairs, space, sets, { ...options, metrics });
    expect(tf.memory().numTensors).toBe(before);
    expect(together.metrics.map(({ name }) => name)).toEqual(metrics.map(({ name }) => name));
    for (const [m, metric] of metrics.entries()) {
      const alone = await patchSets(model, pairs, space, sets, { ...options, metrics: [metric] });
      const [got, wanted] = [together.metrics[m], alone.metrics[0]];
      const present = (values: Float32Array) => values.filter((value) => !Number.isNaN(value));
      expect([...got.patched].map(Number.isNaN)).toEqual([...wanted.patched].map(Number.isNaN));
      expect(largestError(present(got.patched), present(wanted.patched)), metric.name).toBeLessThan(
        TOLERANCE,
      );
      expect(largestError(got.base, wanted.base), metric.name).toBeLessThan(TOLERANCE);
      expect(alone.forwardEquivalents).toBeLessThanOrEqual(together.forwardEquivalents);
    }
  });

  it("does not depend on the batch size or the memory, nor on whether sets or nodes are asked for", async () => {
    const { metric } = byHand[0];
    const nodes = Uint32Array.from({ length: 80 }, (_, n) => (n * 53) % space.size);
    const sets = Array.from(nodes, (node) => Uint32Array.of(node));
    const options = { direction: "noising", metrics: [metric, metricByName("logit")] } as const;
    const many = await patchSets(model, ROLE_PAIRS, space, sets, { ...options, batchSize: 8 });
    const few = await patchSets(model, ROLE_PAIRS, space, sets, {
      ...options,
      batchSize: 1,
      activationBudgetBytes: 1,
    });
    const swept = await sweepNodes(model, ROLE_PAIRS, space, nodes, { ...options, batchSize: 8 });
    for (const other of [few, swept]) {
      other.metrics.forEach(({ patched }, m) => {
        const present = [...many.metrics[m].patched.keys()].filter((at) => !Number.isNaN(patched[at]));
        expect(present.length).toBeGreaterThan(160);
        expect(
          largestError(
            present.map((at) => patched[at]),
            present.map((at) => many.metrics[m].patched[at]),
          ),
        ).toBeLessThan(TOLERANCE);
      });
    }
  });

  it("denoising starts from the corrupted run", async () => {
    const whole = makeNodeSpace(config, ["residPre"], ["*"]);
    const set = Uint32Array.of(indexOfNode(whole, { site: "residPre", layer: 0, position: "*" }));
    const { metric } = byHand[2];
    const noising = await effectsOf(metric, [set], whole);
    const denoising = await exactEffects(model, ROLE_PAIRS, whole, [set], {
      metric,
      direction: "denoising",
      batchSize: 8,
    });
    expect([...denoising.baseMetric]).toEqual([...noising.sourceMetric]);
    const reversed = noising.effects.map((effect) => -effect);
    expect(largestError(denoising.effects, reversed)).toBeLessThan(TOLERANCE);
  });

  it("serves whole circuits: all nodes patched but a set", async () => {
    const { metric } = byHand[2];
    const of = makeNodeSpace(config, ["residPre"], positionLabels("each", ROLE_PAIRS));
    const {
      metric: values,
      baseMetric,
      sourceMetric,
    } = await patchedMetrics(
      model,
      ROLE_PAIRS,
      of,
      [{ nodes: new Uint32Array(), complement: true }, { nodes: new Uint32Array() }],
      { metric, direction: "noising", batchSize: 8 },
    );
    expect(
      largestError(
        values.filter((_, at) => at % 2 === 0),
        sourceMetric,
      ),
    ).toBeLessThan(TOLERANCE);
    expect([...values.filter((_, at) => at % 2 === 1)]).toEqual([...baseMetric]);
  });
});

describe("refused", () => {
  let model: Model;
  beforeAll(async () => {
    await startTestEngine();
    model = randomModel(FOUR_LAYERS.parallel);
  });
  afterAll(() => model.dispose());

  const run = (metric: InternalMetric) => {
    const space = makeNodeSpace(model.config, ["z"], [0]);
    const options = { metric, direction: "noising", batchSize: 4 } as const;
    return exactEffects(model, ROLE_PAIRS, space, [Uint32Array.of(0)], options);
  };

  it("what the model or a pair does not have", async () => {
    const direction = Array(model.config.width).fill(1);
    await expect(run(projection({ layer: 0, site: "residMid", position: 0, direction }))).rejects.toThrow(
      "checkModelForMetric: metric L0.residMid@0:direction: expected a site of a test model with parallel residual",
    );
    await expect(run(neuronActivation({ layer: 0, neuron: 0, position: "subject" }))).rejects.toThrow(
      'checkPairsForMetric: pair of 1,2,3,4,5: metric L0.neuron[0]@subject: position: expected one of changed, end, got the role "subject"',
    );
  });

  it("a value that is not finite, by the run it is in", async () => {
    const space = makeNodeSpace(model.config, ["residPre"], [1]);
    const metric = neuronActivation({ layer: 1, neuron: 0, position: 1 });
    const options = { metric, direction: "noising", batchSize: 4 } as const;
    const nothing = {
      description: "infinite",
      valuesAt: (_site: HookPoint, _layer: number, like: tf.Tensor) => tf.fill(like.shape, Infinity),
      dispose: () => {},
    };
    const before = tf.memory().numTensors;
    await expect(
      exactEffects(model, ROLE_PAIRS, space, [Uint32Array.of(0)], { ...options, source: nothing }),
    ).rejects.toThrow(
      "exactEffects: expected a finite L1.neuron[0]@1 of every patched run, got NaN for set 0 on pair of 1,2,3,4,5",
    );
    expect(tf.memory().numTensors).toBe(before);
  });

  it("paths, which end at the logits", async () => {
    const metric = attentionWeight({ layer: 2, head: 0, query: "end", key: 0 });
    const options = {
      metric,
      direction: "noising",
      batchSize: 4,
      senders: ["L0.z[0]@*"],
      receivers: ["L1.q[0]@*"],
    } as const;
    const message =
      "pathEffects: expected a metric of the logits, where paths end, got L2.pattern[0]@end:0: use it with patched runs and estimates";
    await expect(pathEffects(model, ROLE_PAIRS, options)).rejects.toThrow(message);
    await expect(directPaths(model, ROLE_PAIRS, options)).rejects.toThrow(message);
  });
});
