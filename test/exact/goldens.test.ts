import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadModel } from "../../src/checkpoint/load-model.js";
import { exactEffects } from "../../src/exact/patch-sets.js";
import { sweepNodes } from "../../src/exact/sweep/sweep.js";
import type { Model } from "../../src/model/model.js";
import { sitesOf } from "../../src/model/sites.js";
import { indexOfNode, makeNodeSpace, type NodeSpace } from "../../src/nodes/node-space.js";
import { positionLabels } from "../../src/nodes/positions.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import type { Pair } from "../../src/prompts/pair.js";
import { startTestEngine } from "../support/engine.js";
import { largestError } from "../support/errors.js";
import { entriesOf, nodeOfGolden, pairOfGolden, siteOfKind } from "../support/golden-nodes.js";
import { BASE_VARIANTS, goldenFolder, readGolden } from "../support/goldens.js";
import { EXACT_TOLERANCE } from "../support/tolerances.js";

beforeAll(async () => {
  await startTestEngine();
});

describe.each(BASE_VARIANTS)("%s", (variant) => {
  const golden = readGolden(variant);
  const pair = pairOfGolden(golden);
  const span = Math.abs(golden.corruptedMetric - golden.cleanMetric);
  let model: Model;
  let space: NodeSpace;

  beforeAll(async () => {
    model = await loadModel(goldenFolder(variant));
    space = makeNodeSpace(model.config, sitesOf(model.config), positionLabels("each", [pair]));
  });
  afterAll(() => model.dispose());

  async function effects(
    of: NodeSpace,
    sets: Uint32Array[],
    metricName = "logit-diff",
    onPair: Pair = pair,
  ): Promise<Float32Array> {
    const before = tf.memory().numTensors;
    const metric = metricByName(metricName);
    const result = await exactEffects(model, [onPair], of, sets, {
      metric,
      direction: "noising",
      batchSize: 32,
    });
    expect(tf.memory().numTensors).toBe(before);
    return result.effects;
  }

  async function sweptEffects(
    of: NodeSpace,
    nodes: readonly number[],
    metricName = "logit-diff",
    onPair: Pair = pair,
  ): Promise<Float32Array> {
    const before = tf.memory().numTensors;
    const { metrics } = await sweepNodes(model, [onPair], of, Uint32Array.from(nodes), {
      metrics: [metricByName(metricName)],
      direction: "noising",
      batchSize: 32,
    });
    expect(tf.memory().numTensors).toBe(before);
    return metrics[0].patched.map((value) => value - metrics[0].base[0]);
  }

  it("has the reference's effect of every single node, swept or patched by masks", async () => {
    const { nodes, values } = entriesOf(space, golden.exact, golden.shapes);
    const swept = await sweptEffects(space, nodes);
    expect(largestError(swept, values) / span).toBeLessThan(EXACT_TOLERANCE);
    const got = await effects(
      space,
      nodes.map((node) => Uint32Array.of(node)),
    );
    expect(largestError(got, values) / span).toBeLessThan(EXACT_TOLERANCE);
  });

  it("has the reference's effects of node sets", async () => {
    const sets = golden.sets.map(({ nodes }) =>
      Uint32Array.from(nodes, ({ kind, layer, index }) =>
        indexOfNode(space, nodeOfGolden(kind, layer, index)),
      ),
    );
    const got = await effects(space, sets);
    expect(
      largestError(
        got,
        golden.sets.map((set) => set.effect),
      ) / span,
    ).toBeLessThan(EXACT_TOLERANCE);
  });

  it("has the reference's effects of nodes at all positions", async () => {
    const everywhere = makeNodeSpace(model.config, sitesOf(model.config), positionLabels("all", [pair]));
    const wanted: number[] = [];
    const nodes: number[] = [];
    for (const [key, flat] of Object.entries(golden.allPositions.exact)) {
      const [kind, layer] = key.split(".");
      flat.forEach((value, index) => {
        const site = siteOfKind(kind);
        nodes.push(indexOfNode(everywhere, { site, layer: Number(layer), index, position: "*" }));
        wanted.push(value);
      });
    }
    const sets = nodes.map((node) => Uint32Array.of(node));
    expect(largestError(await effects(everywhere, sets), wanted) / span).toBeLessThan(EXACT_TOLERANCE);
    const swept = await sweptEffects(everywhere, nodes);
    expect(largestError(swept, wanted) / span).toBeLessThan(EXACT_TOLERANCE);
  });

  it("has the reference's effects of z for probability metrics", async () => {
    for (const other of golden.otherMetrics) {
      const { metric } = other;
      const tokens =
        metric.type === "prob_diff" ? [metric.answers, metric.wrongs] : [[metric.answer], pair.wrong];
      const { nodes, values } = entriesOf(space, other.exactZ, golden.shapes);
      const onPair = pairOfGolden(golden, tokens[0], tokens[1]);
      const got = await sweptEffects(space, nodes, metric.type.replace("_", "-"), onPair);
      const otherSpan = Math.abs(other.corruptedMetric - other.cleanMetric);
      expect(largestError(got, values) / otherSpan, metric.type).toBeLessThan(EXACT_TOLERANCE);
    }
  });

  it("moves the metric all the way when everything is patched: source − base", async () => {
    const everywhere = makeNodeSpace(model.config, ["residPre"], positionLabels("all", [pair]));
    const whole = Uint32Array.of(indexOfNode(everywhere, { site: "residPre", layer: 0, position: "*" }));
    const [effect] = await effects(everywhere, [whole]);
    expect(Math.abs(effect - (golden.corruptedMetric - golden.cleanMetric)) / span).toBeLessThan(
      EXACT_TOLERANCE,
    );
  });
});
