import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, expect, it } from "vitest";
import { madeUpPairs } from "../../bench/made-up-pairs.js";
import { randomModel } from "../../bench/random-model.js";
import { estimateBy } from "../../src/atpstar/estimate.js";
import { planRun } from "../../src/plan/plan-run.js";
import { meanSource } from "../../src/sources/mean.js";
import type { ActivationSource } from "../../src/sources/source.js";
import { startTestEngine } from "../support/engine.js";
import { tensorPeak } from "../support/tensor-peak.js";
import { TINY_CONFIGS } from "../support/tiny-config.js";
import { WatchedModel } from "../support/watched-weights.js";
import { questionFor } from "./planned.js";

beforeAll(async () => {
  await startTestEngine();
});

const CONFIGS = Object.entries(TINY_CONFIGS).map(
  ([name, config]) => [name, { ...config, layers: 4, width: 36, mlpWidth: 60 }] as const,
);

it.each(CONFIGS)("the %s block: means cost, read and hold what is planned", async (_name, config) => {
  const watched = new WatchedModel(randomModel(config));
  const { model } = watched;
  const studied = madeUpPairs(3, 12, config.vocabulary);
  const mixed = [...studied, ...madeUpPairs(2, 7, config.vocabulary)];
  for (const averaged of [studied, mixed]) {
    // All lengths that are averaged are studied: those of other lengths are not run.
    const pairs = averaged;
    for (const nodes of ["q,k,v,z,mlpOut", "neuron,residPre"]) {
      const options = { nodes, method: "atp" as const, batchSize: 2, averaged };
      const question = questionFor(config, pairs, options);
      const plan = planRun(question, { memoryBytes: 1, activationBytes: 1 });
      const [mean, estimate] = plan.stages;
      // A forward pass of each prompt; all batches go up side by side, so that each layer is read once.
      expect(mean).toMatchObject({ stage: "mean", forwardEquivalents: averaged.length, atMost: false });
      const sites = [...new Set(question.space.groups.map(({ site }) => site))];
      const before = tf.memory().numBytes;
      watched.takeLayers();
      let source: ActivationSource | undefined;
      const peak = await tensorPeak(async () => {
        source = await meanSource(model, averaged, { direction: "noising", sites, batchSize: 2 });
      });
      if (!source) throw new Error("expected means");
      expect(watched.takeLayers()).toHaveLength(mean.reads.layers);
      const held = plan.memory.parts.find(({ name }) => name === "means")?.bytes;
      expect(held).toBe(tf.memory().numBytes - before);
      const planned = mean.tensors.reduce((sum, { bytes }) => sum + bytes, 0);
      expect(planned / peak).toBeGreaterThanOrEqual(1);
      expect(planned / peak).toBeLessThan(1.6);

      let forwardEquivalents = Number.NaN;
      const means = source;
      const peakOfEstimate = await tensorPeak(async () => {
        const run = await estimateBy("atp", model, pairs, {
          metric: question.metrics[0],
          direction: "noising",
          space: question.space,
          batchSize: 2,
          source: means,
          activationBudgetBytes: 1,
          streamBudgetBytes: 1,
        });
        forwardEquivalents = run.forwardEquivalents;
      });
      expect(estimate.forwardEquivalents).toBeCloseTo(forwardEquivalents, 9);
      const plannedOfEstimate = estimate.tensors.reduce((sum, { bytes }) => sum + bytes, 0);
      expect(plannedOfEstimate / peakOfEstimate).toBeGreaterThanOrEqual(1);
      source.dispose();
      expect(tf.memory().numBytes).toBe(before);
    }
  }
  model.weights.dispose();
});
