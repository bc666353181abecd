/** @file Streamed weights against the same weights in memory, and what they hold, read and leave behind. */

import { createHook } from "node:async_hooks";
import { readdirSync, truncateSync } from "node:fs";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { estimateBy } from "../../src/atpstar/estimate.js";
import { type Checkpoint, openCheckpoint } from "../../src/checkpoint/checkpoint.js";
import { bytesInMemory, bytesStreamed, weightsFootprint } from "../../src/checkpoint/footprint.js";
import { loadModel, type OpenedModel, openModel } from "../../src/checkpoint/load-model.js";
import { makeSharedBuffer } from "../../src/checkpoint/shared-buffer.js";
import { streamWeights } from "../../src/checkpoint/streaming.js";
import { InputError, RunError } from "../../src/errors.js";
import { patchSets } from "../../src/exact/patch-sets.js";
import { pathEffects } from "../../src/exact/paths/path-effects.js";
import { sweepNodes } from "../../src/exact/sweep/sweep.js";
import { disposeBlockContext, makeBlockContext } from "../../src/model/block.js";
import type { Model } from "../../src/model/model.js";
import { sitesOf } from "../../src/model/sites.js";
import { embed, logits, runBlocks } from "../../src/model/transformer.js";
import type { ReadingStats } from "../../src/model/weights.js";
import { makeNodeSpace } from "../../src/nodes/node-space.js";
import { positionLabels } from "../../src/nodes/positions.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import { allResults } from "../support/all-results.js";
import {
  folderWithConfig,
  folderWithTensors,
  readStored,
  type StoredTensor,
} from "../support/checkpoint-folders.js";
import { projectRoot, runModule } from "../support/child-process.js";
import { startTestEngine, testBackend } from "../support/engine.js";
import { BASE_VARIANTS, goldenFolder } from "../support/goldens.js";
import { tokenPair } from "../support/token-pair.js";

beforeAll(async () => {
  await startTestEngine();
});

const PAIRS = [
  tokenPair([1, 2, 3, 4, 5, 6], [1, 7, 3, 4, 5, 6]),
  tokenPair([9, 8, 7, 6, 5, 4], [9, 8, 2, 6, 11, 4]),
  tokenPair([12, 8, 7], [3, 8, 7]),
];

/** Opens a folder, loads its model streamed, and closes everything but what the model needs. */
async function loadStreamed(folder: string, residentLayers = 0): Promise<Model> {
  const opened = await openModel(folder);
  try {
    return await opened.load({ streaming: { residentLayers } });
  } finally {
    await opened.close();
  }
}

function statsOf(model: Model): ReadingStats {
  const stats = model.weights.stats?.();
  if (!stats) throw new Error("expected a model that is streamed");
  return stats;
}

/** Of a checkpoint with its float32 weights cut to their upper halves: fused matrices in 16 bits. */
function inBrainFloats(original: string): string {
  const cut = ({ shape, bytes }: StoredTensor): StoredTensor => {
    const halves = Uint16Array.from(
      { length: bytes.length / 4 },
      (_, i) => bytes[4 * i + 2] + 256 * bytes[4 * i + 3],
    );
    return { dtype: "BF16", shape, bytes: new Uint8Array(halves.buffer) };
  };
  const stored = readStored(join(original, "model.safetensors"));
  return folderWithTensors(
    original,
    Object.fromEntries(
      [...stored].map(([name, tensor]) => [name, tensor.dtype === "F32" ? cut(tensor) : tensor]),
    ),
  );
}

