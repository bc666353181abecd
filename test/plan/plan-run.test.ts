import { expect, it } from "vitest";
import { madeUpPairs } from "../../bench/made-up-pairs.js";
import { planWithin } from "../../src/plan/check-plan.js";
import { planRun, type RunPlan, SLACK_BYTES, SLACK_SHARE } from "../../src/plan/plan-run.js";
import { LayerReads } from "../../src/plan/reads.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import { TINY_CONFIGS } from "../support/tiny-config.js";
import { questionFor, roundFootprint } from "./planned.js";

const CONFIG = TINY_CONFIGS.plain;
const PAIRS = madeUpPairs(4, 6, CONFIG.vocabulary);

it("a layer is read when neither it nor, behind the first ones, the last one read is it", () => {
  const none = new LayerReads(roundFootprint(3), 0);
  // Up and down, and up again: the turns at layers 2 and 0 are free.
  none.visit([0, 1, 2, 2, 1, 0, 0, 1, 2]);
  expect(none.take()).toEqual({ layers: 7, bytes: 350 });
  const one = new LayerReads(roundFootprint(3), 1);
  one.visit([0, 1, 2, 2, 1, 0, 0, 1, 2]);
  // Layer 0 once; 1, 2, then 1 on the way down, which is still there on the way up, and 2.
  expect(one.take()).toEqual({ layers: 5, bytes: 250 });
  const waves = new LayerReads(roundFootprint(3), 1);
  waves.visitFrom(1, 2);
  waves.readUnembedding();
  expect(waves.take()).toEqual({ layers: 4, bytes: 200 + 200 });
});

it("reads of an estimate: every layer up and down per batch, less the turns", () => {
  const question = questionFor(CONFIG, PAIRS, { method: "atp", batchSize: 2 });
  const { reads, residentLayers } = planRun(question, { memoryBytes: 1 });
  expect(residentLayers).toBe(0);
  // Two batches of 3 layers up and 3 down, less two turns at the top and one between the batches.
  expect(reads).toEqual({ layers: 12 - 3, bytes: 50 * 9 });
  const whole = planRun({ ...question, metrics: [metricByName("prob")] }, { memoryBytes: 1 });
  expect(whole.reads).toEqual({ layers: 9, bytes: 50 * 9 + 2 * 200 });
  expect(planRun(question).reads).toEqual({ layers: 3, bytes: 50 * 3 + 350 });
});

