/** The truth, against float64 effects of every node. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exactContributions, TRUTH_SITES } from "../../bench/exact-contributions.js";
import { loadModel } from "../../src/checkpoint/load-model.js";
import type { Model } from "../../src/model/model.js";
import { makeNodeSpace } from "../../src/nodes/node-space.js";
import { positionLabels } from "../../src/nodes/positions.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import { startTestEngine } from "../support/engine.js";
import { largestError } from "../support/errors.js";
import { entriesOf, pairOfGolden } from "../support/golden-nodes.js";
import { goldenFolder, readGolden } from "../support/goldens.js";
import { EXACT_TOLERANCE } from "../support/tolerances.js";

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

  it("has the reference's effects", async () => {
    const space = makeNodeSpace(model.config, TRUTH_SITES, positionLabels("each", [pair]));
    const wanted = Object.fromEntries(
      Object.entries(golden.exact).filter(([key]) => TRUTH_SITES.some((site) => key.startsWith(`${site}.`))),
    );
    const { nodes, values } = entriesOf(space, wanted, golden.shapes);
    const options = { metric: metricByName("logit-diff"), direction: "noising" as const, batchSize: 64 };
    const contributions = await exactContributions(model, [pair, pair], space, options);
    const got = nodes.map((node) => contributions[node]);
    expect(largestError(got, values.map(Math.abs)) / span).toBeLessThan(EXACT_TOLERANCE);
  });
});
