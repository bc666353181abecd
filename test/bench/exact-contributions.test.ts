/** What the truth takes for granted, against float64 effects of every node. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { canHaveEffect, exactContributions, TRUTH_SITES } from "../../bench/exact-contributions.js";
import { loadModel } from "../../src/checkpoint/load-model.js";
import type { Model } from "../../src/model/model.js";
import { makeNodeSpace, nodeAt } from "../../src/nodes/node-space.js";
import { positionLabels } from "../../src/nodes/positions.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import { startTestEngine } from "../support/engine.js";
import { largestError } from "../support/errors.js";
import { entriesOf, pairOfGolden } from "../support/golden-nodes.js";
import { goldenFolder, readGolden } from "../support/goldens.js";
import { EXACT_TOLERANCE } from "../support/tolerances.js";

const FLOAT64_ROUNDING = 1e-12;

describe.each(["gpt2", "gpt_neox"])("%s", (variant) => {
  const golden = readGolden(variant);
  const pair = pairOfGolden(golden);
  const span = Math.abs(golden.corruptedMetric - golden.cleanMetric);
  let model: Model;

  beforeAll(async () => {
    await startTestEngine();
    model = await loadModel(goldenFolder(variant));
  });
  afterAll(() => model.dispose());

  const truth = () => {
    const space = makeNodeSpace(model.config, TRUTH_SITES, positionLabels("each", [pair]));
    const wanted = Object.fromEntries(
      Object.entries(golden.exact).filter(([key]) => TRUTH_SITES.some((site) => key.startsWith(`${site}.`))),
    );
    return { space, ...entriesOf(space, wanted, golden.shapes) };
  };

  it("leaves out nodes without any effect, and nearly all of them", () => {
    const { space, nodes, values } = truth();
    expect(nodes).toHaveLength(space.size);
    const able = nodes.map((node) => {
      const { site, layer, position } = nodeAt(space, node);
      const known = TRUTH_SITES.find((one) => one === site);
      if (!known || typeof position !== "number") throw new Error(`unexpected node ${site}@${position}`);
      return canHaveEffect(model.config, pair, { site: known, layer, position });
    });
    const hasEffect = values.map((value) => Math.abs(value) > FLOAT64_ROUNDING);
    expect(nodes.filter((_, i) => hasEffect[i] && !able[i])).toEqual([]);
    // One neuron of gpt_neox has the same value in both runs by chance.
    expect(nodes.filter((_, i) => able[i] && !hasEffect[i]).length).toBeLessThanOrEqual(1);
  });

  it("has the reference's effects", async () => {
    const { space, nodes, values } = truth();
    const options = { metric: metricByName("logit-diff"), direction: "noising" as const, batchSize: 64 };
    const contributions = await exactContributions(model, [pair, pair], space, options);
    const got = nodes.map((node) => contributions[node]);
    expect(largestError(got, values.map(Math.abs)) / span).toBeLessThan(EXACT_TOLERANCE);
  });
});
