/** The trained demo model against float64 numbers: a real behaviour, not random weights. */

import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { estimateBy } from "../src/atpstar/estimate.js";
import { loadModel } from "../src/checkpoint/load-model.js";
import { sweepNodes } from "../src/exact/sweep/sweep.js";
import type { Model } from "../src/model/model.js";
import { makeNodeSpace } from "../src/nodes/node-space.js";
import { positionLabels } from "../src/nodes/positions.js";
import { metricByName } from "../src/prompts/metrics/index.js";
import { makePair } from "../src/prompts/pair.js";
import { startTestEngine } from "./support/engine.js";
import { largestError, relativeError } from "./support/errors.js";
import { entriesOf } from "./support/golden-nodes.js";
import { ESTIMATE_TOLERANCE, EXACT_TOLERANCE } from "./support/tolerances.js";

const table = z.record(z.string(), z.array(z.number()));
const truthFile = z.object({
  pair: z.object({
    clean: z.string(),
    corrupted: z.string(),
    answers: z.array(z.string()),
    wrong: z.array(z.string()),
    roles: z.record(z.string(), z.number()),
  }),
  metric: z.object({ type: z.string() }),
  clean: z.array(z.number()),
  corrupted: z.array(z.number()),
  clean_metric: z.number(),
  corrupted_metric: z.number(),
  shapes: table,
  atp: table,
  qkfix: table,
  graddrop: table,
  atpstar: table,
  exact: table,
});

const BEHAVIOURS = ["ioi", "city", "article", "greater", "pronoun", "agreement", "induction"];

describe.each(BEHAVIOURS)("%s", (behaviour) => {
  const truth = truthFile.parse(
    JSON.parse(readFileSync(new URL(`./fixtures/truth/neox-${behaviour}.json`, import.meta.url), "utf8")),
  );
  const metric = metricByName(truth.metric.type.replace("_", "-"));
  const span = Math.abs(truth.corrupted_metric - truth.clean_metric);
  let model: Model;

  beforeAll(async () => {
    await startTestEngine();
    model = await loadModel("models/demo");
  });
  afterAll(() => model.dispose());

  it("has the reference's tokens and metric, estimates by every method, and exact effects", async () => {
    const pair = makePair(truth.pair, model, metric.needs, behaviour);
    expect(pair.clean).toEqual(truth.clean);
    expect(pair.corrupted).toEqual(truth.corrupted);

    const sites = ["q", "k", "v", "z", "attnOut", "mlpOut"] as const;
    const space = makeNodeSpace(model.config, sites, positionLabels("each", [pair]));
    const options = { metric, direction: "noising" as const, batchSize: 64 };
    const { scores, baseMetric, sourceMetric } = await estimateBy("atp*", model, [pair], {
      ...options,
      space,
    });
    expect(Math.abs(baseMetric[0] - truth.clean_metric) / span).toBeLessThan(EXACT_TOLERANCE);
    expect(Math.abs(sourceMetric[0] - truth.corrupted_metric) / span).toBeLessThan(EXACT_TOLERANCE);
    const plain = await estimateBy("atp", model, [pair], { ...options, space });
    const dropped = await estimateBy("atp+graddrop", model, [pair], { ...options, space });
    const compared = [
      [plain.scores.sum, truth.atp],
      [scores.sum, truth.qkfix],
      [dropped.scores.sumAbs, truth.graddrop],
      [scores.sumAbs, truth.atpstar],
    ] as const;
    for (const [got, wanted] of compared) {
      const { nodes, values } = entriesOf(space, wanted, truth.shapes);
      const estimated = nodes.map((node) => got[node]);
      expect(relativeError(estimated, values)).toBeLessThan(ESTIMATE_TOLERANCE);
    }

    const exact = entriesOf(space, truth.exact, truth.shapes);
    const { metrics } = await sweepNodes(model, [pair], space, Uint32Array.from(exact.nodes), {
      ...options,
      metrics: [metric],
    });
    const effects = metrics[0].patched.map((value) => value - metrics[0].base[0]);
    expect(largestError(effects, exact.values) / span).toBeLessThan(EXACT_TOLERANCE);
  });
});
