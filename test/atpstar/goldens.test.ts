import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { estimateBy, type MethodOptions } from "../../src/atpstar/estimate.js";
import type { Method } from "../../src/atpstar/methods.js";
import { loadModel } from "../../src/checkpoint/load-model.js";
import type { Model } from "../../src/model/model.js";
import { sitesOf } from "../../src/model/sites.js";
import { indexOfNode, makeNodeSpace, type NodeSpace } from "../../src/nodes/node-space.js";
import { positionLabels } from "../../src/nodes/positions.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import { startTestEngine } from "../support/engine.js";
import { largestError, relativeError } from "../support/errors.js";
import { entriesOf, pairOfGolden, siteOfKind } from "../support/golden-nodes.js";
import { BASE_VARIANTS, type GoldenTable, goldenFolder, readGolden } from "../support/goldens.js";
import { ESTIMATE_TOLERANCE } from "../support/tolerances.js";

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

  const run = async (method: Method, of: NodeSpace, more: Partial<MethodOptions> = {}) => {
    const before = tf.memory().numTensors;
    const metric = metricByName("logit-diff");
    const options = { metric, direction: "noising" as const, space: of, batchSize: 1, ...more };
    const { scores } = await estimateBy(method, model, [pair], options);
    expect(tf.memory().numTensors).toBe(before);
    return scores;
  };

  /** All nodes together, and each site of each layer against the metric's span where that is larger. */
  function compare(got: Float64Array, wanted: GoldenTable): void {
    const { nodes, values } = entriesOf(space, wanted, golden.shapes);
    expect(
      relativeError(
        nodes.map((node) => got[node]),
        values,
      ),
    ).toBeLessThan(ESTIMATE_TOLERANCE);
    for (const [key, table] of Object.entries(wanted)) {
      const one = entriesOf(space, { [key]: table }, golden.shapes);
      const ofSite = one.nodes.map((node) => got[node]);
      const scale = Math.max(span, Math.hypot(...one.values));
      expect(largestError(ofSite, one.values) / scale, key).toBeLessThan(ESTIMATE_TOLERANCE);
    }
  }

  it("atp+qkfix: the reference's signed estimates, each softmax recomputed", async () => {
    const scores = await run("atp+qkfix", space);
    compare(scores.sum, golden.qkfix);
  });

  it("atp+graddrop: the reference's contributions, and AtP's signed estimates beside them", async () => {
    const scores = await run("atp+graddrop", space);
    compare(scores.sumAbs, golden.graddrop);
    compare(scores.sum, golden.atp);
  });

  it("atp*: the reference's contributions, and the signed QK-fixed estimates beside them", async () => {
    const scores = await run("atp*", space);
    compare(scores.sumAbs, golden.atpstar);
    compare(scores.sum, golden.qkfix);
  });

  it("gives the same results whatever fits into a sweep", async () => {
    const together = await run("atp*", space);
    const oneByOne = await run("atp*", space, { streamBudgetBytes: 1, activationBudgetBytes: 0 });
    expect(relativeError(oneByOne.sumAbs, together.sumAbs)).toBeLessThan(1e-6);
    expect(oneByOne.sum).toEqual(together.sum);
    expect(oneByOne.count).toEqual(together.count);
  });

  it("has the reference's QK fix at all positions at once", async () => {
    const everywhere = makeNodeSpace(model.config, ["q", "k"], positionLabels("all", [pair]));
    const scores = await run("atp+qkfix", everywhere);
    const got: number[] = [];
    const wanted: number[] = [];
    for (const [key, flat] of Object.entries(golden.allPositions.qkfix)) {
      const [kind, layer] = key.split(".");
      flat.forEach((value, index) => {
        const node = { site: siteOfKind(kind), layer: Number(layer), index, position: "*" };
        got.push(scores.sum[indexOfNode(everywhere, node)]);
        wanted.push(value);
      });
    }
    expect(relativeError(got, wanted)).toBeLessThan(ESTIMATE_TOLERANCE);
  });
});
