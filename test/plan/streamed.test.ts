import { join } from "node:path";
import { beforeAll, expect, it } from "vitest";
import { weightsFootprint } from "../../src/checkpoint/footprint.js";
import { openModel } from "../../src/checkpoint/load-model.js";
import { estimate, localize, spaceOfSelection } from "../../src/localize.js";
import type { Model } from "../../src/model/model.js";
import { rankedNodes } from "../../src/nodes/ranking.js";
import { planRun } from "../../src/plan/plan-run.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import { readPairs } from "../../src/prompts/read-pairs.js";
import { projectRoot } from "../support/child-process.js";
import { startTestEngine } from "../support/engine.js";

const DEMO = join(projectRoot, "models/demo");

beforeAll(async () => {
  await startTestEngine();
});

it("runs within the smallest budget and between read what is planned, and rank as a run in memory does", async () => {
  const opened = await openModel(DEMO);
  const metric = metricByName("logit-diff");
  const pairs = (await readPairs(join(DEMO, "pairs/ioi.jsonl"), opened, metric.needs)).slice(0, 3);
  const selection = { nodes: "k,mlpOut", positions: "roles" as const, method: "atp*" as const };
  const footprint = weightsFootprint(opened.checkpoint);
  const question = {
    config: opened.config,
    footprint,
    storedBytes: opened.checkpoint.stored.reduce((sum, { bytes }) => sum + bytes, 0),
    backend: "tensorflow" as const,
    pairs,
    space: spaceOfSelection(opened.config, pairs, selection),
    metrics: [metric],
    method: selection.method,
    batchSize: 2,
    processBytes: 0,
  };
  const smallest = planRun(question).smallestBytes;
  for (const [memoryBytes, resident] of [
    [smallest, 0],
    [smallest + 2 * footprint.layerBytes, 2],
  ]) {
    // The budget of activations is fixed, so that what is left goes to layers.
    const activationBytes = 1;
    const plan = planRun(question, { memoryBytes, activationBytes });
    expect(plan).toMatchObject({ fits: true, residentLayers: resident, inMemory: false });
    const budgets = {
      batchSize: 2,
      activationBudgetBytes: activationBytes,
      streamBudgetBytes: activationBytes,
    };
    const streamed = await opened.load({ streaming: { residentLayers: plan.residentLayers } });
    const inMemory = await opened.load();
    const run = async (model: Model) => [
      ...rankedNodes(await estimate(model, pairs, { ...selection, ...budgets })),
    ];
    const rows = await run(streamed);
    expect(layersRead(streamed)).toBe(plan.reads.layers);
    expect(rows).toEqual(await run(inMemory));

    const best = { ...question, patches: { nodes: 3 } };
    const [, verify] = planRun(best, { memoryBytes, activationBytes }).stages;
    const before = layersRead(streamed);
    const options = { ...selection, ...budgets, topK: 3 };
    const verified = [...rankedNodes(await localize(streamed, pairs, options))];
    expect(verified).toEqual([...rankedNodes(await localize(inMemory, pairs, options))]);
    expect(layersRead(streamed) - before).toBeLessThanOrEqual(plan.reads.layers + verify.reads.layers);
    streamed.dispose();
    inMemory.dispose();
  }
  await opened.close();
});

function layersRead({ weights }: Model): number {
  return weights.stats?.().layersRead ?? Number.NaN;
}
