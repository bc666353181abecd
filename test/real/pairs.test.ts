/** The real model's prompt pairs: a behaviour can only be localized where the model has it. */

import { readdirSync } from "node:fs";
import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { loadModel } from "../../src/checkpoint/load-model.js";
import type { Model } from "../../src/model/model.js";
import { logits } from "../../src/model/transformer.js";
import type { Pair } from "../../src/prompts/pair.js";
import { readPairs } from "../../src/prompts/read-pairs.js";
import { startTestEngine, testBackend } from "../support/engine.js";
import { describeRealModel, REAL_MODEL } from "../support/real-model.js";

const FOLDER = "bench/real/pairs";

/** Behaviour, pairs and tokens of a prompt, as bench/real/README.md has them. */
const FILES = [
  ["agreement", 4, 5],
  ["antonym", 4, 14],
  ["bracket", 16, 7],
  ["country", 16, 9],
  ["induction", 16, 14],
  ["ioi", 4, 14],
  ["pronoun", 16, 10],
  ["successor", 16, 6],
] as const;

/** The embedded engine takes half a minute for all of them: it runs some of each file, the native one every pair. */
const RUN_ON_WASM = 4;

/** By how much the right answer wins on every prompt: far more than rounding can turn around. */
const MARGIN = 0.5;

describeRealModel("bench/real/pairs", () => {
  let model: Model;
  beforeAll(async () => {
    await startTestEngine();
    model = await loadModel(REAL_MODEL);
  });
  afterAll(() => model?.dispose());

  it("has the behaviours that are tested here", () => {
    expect(readdirSync(FOLDER).sort()).toEqual(FILES.map(([name]) => `${name}.jsonl`));
  });

  it.each(FILES)("%s: %i pairs of %i tokens, each of which the model solves", async (name, count, tokens) => {
    const told: string[] = [];
    const onNotice = (text: string) => told.push(text);
    const needs = { answers: true, wrong: true };
    const pairs = await readPairs(`${FOLDER}/${name}.jsonl`, model, needs, { onNotice });
    expect(told).toEqual([]);
    expect(pairs).toHaveLength(count);
    expect(new Set(pairs.map(({ clean }) => clean.join())).size).toBe(count);
    for (const { clean, corrupted, answers, wrong, roles, metricPosition } of pairs) {
      expect([clean.length, corrupted.length]).toEqual([tokens, tokens]);
      expect([answers.length, wrong.length]).toEqual([1, 1]);
      expect(metricPosition).toBe(tokens - 1);
      for (const [role, position] of roles) {
        // The other roles stand for what makes the difference between the prompts.
        if (role !== "end") expect(clean[position]).not.toBe(corrupted[position]);
      }
    }
    const run = testBackend() === "wasm" ? pairs.slice(0, RUN_ON_WASM) : pairs;
    const clean = await differences(model, run, "clean");
    const corrupted = await differences(model, run, "corrupted");
    expect(Math.min(...clean)).toBeGreaterThan(MARGIN);
    expect(Math.max(...corrupted)).toBeLessThan(-MARGIN);
  });
});

/** Answer's logit − wrong answer's logit at the last position, for each pair, off the logits of the whole vocabulary. */
async function differences(
  model: Model,
  pairs: readonly Pair[],
  prompt: "clean" | "corrupted",
): Promise<number[]> {
  const all = await logits(
    model,
    pairs.map((pair) => pair[prompt]),
  );
  const [B, T, V] = all.shape;
  const last = tf.slice(all, [0, T - 1, 0], [B, 1, V]);
  try {
    const values = await last.data();
    return pairs.map(
      ({ answers: [answer], wrong: [wrong] }, b) => values[b * V + answer] - values[b * V + wrong],
    );
  } finally {
    tf.dispose([all, last]);
  }
}