describe("results are those of weights in memory, bit for bit", () => {
  it.each<[string, number]>([
    ...[...BASE_VARIANTS, "llama_sharded"].map((variant): [string, number] => [variant, 0]),
    ["gpt2", 1],
    ["qwen2", 2],
  ])("%s, with %i layers kept", async (variant, residentLayers) => {
    const before = tf.memory();
    const model = await loadModel(goldenFolder(variant));
    const expected = await allResults(model, PAIRS);
    model.dispose();
    const streamed = await loadStreamed(goldenFolder(variant), residentLayers);
    expect(await allResults(streamed, PAIRS)).toEqual(expected);
    streamed.dispose();
    const { numTensors, numBytes } = tf.memory();
    expect([numTensors, numBytes]).toEqual([before.numTensors, before.numBytes]);
  });

  it.each(["gpt2", "gpt_neox"])("%s, its fused matrices in BF16", async (variant) => {
    const folder = inBrainFloats(goldenFolder(variant));
    const model = await loadModel(folder);
    const streamed = await loadStreamed(folder);
    const expected = await allResults(model, PAIRS);
    expect(await allResults(streamed, PAIRS)).toEqual(expected);
    const original = await loadModel(goldenFolder(variant));
    expect((await allResults(original, PAIRS)).logits).not.toBe(expected.logits);
    for (const one of [model, streamed, original]) one.dispose();
  });

  it("whatever the order in which layers are asked for, hinted at or not, and however many are in use at a time", async () => {
    const model = await loadModel(goldenFolder("qwen3"));
    const streamed = await loadStreamed(goldenFolder("qwen3"));
    const layers = model.config.layers;
    const wanted = await Promise.all(
      Array.from({ length: layers }, async (_, l) => tensorsOf(await model.weights.layer(l))),
    );
    for (const [layer, next] of [
      [0, 2],
      [1, 0],
      [1, 1],
      [2, 99],
      [0, undefined],
      [2, -1],
      [1, 2],
      [2, 1],
    ] as const) {
      expect(tensorsOf(await streamed.weights.layer(layer, next))).toEqual(wanted[layer]);
      streamed.weights.release(layer);
    }
    const together = await Promise.all(
      [2, 0, 1, 0].map(async (l) => [l, await streamed.weights.layer(l, 1)] as const),
    );
    for (const [l, block] of together) expect(tensorsOf(block)).toEqual(wanted[l]);
    for (const [l] of together) streamed.weights.release(l);
    expect(tensorsOf(await streamed.weights.layer(1))).toEqual(wanted[1]);
    for (const one of [model, streamed]) one.dispose();
  });
});

/** The values of all tensors of a layer. */
function tensorsOf(block: object): number[][] {
  return tf.tensor_util
    .getTensorsInContainer({ ...block })
    .map((tensor) => [...tf.tidy(() => tf.add(tensor, 0).dataSync())]);
}

describe("memory", () => {
  it("holds one layer, those that are kept, and the small parts at most", async () => {
    const checkpoint = await openCheckpoint(goldenFolder("llama"));
    const footprint = weightsFootprint(checkpoint);
    await checkpoint.close();
    for (const residentLayers of [0, 1]) {
      const start = tf.memory().numBytes;
      const model = await loadStreamed(goldenFolder("llama"), residentLayers);
      // Of the two layers that the budget has room for one is the slot, which is not the engine's.
      const bound =
        bytesStreamed(footprint, residentLayers, { wholeUnembedding: false }) - footprint.layerBytes;
      const held: number[] = [];
      for (const layer of [0, 1, 2, 2, 1, 0]) {
        await model.weights.layer(layer, layer + 1);
        held.push(tf.memory().numBytes - start);
        model.weights.release(layer);
        held.push(tf.memory().numBytes - start);
      }
      expect(Math.max(...held)).toBeLessThanOrEqual(bound);
      expect(Math.max(...held)).toBeGreaterThan(bound - footprint.layerBytes);
      await model.weights.unembedding();
      await model.weights.unembedding();
      model.weights.releaseUnembedding();
      expect(tf.memory().numBytes - start).toBeGreaterThan(footprint.unembeddingBytes);
      model.weights.releaseUnembedding();
      expect(tf.memory().numBytes - start).toBeLessThanOrEqual(bound);
      model.dispose();
      expect(tf.memory().numBytes).toBe(start);
    }
  });

  it("is free again after a run that broke off", async () => {
    const before = tf.memory();
    const model = await loadStreamed(goldenFolder("gpt2"));
    const stop = new AbortController();
    const space = makeNodeSpace(model.config, sitesOf(model.config), positionLabels("each", PAIRS));
    const estimating = estimateBy("atp*", model, PAIRS, {
      metric: metricByName("prob"),
      direction: "noising",
      space,
      batchSize: 1,
      signal: stop.signal,
      onProgress: () => stop.abort(new RunError("stopped")),
    });
    await expect(estimating).rejects.toThrow("stopped");
    const context = makeBlockContext(model.config, 6);
    const embedded = await embed(model, [PAIRS[0].clean]);
    const running = runBlocks(model, context, embedded, {
      edit(_point, layer, value) {
        if (layer === 1) throw new RunError("refused");
        return value;
      },
    });
    await expect(running).rejects.toThrow("refused");
    embedded.dispose();
    disposeBlockContext(context);
    // The model is as good as before.
    (await logits(model, [PAIRS[0].clean])).dispose();
    model.dispose();
    const { numTensors, numBytes } = tf.memory();
    expect([numTensors, numBytes]).toEqual([before.numTensors, before.numBytes]);
  });

  it("of the native engine is the memory that weights are read into", async () => {
    if (testBackend() !== "tensorflow") return;
    // What the whole arrangement of two buffers that take turns rests on.
    for (const bytes of [64, 4096, 2 ** 22]) {
      const values = new Float32Array(makeSharedBuffer(bytes), 0, bytes / 4);
      const tensor = tf.tensor1d(values.fill(1));
      const first = () => tf.tidy(() => tf.add(tensor, 0).dataSync()[0]);
      expect(first()).toBe(1);
      values.fill(2);
      expect(first()).toBe(2);
      tensor.dispose();
    }
  });
});

