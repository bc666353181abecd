/** @file A real pretrained model, read from its GGUF file, against what transformers makes of the same file in float64. */

import { readFileSync } from "node:fs";
import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { estimateBy } from "../../src/atpstar/estimate.js";
import type { Method } from "../../src/atpstar/methods.js";
import { type OpenedModel, openModel } from "../../src/checkpoint/load-model.js";
import { sweepNodes } from "../../src/exact/sweep/sweep.js";
import type { Model, Tokenizer } from "../../src/model/model.js";
import { sitesOf } from "../../src/model/sites.js";
import { logits } from "../../src/model/transformer.js";
import { indexOfNode, makeNodeSpace, type NodeSpace } from "../../src/nodes/node-space.js";
import { positionLabels } from "../../src/nodes/positions.js";
import { contribution, meanEffect, type ScoreTable } from "../../src/nodes/score-table.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import { makePair } from "../../src/prompts/pair.js";
import { startTestEngine } from "../support/engine.js";
import { largestError, relativeError } from "../support/errors.js";
import { describeRealModel, REAL_MODEL } from "../support/real-model.js";
import { EXACT_TOLERANCE } from "../support/tolerances.js";
import { nodesOf, REFERENCES, readReference } from "./reference.js";

/** Float32 through thirty layers, with logits of up to 35. */
const LOGIT_TOLERANCE = 1e-4;

/** Relative error of the estimates of 128 sampled nodes: float32 through thirty layers, there and back. */
const ESTIMATE_TOLERANCE = 1e-4;

