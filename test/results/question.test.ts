/** What makes two runs ask the same, and what a run is called. */

import { describe, expect, it } from "vitest";
import { neuronActivation, projection } from "../../src/prompts/metrics/internal.js";
import { parseMetric } from "../../src/prompts/metrics/parse-metric.js";
import {
  type Asked,
  differentParts,
  questionId,
  questionOf,
  questionOfRun,
  runId,
} from "../../src/results/question.js";
import { tokenPair } from "../support/token-pair.js";

const PAIRS = [tokenPair([1, 2, 3], [1, 4, 3], { end: 2 }), tokenPair([7, 8], [9, 8])];

const ASKED: Asked = {
  modelHash: "a".repeat(64),
  pairs: PAIRS,
  metric: parseMetric("logit-diff"),
  direction: "noising",
  source: { kind: "prompt" },
};

const direction = (name: string, values: readonly number[]) =>
  projection({ layer: 1, site: "residPost", position: "end", direction: values, directionName: name });

describe("a question", () => {
  it("is the same whatever things are called, and in whatever order pairs come", () => {
    const renamed = PAIRS.map((pair) => ({ ...pair, name: "other", origin: "elsewhere.jsonl:7" }));
    expect(questionOf({ ...ASKED, pairs: renamed.reverse() })).toEqual(questionOf(ASKED));
    expect(questionOf({ ...ASKED, metric: direction("a.json", [1, 0]) })).toEqual(
      questionOf({ ...ASKED, metric: direction("b.json", [1, 0]) }),
    );
  });

  it.each<[string, Partial<Asked>, string]>([
    ["weights", { modelHash: "b".repeat(64) }, "model"],
    ["a sample", { pairs: PAIRS.slice(1) }, "pairs"],
    ["an answer", { pairs: [{ ...PAIRS[0], answers: [4] }, PAIRS[1]] }, "pairs"],
    ["a role", { pairs: [{ ...PAIRS[0], roles: new Map([["end", 1]]) }, PAIRS[1]] }, "pairs"],
    ["a metric", { metric: parseMetric("prob") }, "metric"],
    [
      "a metric inside the model",
      { metric: neuronActivation({ layer: 0, neuron: 1, position: -1 }) },
      "metric",
    ],
    ["the direction", { direction: "denoising" }, "direction"],
    ["zeros", { source: { kind: "zero" } }, "source"],
    ["a mean over other pairs", { source: { kind: "mean", pairs: PAIRS } }, "source"],
    ["noise", { source: { kind: "noise", noise: { at: ["end"] } } }, "source"],
  ])("is another one with another part: %s", (_, change, part) => {
    const [one, other] = [questionOf(ASKED), questionOf({ ...ASKED, ...change })];
    expect(differentParts(one, other)).toEqual([part]);
    expect(questionId(other)).not.toBe(questionId(one));
  });

  it("of noise has all of its options, defaults among them", () => {
    const of = (noise: object) =>
      questionOf({ ...ASKED, source: { kind: "noise", noise: { at: ["end", 3], ...noise } } }).source;
    expect(of({ multiple: 3, draws: 10, seed: 0 })).toBe(of({}));
    expect(of({ at: [3, "end"] })).toBe(of({}));
    expect(
      new Set([of({}), of({ multiple: 2 }), of({ draws: 9 }), of({ seed: 1 }), of({ at: [3] })]).size,
    ).toBe(5);
  });

  it("of a direction is that of its numbers", () => {
    const of = (values: readonly number[]) =>
      questionOf({ ...ASKED, metric: direction("a.json", values) }).metric;
    expect(of([1, 0])).not.toBe(of([0, 1]));
  });
});

describe("a run", () => {
  it("is named by its question and its settings", () => {
    const question = questionOf(ASKED);
    const run = runId(question, { command: "localize", topK: 5 });
    expect(run).toMatch(/^[0-9a-f]{12}-[0-9a-f]{8}$/);
    expect(questionOfRun(run)).toBe(questionId(question));
    expect(runId(question, { topK: 5, command: "localize" })).toBe(run);
    expect(runId(question, { command: "localize", topK: 6 })).not.toBe(run);
  });
});