describe("reading", () => {
  it("takes each layer once per change of layer, ahead of time, and of the embeddings the rows that are asked for", async () => {
    const checkpoint = await openCheckpoint(goldenFolder("qwen2"));
    const { layerBytesOnDisk } = weightsFootprint(checkpoint);
    const model = await loadStreamed(goldenFolder("qwen2"));
    const order = [0, 1, 2, 2, 1, 0, 0, 1, 2];
    const changes = order.filter((layer, at) => layer !== order[at - 1]);
    for (const [at, layer] of order.entries()) {
      await model.weights.layer(layer, order[at + 1]);
      model.weights.release(layer);
    }
    const layerBytes = changes.reduce((bytes, layer) => bytes + layerBytesOnDisk[layer], 0);
    expect(statsOf(model)).toMatchObject({ layersRead: changes.length, bytesRead: layerBytes });
    expect(statsOf(model).waited).toBeGreaterThan(0);
    // BF16: 2 bytes a value; rows that are asked for twice are read once.
    (await model.weights.tokenRows([3, 4, 9, 3])).dispose();
    const rows = 3 * 2 * checkpoint.config.width;
    expect(statsOf(model).bytesRead).toBe(layerBytes + rows);
    await model.weights.unembedding();
    const { unembeddingBytesOnDisk } = weightsFootprint(checkpoint);
    expect(statsOf(model).bytesRead).toBe(layerBytes + rows + unembeddingBytesOnDisk);
    model.dispose();
    await checkpoint.close();
  });

  it("does not wait for a layer that has had the time to come", async () => {
    const model = await loadStreamed(goldenFolder("llama"));
    await model.weights.layer(0, 1);
    while (statsOf(model).layersRead < 2) await new Promise((resolve) => setTimeout(resolve, 1));
    model.weights.release(0);
    await model.weights.layer(1);
    expect(statsOf(model).layersRead).toBe(2);
    model.dispose();
  });

  it("reads kept layers once", async () => {
    const model = await loadStreamed(goldenFolder("llama"), 2);
    for (const layer of [0, 1, 2, 1, 0, 1, 2, 0]) {
      await model.weights.layer(layer, 1);
      model.weights.release(layer);
    }
    // The last layer is in memory until another one is asked for that has to be read.
    expect(statsOf(model).layersRead).toBe(3);
    model.dispose();
  });

  it("fails with the file's name where it ends early, and the model can be disposed", async () => {
    const folder = folderWithConfig(goldenFolder("llama_sharded"), {});
    const before = tf.memory().numTensors;
    const model = await loadStreamed(folder);
    const shard = readdirSync(folder).filter((name) => name.endsWith(".safetensors"))[2];
    truncateSync(join(folder, shard), 20_000);
    const broken = logits(model, [[1, 2, 3]]);
    await expect(broken).rejects.toBeInstanceOf(RunError);
    await expect(broken).rejects.toThrow(
      new RegExp(
        `loadModel: expected \\d+ more bytes at \\d+ of ${join(folder, shard)}, got its end: the file changed while it was read`,
      ),
    );
    const space = makeNodeSpace(model.config, sitesOf(model.config), positionLabels("each", PAIRS));
    const common = { direction: "noising", batchSize: 1 } as const;
    const metric = metricByName("prob");
    const nodes = Uint32Array.of(0, 1);
    for (const run of [
      () => estimateBy("atp*", model, PAIRS, { ...common, metric, space }),
      () => sweepNodes(model, PAIRS, space, nodes, { ...common, metrics: [metric] }),
      () => patchSets(model, PAIRS, space, [nodes], { ...common, metrics: [metric] }),
      () =>
        pathEffects(model, PAIRS, { ...common, metric, senders: ["L0.mlpOut@*"], receivers: ["L1.q[0]@*"] }),
    ]) {
      const held = tf.memory().numTensors;
      await expect(run()).rejects.toThrow("the file changed while it was read");
      // What the model itself holds of its first layers can only have become less.
      expect(tf.memory().numTensors).toBeLessThanOrEqual(held);
    }
    // The other shards are whole, and the thread lives.
    await model.weights.layer(0);
    model.weights.release(0);
    model.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe("a streamed model", () => {
  it("needs the files that its opener has closed, until it is disposed", async () => {
    const opened: OpenedModel = await openModel(goldenFolder("llama_tied"));
    const one = await opened.load({ streaming: { residentLayers: 0 } });
    const two = await opened.load({ streaming: { residentLayers: 1 } });
    await opened.close();
    await opened.close();
    one.dispose();
    one.dispose();
    (await logits(two, [[1, 2, 3]])).dispose();
    two.dispose();
    while (await isOpen(opened)) await new Promise((resolve) => setTimeout(resolve, 5));
  });

  it("says so when it is used after its end", async () => {
    const model = await loadStreamed(goldenFolder("gpt2"));
    const pending = model.weights.layer(0, 1);
    const outcome = pending.then(() => "read", String);
    model.dispose();
    const gone = "weights: expected a model in use, got one that was disposed";
    expect(await outcome).toContain(gone);
    const { weights } = model;
    for (const use of [
      () => weights.layer(0),
      () => weights.tokenRows([0]),
      () => weights.positions(),
      () => weights.finalNorm(),
      () => weights.unembeddingRows([0]),
      () => weights.unembedding(),
    ]) {
      await expect(use()).rejects.toThrow(gone);
    }
  });

  it("refuses layers and rows that it does not have, and numbers of layers that are none", async () => {
    const model = await loadStreamed(goldenFolder("gpt2"));
    await expect(model.weights.layer(3)).rejects.toThrow("layer: expected a layer from 0 to 2, got 3");
    await expect(model.weights.layer(0.5)).rejects.toThrow("layer: expected a layer from 0 to 2, got 0.5");
    const vocabulary = model.config.vocabulary;
    await expect(model.weights.tokenRows([vocabulary])).rejects.toThrow(
      `readRows: expected rows from 0 to ${vocabulary - 1} of transformer.wte.weight, got ${vocabulary}`,
    );
    model.dispose();
    const checkpoint = await openCheckpoint(goldenFolder("gpt2"));
    for (const residentLayers of [-1, 0.5, Number.NaN]) {
      const refused = streamWeights(checkpoint, { residentLayers }, () => {});
      await expect(refused).rejects.toBeInstanceOf(InputError);
      await expect(refused).rejects.toThrow(
        `streamWeights: expected residentLayers to be 0 or a positive integer, got ${residentLayers}`,
      );
    }
    await checkpoint.close();
  });

  it("leaves nothing behind where it cannot be begun", async () => {
    const checkpoint = await openCheckpoint(goldenFolder("gpt2"));
    const started: string[] = [];
    const threads = createHook({ init: (_id, type) => type === "WORKER" && started.push(type) }).enable();
    for (const part of ["readPositions", "place"] as const) {
      const broken: Checkpoint = {
        ...checkpoint,
        [part]: () => {
          throw new RunError(`${part}: the disk is gone`);
        },
      };
      const before = tf.memory().numTensors;
      await expect(streamWeights(broken, { residentLayers: 0 }, () => {})).rejects.toThrow(part);
      expect(tf.memory().numTensors).toBe(before);
    }
    expect(started).toEqual([]);
    const whole = await streamWeights(checkpoint, { residentLayers: 0 }, () => {});
    expect(started).not.toEqual([]);
    threads.disable();
    whole.dispose();
    await checkpoint.close();
  });

  it("is disposed without a word where its files cannot be closed", async () => {
    const checkpoint = await openCheckpoint(goldenFolder("gpt2"));
    const unheard: unknown[] = [];
    const hear = (reason: unknown) => unheard.push(reason);
    process.on("unhandledRejection", hear);
    const closing = new Promise<void>((resolve) => {
      const close = async () => {
        resolve();
        throw new RunError("close: the disk is gone");
      };
      void streamWeights(checkpoint, { residentLayers: 0 }, close).then((weights) => weights.dispose());
    });
    await closing;
    await new Promise((resolve) => setTimeout(resolve, 20));
    process.off("unhandledRejection", hear);
    expect(unheard).toEqual([]);
    await checkpoint.close();
  });

  it("does not keep a process from its end, disposed or not", () => {
    const module = (name: string) => JSON.stringify(join(projectRoot, "src", name));
    const { stdout, stderr, exitCode } = runModule(`
      import { openModel } from ${module("checkpoint/load-model.ts")};
      import { startEngine } from ${module("engine/start-engine.ts")};
      await startEngine({ prefer: "${testBackend()}" });
      const opened = await openModel(${JSON.stringify(goldenFolder("llama"))});
      const model = await opened.load({ streaming: { residentLayers: 0 } });
      await model.weights.layer(0, 1);
      console.log(model.weights.stats().layersRead >= 1);
    `);
    expect([stdout, stderr, exitCode]).toEqual(["true\n", "", 0]);
  });
});

/** Whether the files of a checkpoint are still open. */
async function isOpen({ checkpoint }: OpenedModel): Promise<boolean> {
  return checkpoint.readFinalNorm().then(
    (norm) => {
      tf.dispose({ ...norm });
      return true;
    },
    () => false,
  );
}

describe("loadModel with a memory budget", () => {
  it("keeps what fits, streams the rest, and says what it needs at least", async () => {
    const folder = goldenFolder("gpt2");
    const checkpoint = await openCheckpoint(folder);
    const footprint = weightsFootprint(checkpoint);
    await checkpoint.close();
    const { layerBytes, smallBytes, embeddingBytes, unembeddingBytes, layers } = footprint;
    // The matrices of gpt2 are right-hand factors: on the embedded engine each has a packed copy, and so has the unembedding.
    const { width: D, mlpWidth: F } = checkpoint.config;
    const packed = testBackend() === "wasm" ? 4 * (4 * D * D + 2 * D * F) : 0;
    const packedUnembedding = packed === 0 ? 0 : unembeddingBytes;
    // gpt2 is tied: embedding and unembedding are one matrix.
    const all = layers * (layerBytes + packed) + smallBytes + embeddingBytes + packedUnembedding;
    const fits = await loadModel(folder, { memoryBudget: all });
    expect(fits.weights.stats).toBeUndefined();
    fits.dispose();

    const layersKept = async (memoryBudget: number) => {
      const model = await loadModel(folder, { memoryBudget });
      for (const layer of [0, 1, 2, 0, 1, 2]) {
        await model.weights.layer(layer);
        model.weights.release(layer);
      }
      // 6 − the number that was not read a second time.
      const { layersRead } = statsOf(model);
      model.dispose();
      return 6 - layersRead;
    };
    const least = 2 * layerBytes + packed + smallBytes;
    expect(await layersKept(least)).toBe(0);
    expect(await layersKept(least + 2 * unembeddingBytes + packedUnembedding)).toBe(0);
    for (const budget of [least - 1, 0, -5, Number.NaN]) {
      const refused = loadModel(folder, { memoryBudget: budget });
      await expect(refused).rejects.toBeInstanceOf(InputError);
      await expect(refused).rejects.toThrow(
        `loadModel: expected memoryBudget of at least ${least} bytes (two layers of ${layerBytes}, one in use and one being ` +
          `read${packed === 0 ? "" : `, ${packed} for the engine's packed copy of the one in use`}, and ${smallBytes} for the ` +
          `final norm and positions), got ${budget}`,
      );
    }
  });

  it("needs no room for a second layer where there is none", async () => {
    const folder = folderWithConfig(goldenFolder("gpt2"), { n_layer: 1, vocab_size: 8 });
    const name = "transformer.wte.weight";
    const stored = readStored(join(folder, "model.safetensors")).get(name);
    if (!stored) throw new Error("expected token embeddings");
    const width = stored.shape[1];
    const few = { ...stored, shape: [8, width], bytes: stored.bytes.slice(0, 4 * 8 * width) };
    const others = [...readStored(join(folder, "model.safetensors")).keys()].filter((other) =>
      /\.h\.[12]\./.test(other),
    );
    const gone = Object.fromEntries(others.map((other) => [other, undefined]));
    const small = folderWithTensors(folder, { ...gone, [name]: few });
    const checkpoint = await openCheckpoint(small);
    const footprint = weightsFootprint(checkpoint);
    await checkpoint.close();
    const engine = testBackend();
    const all = bytesInMemory(footprint, { engine });
    expect(all).toBeLessThan(bytesStreamed(footprint, 0, { engine, wholeUnembedding: false }));
    const model = await loadModel(small, { memoryBudget: all });
    expect(model.weights.stats).toBeUndefined();
    model.dispose();
    await expect(loadModel(small, { memoryBudget: all - 1 })).rejects.toThrow(
      `loadModel: expected memoryBudget of at least ${all} bytes (all weights at once), got ${all - 1}`,
    );
  });
});
