/** @file GGUF files, written by the format's own package, against the float64 references of the checkpoints that they hold. */

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { openCheckpoint } from "../../../src/checkpoint/checkpoint.js";
import { loadModel, openModel } from "../../../src/checkpoint/load-model.js";
import { sourcesOf, type TensorSource } from "../../../src/checkpoint/weight-plan.js";
import { logits } from "../../../src/model/transformer.js";
import { allResults } from "../../support/all-results.js";
import { startTestEngine } from "../../support/engine.js";
import { largestError } from "../../support/errors.js";
import { goldenFolder, readGolden } from "../../support/goldens.js";
import { tokenPair } from "../../support/token-pair.js";

beforeAll(async () => {
  await startTestEngine();
});

/** Float32 through three layers, with logits up to about 10. */
const LOGIT_TOLERANCE = 5e-5;

const fixture = (name: string) => fileURLToPath(new URL(`../../fixtures/gguf/${name}`, import.meta.url));

const PAIRS = [
  tokenPair([1, 2, 3, 4, 5, 6], [1, 7, 3, 4, 5, 6]),
  tokenPair([9, 8, 7, 6, 5, 4], [9, 8, 2, 6, 11, 4]),
];

describe.each(["gpt2", "llama", "llama3", "qwen2", "qwen3"])("%s.gguf", (variant) => {
  it("has the reference's logits", async () => {
    const golden = readGolden(variant);
    const before = tf.memory().numTensors;
    const model = await loadModel(fixture(`${variant}.gguf`));
    const found = await logits(model, [golden.clean]);
    expect(found.shape).toEqual([1, ...golden.logitsShape]);
    expect(largestError(found.dataSync(), golden.cleanLogits)).toBeLessThan(LOGIT_TOLERANCE);
    found.dispose();
    model.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  it("is configured as the checkpoint folder is", async () => {
    const [ofFile, ofFolder] = await Promise.all(
      [fixture(`${variant}.gguf`), goldenFolder(variant)].map(async (path) => {
        const { config, close } = await openCheckpoint(path);
        await close();
        const { maxPositionsReason: _, rotary, normEps, ...rest } = config;
        return { rest, rotary, normEps };
      }),
    );
    expect(ofFile.rest).toEqual(ofFolder.rest);
    expect(ofFile.rotary?.dims).toBe(ofFolder.rotary?.dims);
    // The file holds them as float32.
    expect(ofFile.normEps).toBeCloseTo(ofFolder.normEps, 12);
    const frequencies = ofFile.rotary?.inverseFrequencies ?? [];
    expect(frequencies).toHaveLength(ofFolder.rotary?.inverseFrequencies.length ?? 0);
    frequencies.forEach((frequency, i) => {
      expect(frequency / (ofFolder.rotary?.inverseFrequencies[i] ?? 0)).toBeCloseTo(1, 6);
    });
  });
});

describe("blocks.gguf, with every type of blocks", () => {
  const expected: Record<string, string> = JSON.parse(readFileSync(fixture("blocks.json"), "utf8"));

  it("has the values, to the bit, that the format's own package dequantizes", async () => {
    const checkpoint = await openCheckpoint(fixture("blocks.gguf"));
    const { plan, stored } = checkpoint;
    expect(new Set(stored.map(({ dtype }) => dtype))).toEqual(
      new Set(["F32", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"]),
    );
    const embedding = await checkpoint.readEmbedding();
    const blocks = [];
    for (let l = 0; l < plan.config.layers; l++) blocks.push(await checkpoint.readLayer(l));
    const unembedding = await checkpoint.readUnembedding(embedding);
    const pairs: [object, object][] = [
      [plan.embedding, embedding],
      ...blocks.map((block, l): [object, object] => [plan.layer(l), block]),
      [plan.unembedding, unembedding],
    ];
    const found: Record<string, string> = {};
    for (const [sources, tensors] of pairs) {
      const values = tensorsOf(tensors);
      sourcesOf(sources).forEach(({ name }: TensorSource, i) => {
        found[name] = sha256(values[i]);
      });
    }
    expect(found).toEqual(expected);
    tf.dispose([embedding, ...blocks, unembedding]);
    await checkpoint.close();
  });

  it("gives single rows as it gives all of them", async () => {
    const checkpoint = await openCheckpoint(fixture("blocks.gguf"));
    const embedding = await checkpoint.readEmbedding();
    const all = embedding.tokens.dataSync();
    const [, width] = embedding.tokens.shape;
    const { rows, bytes } = await checkpoint.readTokenRows([7, 3, 7]);
    expect(bytes).toBe(2 * 210);
    expect([...rows.dataSync()]).toEqual(
      [7, 3, 7].flatMap((r) => [...all.slice(r * width, (r + 1) * width)]),
    );
    tf.dispose([embedding, rows]);
    await checkpoint.close();
  });
});

describe("streamed", () => {
  it.each([
    ["blocks", 0],
    ["gpt2", 1],
    ["llama", 0],
  ])(
    "%s.gguf has the results of weights in memory, bit for bit, with %i layers kept",
    async (name, residentLayers) => {
      const before = tf.memory().numTensors;
      const model = await loadModel(fixture(`${name}.gguf`));
      const pairs = PAIRS;
      const expected = await allResults(model, pairs);
      model.dispose();
      const opened = await openModel(fixture(`${name}.gguf`));
      const streamed = await opened.load({ streaming: { residentLayers } });
      await opened.close();
      expect(await allResults(streamed, PAIRS)).toEqual(expected);
      streamed.dispose();
      expect(tf.memory().numTensors).toBe(before);
    },
  );
});

/** The tensors of a structure, in the order in which `sourcesOf` lists the sources of its plan. */
function tensorsOf(weights: object): Float32Array[] {
  return Object.values(weights).flatMap((value: unknown) => {
    if (value instanceof tf.Tensor) return [value.dataSync<"float32">()];
    return typeof value === "object" && value !== null ? tensorsOf(value) : [];
  });
}

function sha256({ buffer, byteOffset, byteLength }: Float32Array): string {
  return createHash("sha256")
    .update(new Uint8Array(buffer, byteOffset, byteLength))
    .digest("hex");
}