it("memory by part: weights streamed or not, tables and slack by their definition", () => {
  const question = questionFor(CONFIG, PAIRS, { method: "atp*", processBytes: 1000 });
  const part = (name: string, plan = planRun(question)) =>
    plan.memory.parts.find((candidate) => candidate.name === name)?.bytes;
  // 3 layers × 4 heads × 6 positions; sums of 28 bytes, three flags of 8.
  expect(question.space.size).toBe(72);
  expect(part("score table")).toBe(72 * 52);
  expect(part("weights")).toBe(3 * 100 + 10 + 300 + 400);
  expect(part("copies of weights, until collected")).toBe(Math.ceil(0.75 * 1010));
  expect(part("process and engine")).toBe(1000);
  const tight = planRun(question, { memoryBytes: 1 });
  expect(part("layer in use", tight)).toBe(100);
  expect(part("layer being read", tight)).toBe(100);
  expect(part("unembedding", tight)).toBeUndefined();
  const whole = planRun({ ...question, metrics: [metricByName("kl")] }, { memoryBytes: 1 });
  expect(part("unembedding", whole)).toBe(800);
  const { parts, total } = planRun(question).memory;
  expect(parts.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(total);
  const inUse = total - 1000 - 1010 - Math.ceil(0.75 * 1010) - (part("allocator and garbage") ?? 0);
  expect(part("allocator and garbage")).toBe(Math.ceil(SLACK_SHARE * inUse) + SLACK_BYTES);
});

it("a budget goes to activations first, then to layers, then to all of them", () => {
  const large = { ...roundFootprint(8), layerBytes: 2 ** 26 };
  const question = { ...questionFor({ ...CONFIG, layers: 8 }, PAIRS, { method: "atp*" }), footprint: large };
  const { smallestBytes, inMemoryBytes } = planRun(question);
  const least = planRun(question, { memoryBytes: smallestBytes });
  expect(least).toMatchObject({ fits: true, residentLayers: 0, inMemory: false });
  expect(planRun(question, { memoryBytes: smallestBytes - 1 }).fits).toBe(false);
  const between = planRun(question, { memoryBytes: inMemoryBytes + 2 ** 26 });
  expect(between).toMatchObject({ fits: true, inMemory: true });
  const more = planRun(question, { memoryBytes: inMemoryBytes - 2 ** 20 });
  // All eight and the buffer that they are read into do not fit: seven with it, and six with one in use do.
  expect(more.residentLayers).toBe(6);
  expect(more.memory.total).toBeLessThanOrEqual(inMemoryBytes - 2 ** 20);
  const asked = planRun(question, { memoryBytes: 2 ** 34, activationBytes: 12_345 });
  expect(asked.activationBudgetBytes).toBe(12_345);
  expect(planRun(question, { memoryBytes: 2 ** 34 }).activationBudgetBytes).toBe(2 ** 30);
});

it("a budget that is too small is refused with the least one, the largest parts and what would help", () => {
  const footprint = { ...roundFootprint(3), layerBytes: 300 * 2 ** 20 };
  const question = {
    ...questionFor(CONFIG, madeUpPairs(64, 16, CONFIG.vocabulary), { method: "atp", batchSize: 64 }),
    footprint,
  };
  const { smallestBytes } = planRun(question);
  const mebibytes = (smallestBytes / 2 ** 20).toFixed(0);
  expect(() => planWithin(question, { memoryBytes: 100 * 2 ** 20 }, "--memory")).toThrow(
    new RegExp(
      `^--memory: expected at least ${mebibytes} MiB for this run, got 100 MiB \\(layer in use 300 MiB, layer being read 300 MiB, allocator and garbage \\d+\\.?\\d* MiB, one layer forward and backward \\d+\\.?\\d* MiB\\); --batch-size 1 needs \\d+ MiB$`,
    ),
  );
  expect(() => planWithin(question, { memoryBytes: smallestBytes - 2 ** 20 }, "--memory")).toThrow(
    /got \d+ MiB \(.*\); with --batch-size 32 it fits$/,
  );
});

it("the embedded engine's heap ends at 4 GiB, whatever the budget is", () => {
  const footprint = { ...roundFootprint(3), layerBytes: 2 * 2 ** 30 };
  const question = { ...questionFor(CONFIG, PAIRS, { method: "atp", backend: "wasm" as const }), footprint };
  // All three layers do not fit, one with another one on its way, which lies outside, does.
  const plan = planRun(question, { memoryBytes: 2 ** 40 });
  expect(plan).toMatchObject({ fits: true, residentLayers: 0 });
  expect(planRun({ ...question, backend: "tensorflow" }, { memoryBytes: 2 ** 40 }).inMemory).toBe(true);
  const larger = { ...question, footprint: { ...footprint, layerBytes: 5 * 2 ** 30 } };
  expect(() => planWithin(larger, { memoryBytes: 2 ** 40 })).toThrow(
    /^memoryBytes: expected tensors within the 4\.00 GiB heap of the wasm engine, got 5\.00 GiB .*the native engine has no such heap$/,
  );
});

it("the embedded engine's heap also holds a packed copy of each right-hand factor", () => {
  const part = ({ memory }: RunPlan) =>
    memory.parts.find(({ name }) => name === "packed copies of weights")?.bytes;
  const wasm = { ...questionFor(CONFIG, PAIRS, { patches: { nodes: 1 } }), backend: "wasm" as const };
  // Forward 60 bytes of each layer; all three, or the one in use.
  expect(part(planRun(wasm))).toBe(3 * 60);
  expect(part(planRun(wasm, { memoryBytes: 1 }))).toBe(60);
  expect(part(planRun({ ...wasm, backend: "tensorflow" }))).toBeUndefined();
  // An estimate goes back through 30 more, and through the unembedding where its metric needs all of that.
  const estimate = { ...wasm, method: "atp" as const };
  expect(part(planRun(estimate))).toBe(3 * 90);
  const ofAll = { ...estimate, metrics: [metricByName("prob")] };
  expect(part(planRun(ofAll))).toBe(3 * 90 + 400);
  expect(part(planRun(ofAll, { memoryBytes: 1 }))).toBe(90 + 400);
  expect(part(planRun({ ...ofAll, metrics: [metricByName("logit-diff"), metricByName("prob")] }))).toBe(270);
  const gibibyte = 2 ** 30;
  const footprint = {
    ...roundFootprint(3),
    layerBytes: gibibyte,
    rightFactorBytes: { forward: gibibyte, back: 0 },
  };
  // Three layers are 3 GiB, which would fit; but with their copies even one beside the one in use takes 4.
  const large = { ...wasm, footprint };
  const budgets = { memoryBytes: 2 ** 40, activationBytes: 1 };
  expect(planRun(large, budgets)).toMatchObject({ fits: true, residentLayers: 0 });
  expect(planRun({ ...large, backend: "tensorflow" }, budgets).inMemory).toBe(true);
});

it("a certificate may take its budget, or twice what patching every node costs at most", () => {
  const question = questionFor(CONFIG, PAIRS, { method: "atp*", patches: { nodes: 2 } });
  const of = (certificate: { confidence: number; budget?: number }) =>
    planRun({ ...question, certificate }).stages.reduce(
      (sum, { stage, forwardEquivalents = 0 }) => (stage === "estimate" ? sum : sum + forwardEquivalents),
      0,
    );
  expect(of({ confidence: 0.99, budget: 500 })).toBeCloseTo(500, 9);
  const all = planRun({ ...question, patches: { nodes: question.space.size } });
  expect(of({ confidence: 0.99 })).toBeCloseTo(2 * (all.stages[1].forwardEquivalents ?? Number.NaN), 9);
});