describeRealModel("SmolLM2-135M-Instruct as GGUF", () => {
  let opened: OpenedModel;
  let model: Model;

  beforeAll(async () => {
    await startTestEngine();
    opened = await openModel(REAL_MODEL);
    model = await opened.load();
  });

  afterAll(async () => {
    model?.dispose();
    await opened?.close();
  });

  function tokenizerOf({ tokenizer }: OpenedModel): Tokenizer {
    if (!tokenizer) throw new Error("expected the file to hold a tokenizer");
    return tokenizer;
  }

  it("splits texts as Python's tokenizers and llama.cpp do", () => {
    const texts: { text: string; ids: number[] }[] = JSON.parse(
      readFileSync(new URL("./smollm2-tokens.json", import.meta.url), "utf8"),
    );
    expect(texts.length).toBeGreaterThan(40);
    const tokenizer = tokenizerOf(opened);
    for (const { text, ids } of texts)
      expect({ text, ids: tokenizer.encode(text, true) }).toEqual({ text, ids });
    for (const { pair, clean_ids, corrupted_ids } of REFERENCES.map(readReference)) {
      expect(tokenizer.encode(pair.clean, true)).toEqual(clean_ids);
      expect(tokenizer.encode(pair.corrupted, true)).toEqual(corrupted_ids);
    }
  });

  it.each(REFERENCES)("%s: the largest logits of the last position, and the sums of all", async (name) => {
    const { clean_ids, last_logits } = readReference(name);
    const before = tf.memory().numTensors;
    const all = await logits(model, [clean_ids]);
    const [, positions, vocabulary] = all.shape;
    const last = all.dataSync<"float32">().subarray((positions - 1) * vocabulary);
    all.dispose();
    expect(tf.memory().numTensors).toBe(before);
    const order = [...last.keys()].sort((a, b) => last[b] - last[a]);
    expect(order.slice(0, last_logits.top_ids.length)).toEqual(last_logits.top_ids);
    const top = last_logits.top_ids.map((id) => last[id]);
    expect(largestError(top, last_logits.top)).toBeLessThan(LOGIT_TOLERANCE);
    const mean = last.reduce((sum, value) => sum + value, 0) / last.length;
    expect(Math.abs(mean - last_logits.mean)).toBeLessThan(LOGIT_TOLERANCE);
    const logSumExp =
      Math.log(last.reduce((sum, value) => sum + Math.exp(value - last[order[0]]), 0)) + last[order[0]];
    expect(Math.abs(logSumExp - last_logits.logsumexp)).toBeLessThan(LOGIT_TOLERANCE);
  });

  const metric = metricByName("logit-diff");
  const control = { direction: "noising", batchSize: 64 } as const;

  function studyOf(name: (typeof REFERENCES)[number]) {
    const reference = readReference(name);
    const pair = makePair(
      reference.pair,
      { config: model.config, tokenizer: tokenizerOf(opened) },
      metric.needs,
      name,
    );
    const space = makeNodeSpace(model.config, sitesOf(model.config), positionLabels("each", [pair]));
    const nodes = Uint32Array.from(nodesOf(reference), (node) => indexOfNode(space, node));
    return { reference, pair, space, nodes };
  }

  it.each(REFERENCES)("%s: exact effects of sampled nodes of every site", async (name) => {
    const { reference, pair, space, nodes } = studyOf(name);
    const before = tf.memory().numTensors;
    const { metrics } = await sweepNodes(model, [pair], space, nodes, { ...control, metrics: [metric] });
    expect(tf.memory().numTensors).toBe(before);
    const [{ base, source, patched }] = metrics;
    const span = Math.abs(reference.corrupted_metric - reference.clean_metric);
    expect(Math.abs(base[0] - reference.clean_metric)).toBeLessThan(EXACT_TOLERANCE * span);
    expect(Math.abs(source[0] - reference.corrupted_metric)).toBeLessThan(EXACT_TOLERANCE * span);
    const effects = Float64Array.from(patched, (value) => value - base[0]);
    const wanted = reference.nodes.map(({ exact }) => exact);
    expect(largestError(effects, wanted)).toBeLessThan(EXACT_TOLERANCE * span);
  });

  const ESTIMATES = [
    ["ioi", "atp", "atp"],
    ["ioi", "atp+qkfix", "qkfix"],
    ["agreement", "atp+qkfix", "qkfix"],
    ["agreement", "atp+graddrop", "graddrop"],
    ["agreement", "atp*", "atpstar"],
    ["antonym", "atp+qkfix", "qkfix"],
  ] as const;

  it.each(ESTIMATES)("%s: estimates of %s", async (name, method, column) => {
    const { reference, pair, space, nodes } = studyOf(name);
    const before = tf.memory().numTensors;
    const { scores } = await estimateBy(method, model, [pair], { ...control, metric, space });
    expect(tf.memory().numTensors).toBe(before);
    const wanted = reference.nodes.map((node) => node[column] ?? Number.NaN);
    expect(relativeError(valuesOf(scores, nodes, method), wanted)).toBeLessThan(ESTIMATE_TOLERANCE);
  });

  it("gives the same bits where its layers are read again and again", async () => {
    const { pair } = studyOf("agreement");
    const space: NodeSpace = makeNodeSpace(model.config, ["q", "z", "neuron"], [4]);
    const options = { ...control, metric, space };
    const inMemory = await estimateBy("atp+qkfix", model, [pair], options);
    const streamed = await opened.load({ streaming: { residentLayers: 3 } });
    const { scores } = await estimateBy("atp+qkfix", streamed, [pair], options);
    const stats = streamed.weights.stats?.();
    streamed.dispose();
    expect(scores.sum).toEqual(inMemory.scores.sum);
    expect(stats?.layersRead).toBeGreaterThan(model.config.layers);
  });
});

/** Signed estimates; of methods with GradDrop, whose estimates have no sign, contributions. */
function valuesOf(scores: ScoreTable, nodes: Uint32Array, method: Method): Float64Array {
  const isSigned = method === "atp" || method === "atp+qkfix";
  return Float64Array.from(nodes, (node) =>
    isSigned ? meanEffect(scores, node) : contribution(scores, node),
  );
}
