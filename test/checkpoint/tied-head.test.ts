/**
 * @file Token embedding and unembedding where a config ties them: what the files hold decides. The numbers of the tiny Llama under
 * test/fixtures/own-head are those of transformers 5.24 in float64, with each of its two matrices as unembedding.
 */

import { copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, test } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.js";
import { bytesInMemory, bytesStreamed, weightsFootprint } from "../../src/checkpoint/footprint.js";
import { loadModel } from "../../src/checkpoint/load-model.js";
import { logits } from "../../src/model/transformer.js";
import {
  folderWithTensors,
  readStored,
  type StoredTensor,
  safetensorsBytes,
  temporaryFolder,
} from "../support/checkpoint-folders.js";
import { startTestEngine } from "../support/engine.js";
import { goldenFolder } from "../support/goldens.js";

const OWN_HEAD = fileURLToPath(new URL("../fixtures/own-head", import.meta.url));
const EMBEDDING = "model.embed_tokens.weight";
const HEAD = "lm_head.weight";

/** Logit of token 20 minus that of token 21 behind two prompts. */
const WITH_OWN_HEAD = [-2.738, -4.397];
const TIED = [-0.144, -0.341];

beforeAll(async () => {
  await startTestEngine();
});

interface Differences {
  readonly differences: readonly number[];
  readonly notices: readonly string[];
}

async function differencesOf(folder: string, memoryBudget?: number): Promise<Differences> {
  const before = tf.memory().numTensors;
  const notices: string[] = [];
  const model = await loadModel(folder, {
    hub: { onNotice: (text) => notices.push(text) },
    ...(memoryBudget !== undefined && { memoryBudget }),
  });
  const prompts = [
    [5, 9, 17, 3],
    [5, 11, 17, 3],
  ];
  const all = await logits(model, prompts);
  const values = await all.array();
  all.dispose();
  model.dispose();
  expect(tf.memory().numTensors).toBe(before);
  return { differences: values.map((rows) => rows[3][20] - rows[3][21]), notices };
}

function expectClose(found: readonly number[], expected: readonly number[]): void {
  expect(found.length).toBe(expected.length);
  // The reference has three digits.
  for (const [i, value] of expected.entries()) expect(Math.abs(found[i] - value)).toBeLessThan(6e-4);
}

function storedIn(folder: string, name: string): StoredTensor {
  const tensor = readStored(join(folder, "model.safetensors")).get(name);
  if (tensor === undefined) throw new Error(`expected ${name} in ${folder}`);
  return tensor;
}

/** The checkpoint with one of the two matrices, under the head's name, and whatever the header says beside it. */
function folderWithHeadOnly(metadata: Readonly<Record<string, string>>): string {
  const folder = temporaryFolder();
  copyFileSync(join(OWN_HEAD, "config.json"), join(folder, "config.json"));
  const stored = readStored(join(OWN_HEAD, "model.safetensors"));
  stored.set(HEAD, storedIn(OWN_HEAD, EMBEDDING));
  stored.delete(EMBEDDING);
  let end = 0;
  const header: Record<string, unknown> = { __metadata__: metadata };
  for (const [name, { dtype, shape, bytes }] of stored) {
    header[name] = { dtype, shape, data_offsets: [end, end + bytes.length] };
    end += bytes.length;
  }
  const data = Buffer.concat([...stored.values()].map(({ bytes }) => bytes));
  writeFileSync(join(folder, "model.safetensors"), safetensorsBytes(JSON.stringify(header), data));
  return folder;
}

