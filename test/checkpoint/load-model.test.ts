import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, test } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.js";
import { loadModel } from "../../src/checkpoint/load-model.js";
import { loadWeights } from "../../src/checkpoint/provider.js";
import { InputError, RunError } from "../../src/errors.js";
import {
  float32Tensor,
  folderWithConfig,
  folderWithTensors,
  temporaryFolder,
} from "../support/checkpoint-folders.js";
import { startTestEngine } from "../support/engine.js";
import { GOLDEN_VARIANTS, goldenFolder } from "../support/goldens.js";

beforeAll(async () => {
  await startTestEngine();
});

/** Loads a checkpoint that is expected to be refused before its first layer is read, and returns the error. */
async function refusal(folder: string): Promise<Error> {
  const before = tf.memory().numTensors;
  let layers = 0;
  try {
    await loadModel(folder, {
      onProgress: (done) => {
        layers = done;
      },
    });
  } catch (error) {
    expect([layers, tf.memory().numTensors]).toEqual([0, before]);
    if (error instanceof Error) return error;
  }
  throw new Error("refusal: the model was loaded");
}

describe("a model", () => {
  test.each(GOLDEN_VARIANTS)("%s takes memory until it is disposed", async (variant) => {
    const before = tf.memory().numTensors;
    const model = await loadModel(goldenFolder(variant));
    expect(model.name).toBe(goldenFolder(variant));
    expect(model.tokenizer).toBeUndefined();
    // A tensor or more for each layer's two norms, four attention matrices, and two MLP matrices.
    expect(tf.memory().numTensors).toBeGreaterThanOrEqual(before + 8 * model.config.layers);
    model.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  test("hands out the same tensors every time, and says when it cannot", async () => {
    const model = await loadModel(goldenFolder("gpt2"));
    const layer = await model.weights.layer(2);
    model.weights.release(2);
    expect(await model.weights.layer(2)).toBe(layer);
    expect(layer.q.weight.isDisposed).toBe(false);
    const whole = await model.weights.unembedding();
    expect(await model.weights.unembedding()).toBe(whole);
    // The unembedding of this model is its embedding.
    for (const rows of [await model.weights.unembeddingRows([5, 2]), await model.weights.tokenRows([5, 2])]) {
      const [fifth, second] = [5, 2].map((row) => whole.dataSync().slice(row * 32, (row + 1) * 32));
      expect([...rows.dataSync()]).toEqual([...fifth, ...second]);
      rows.dispose();
    }
    await expect(model.weights.layer(3)).rejects.toThrow("layer: expected a layer from 0 to 2, got 3");
    await expect(model.weights.layer(-1)).rejects.toThrow("layer: expected a layer from 0 to 2, got -1");
    model.dispose();
    expect(layer.q.weight.isDisposed).toBe(true);
    const gone = "weights: expected a model in use, got one that was disposed";
    await expect(model.weights.layer(0)).rejects.toThrow(gone);
    await expect(model.weights.tokenRows([0])).rejects.toThrow(gone);
    await expect(model.weights.unembedding()).rejects.toThrow(gone);
  });

  test("tells of every layer as it is loaded", async () => {
    const seen: [number, number][] = [];
    const model = await loadModel(goldenFolder("llama_sharded"), {
      onProgress: (done, total) => seen.push([done, total]),
    });
    model.dispose();
    expect(seen).toEqual([
      [1, 3],
      [2, 3],
      [3, 3],
    ]);
  });

  test("comes with its tokenizer where there is one", async () => {
    const model = await loadModel(fileURLToPath(new URL("../../models/demo", import.meta.url)));
    expect(model.tokenizer?.encode("<|endoftext|> The cars", true).length).toBe(3);
    expect([model.config.layers, model.config.heads, model.tokenizer?.size]).toEqual([6, 4, 340]);
    model.dispose();
  });
});

describe("a checkpoint is refused before any weight is read", () => {
  test("without config.json, or with one that is not JSON", async () => {
    const folder = temporaryFolder();
    expect(await refusal(folder)).toBeInstanceOf(InputError);
    expect((await refusal(folder)).message).toContain(
      `loadModel: expected a Hugging Face checkpoint with ${join(folder, "config.json")}, got no such file`,
    );
    writeFileSync(join(folder, "config.json"), "not JSON");
    expect((await refusal(folder)).message).toContain(`expected ${join(folder, "config.json")} to be JSON`);
  });

  test("without weights", async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, "config.json"), JSON.stringify({ model_type: "gpt2" }));
    expect((await refusal(folder)).message).toContain("got neither");
  });

  test("quantized", async () => {
    const folder = folderWithConfig(goldenFolder("llama"), { quantization_config: { bits: 4 } });
    expect((await refusal(folder)).message).toBe(
      `loadModel: expected quantization_config of ${join(folder, "config.json")} to be absent ` +
        '(quantized weights are not supported: take the checkpoint that it was made from, or a GGUF file of it), got {"bits":4}',
    );
  });

  test("with a tensor missing in its last layer", async () => {
    const name = "model.layers.2.mlp.down_proj.weight";
    const folder = folderWithTensors(goldenFolder("llama"), { [name]: undefined });
    expect((await refusal(folder)).message).toBe(
      `loadModel: expected tensor ${name} in ${join(folder, "model.safetensors")}, got a checkpoint without it`,
    );
  });

  test("with an unembedding missing that is not tied", async () => {
    const folder = folderWithTensors(goldenFolder("llama"), { "lm_head.weight": undefined });
    expect((await refusal(folder)).message).toBe(
      `loadModel: expected tensor lm_head.weight in ${join(folder, "model.safetensors")}, as tie_word_embeddings of ` +
        `${join(folder, "config.json")} is false, got a checkpoint without it`,
    );
  });

  test("with a tensor of another shape than the config says", async () => {
    const name = "gpt_neox.layers.1.attention.query_key_value.weight";
    const turned = float32Tensor(
      [32, 96],
      Array.from({ length: 96 * 32 }, () => 0),
    );
    const folder = folderWithTensors(goldenFolder("gpt_neox"), { [name]: turned });
    expect((await refusal(folder)).message).toBe(
      `loadModel: expected tensor ${name} of ${join(folder, "model.safetensors")} to have shape [96, 32], ` +
        "as config.json says, got [32, 96]",
    );
    const other = folderWithConfig(goldenFolder("gpt2"), { n_positions: 65 });
    expect((await refusal(other)).message).toContain(
      "expected tensor transformer.wpe.weight of " +
        `${join(other, "model.safetensors")} to have shape [65, 32], as config.json says, got [64, 32]`,
    );
  });

  test("with weights of a type that is not read", async () => {
    const name = "model.norm.weight";
    const doubles = { dtype: "F64", shape: [32], bytes: new Uint8Array(32 * 8) };
    const folder = folderWithTensors(goldenFolder("llama"), { [name]: doubles });
    expect((await refusal(folder)).message).toBe(
      `loadModel: expected tensor ${name} of ${join(folder, "model.safetensors")} to be stored as one of ` +
        "F32, F16, BF16, got F64",
    );
  });

  test("with a tokenizer that is not one", async () => {
    const folder = folderWithConfig(goldenFolder("llama"), {});
    writeFileSync(join(folder, "tokenizer.json"), "{");
    expect((await refusal(folder)).message).toContain(
      `expected ${join(folder, "tokenizer.json")} to be JSON`,
    );
  });
});

test("a file that breaks off while it is read leaves no tensor behind", async () => {
  const folder = folderWithConfig(goldenFolder("llama"), {});
  const checkpoint = await openCheckpoint(folder);
  const before = tf.memory().numTensors;
  truncateSync(join(folder, "model.safetensors"), 60_000);
  const loading = loadWeights(checkpoint);
  await expect(loading).rejects.toBeInstanceOf(RunError);
  expect(tf.memory().numTensors).toBe(before);
  await checkpoint.close();
});