describe("both stored", () => {
  test("with other values: each is used for what it is, and the user is told", async () => {
    const { differences, notices } = await differencesOf(OWN_HEAD);
    expectClose(differences, WITH_OWN_HEAD);
    expect(notices).toEqual([
      `warning: tie_word_embeddings of ${join(OWN_HEAD, "config.json")} is true, but ${join(OWN_HEAD, "model.safetensors")} ` +
        `has ${HEAD} with other values than ${EMBEDDING}: ${HEAD} is used, and the model is not tied`,
    ]);
  });

  test("with other values, streamed: the footprint counts both", async () => {
    const checkpoint = await openCheckpoint(OWN_HEAD);
    const footprint = weightsFootprint(checkpoint);
    expect([checkpoint.tied, footprint.tied, checkpoint.unused]).toEqual([false, false, []]);
    // Every stored value once, as float32; each tensor begins at a multiple of 64 bytes, as all sizes here do.
    const values = checkpoint.stored.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
    expect(bytesInMemory(footprint)).toBe(4 * values);
    await checkpoint.close();
    const engine = tf.getBackend() === "wasm" ? "wasm" : "tensorflow";
    const budget = bytesStreamed(footprint, 0, { engine, wholeUnembedding: false });
    const all = bytesInMemory(footprint, { engine });
    const { differences } = await differencesOf(OWN_HEAD, Math.min(budget, all));
    expectClose(differences, WITH_OWN_HEAD);
  });

  test("with the same values: tied, without a word", async () => {
    const folder = folderWithTensors(OWN_HEAD, { [HEAD]: storedIn(OWN_HEAD, EMBEDDING) });
    const { differences, notices } = await differencesOf(folder);
    expectClose(differences, TIED);
    expect(notices).toEqual([]);
    const { tied, unused, close } = await openCheckpoint(folder);
    expect([tied, unused]).toEqual([true, []]);
    await close();
  });

  test("with the same values in another type: tied", async () => {
    // The embedding of this golden is BF16, the upper half of the float32 that stands for it.
    const brain = storedIn(goldenFolder("qwen2"), EMBEDDING);
    const wide = Buffer.alloc(2 * brain.bytes.length);
    for (let i = 0; i < brain.bytes.length; i += 2) {
      wide[2 * i + 2] = brain.bytes[i];
      wide[2 * i + 3] = brain.bytes[i + 1];
    }
    const same = { dtype: "F32", shape: brain.shape, bytes: Uint8Array.from(wide) };
    const tied = await openCheckpoint(folderWithTensors(goldenFolder("qwen2"), { [HEAD]: same }));
    expect([tied.tied, tied.notices]).toEqual([true, []]);
    await tied.close();
    wide[3] ^= 0x80;
    const other = { ...same, bytes: Uint8Array.from(wide) };
    const untied = await openCheckpoint(folderWithTensors(goldenFolder("qwen2"), { [HEAD]: other }));
    expect([untied.tied, untied.notices.length]).toEqual([false, 1]);
    await untied.close();
  });

  test("GPT-2, which is tied where nothing says so: logits of a head twice as large are twice as large", async () => {
    const golden = goldenFolder("gpt2");
    const tokens = storedIn(golden, "transformer.wte.weight");
    const values = new Float32Array(Uint8Array.from(tokens.bytes).buffer).map((value) => 2 * value);
    const folder = folderWithTensors(golden, {
      [HEAD]: { ...tokens, bytes: new Uint8Array(values.buffer) },
    });
    const { differences, notices } = await differencesOf(folder);
    const tied = await differencesOf(golden);
    for (const [i, value] of tied.differences.entries()) expect(differences[i]).toBeCloseTo(2 * value, 5);
    expect(notices[0]).toContain("tie_word_embeddings of ");
    expect(notices[0]).toContain("transformer.wte.weight: lm_head.weight is used, and the model is not tied");
    expect(tied.notices).toEqual([]);
  });

  test("with another shape: refused by name", async () => {
    const head = storedIn(OWN_HEAD, HEAD);
    const short = { ...head, shape: [63, 32], bytes: head.bytes.slice(0, 63 * 32 * 4) };
    const folder = folderWithTensors(OWN_HEAD, { [HEAD]: short });
    await expect(openCheckpoint(folder)).rejects.toThrow(
      `expected tensor ${HEAD} of ${join(folder, "model.safetensors")} to have shape [64, 32], as config.json says, got [63, 32]`,
    );
  });
});

describe("only the head stored", () => {
  test.each([
    ["and the header names the embedding", { [EMBEDDING]: HEAD }],
    ["and nothing names the embedding", {}],
  ])("%s: it is both", async (_, metadata) => {
    const folder = folderWithHeadOnly(metadata);
    const { differences, notices } = await differencesOf(folder);
    expectClose(differences, TIED);
    expect(notices).toEqual([]);
    const checkpoint = await openCheckpoint(folder);
    expect([checkpoint.tied, checkpoint.unused]).toEqual([true, []]);
    // One matrix of 64 · 32 values, two layers and a norm.
    const onDisk = checkpoint.stored.reduce((sum, { bytes }) => sum + bytes, 0);
    const inFile = [...readStored(join(folder, "model.safetensors")).values()];
    expect(onDisk).toBe(inFile.reduce((sum, { bytes }) => sum + bytes.length, 0));
    await checkpoint.close();
  });
});
