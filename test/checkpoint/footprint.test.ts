import { afterAll, describe, expect, it } from "vitest";
import { type Checkpoint, openCheckpoint } from "../../src/checkpoint/checkpoint.js";
import {
  bytesInMemory,
  bytesStreamed,
  residentLayersWithin,
  type WeightsFootprint,
  weightsFootprint,
} from "../../src/checkpoint/footprint.js";
import { goldenFolder } from "../support/goldens.js";

const opened: Checkpoint[] = [];
afterAll(async () => {
  for (const checkpoint of opened) await checkpoint.close();
});

async function footprintOf(
  variant: string,
): Promise<{ checkpoint: Checkpoint; footprint: WeightsFootprint }> {
  const checkpoint = await openCheckpoint(goldenFolder(variant));
  opened.push(checkpoint);
  return { checkpoint, footprint: weightsFootprint(checkpoint) };
}

describe("the footprint", () => {
  it("of a BF16 model with grouped kv-heads, by hand", async () => {
    const { checkpoint, footprint } = await footprintOf("qwen2");
    const { width: D, heads, kvHeads, headWidth: h, mlpWidth: F, vocabulary: V, layers } = checkpoint.config;
    // Two norms; q, k, v with biases, o without; gate, in and out of the MLP.
    const values = 2 * D + (D + 1) * (heads + 2 * kvHeads) * h + heads * h * D + 3 * D * F;
    expect(footprint.layerBytesOnDisk).toEqual(Array.from({ length: layers }, () => 2 * values));
    // Each tensor begins at a multiple of 64 bytes, and there are 12.
    expect(footprint.layerBytes).toBeGreaterThanOrEqual(4 * values);
    expect(footprint.layerBytes).toBeLessThan(4 * values + 12 * 64);
    expect(footprint).toMatchObject({
      layers,
      smallBytes: 4 * D,
      embeddingBytes: 4 * V * D,
      unembeddingBytes: 4 * V * D,
      unembeddingBytesOnDisk: 2 * V * D,
      tied: checkpoint.tied,
    });
  });

  it("counts learned positions as always there, and a tied matrix once", async () => {
    const { checkpoint, footprint } = await footprintOf("gpt2");
    const { width: D, vocabulary: V, maxPositions } = checkpoint.config;
    expect(footprint).toMatchObject({ tied: true, smallBytes: 4 * (2 * D + maxPositions * D) });
    expect(bytesInMemory(footprint)).toBe(
      footprint.layers * footprint.layerBytes + footprint.smallBytes + 4 * V * D,
    );
    const untied = (await footprintOf("llama")).footprint;
    expect(bytesInMemory(untied)).toBe(
      untied.layers * untied.layerBytes + untied.smallBytes + 2 * untied.embeddingBytes,
    );
  });

  it("tells matrices that are right-hand factors forward from those that are on the way back", async () => {
    const { checkpoint, footprint } = await footprintOf("gpt2");
    const { width: D, mlpWidth: F } = checkpoint.config;
    // Stored [in, out]: q, k, v, o and both of the MLP.
    expect(footprint.rightFactorBytes).toEqual({ forward: 4 * (4 * D * D + 2 * D * F), back: 0 });
    const qwen = await footprintOf("qwen2");
    const { width, heads, kvHeads, headWidth: h, mlpWidth } = qwen.checkpoint.config;
    // Stored [out, in]: q and o, k and v, gate, in and out of the MLP.
    const back = 4 * (2 * width * heads * h + 2 * width * kvHeads * h + 3 * width * mlpWidth);
    expect(qwen.footprint.rightFactorBytes).toEqual({ forward: 0, back });
  });

  it("adds up to what is stored, where nothing is left aside", async () => {
    const { checkpoint, footprint } = await footprintOf("llama");
    const { width, layers } = checkpoint.config;
    const stored = checkpoint.stored.reduce((bytes, entry) => bytes + entry.bytes, 0);
    const ofLayers = footprint.layerBytesOnDisk.reduce((a, b) => a + b, 0);
    // F32: embedding, unembedding and final norm besides.
    expect(ofLayers + footprint.embeddingBytes + footprint.unembeddingBytes + 4 * width).toBe(stored);
    expect(footprint.layerBytesOnDisk).toHaveLength(layers);
  });
});

describe("layers that stay in memory", () => {
  const footprint: WeightsFootprint = {
    layers: 10,
    layerBytes: 100,
    rightFactorBytes: { forward: 60, back: 20 },
    smallBytes: 7,
    embeddingBytes: 50,
    unembeddingBytes: 60,
    tied: false,
    layerBytesOnDisk: Array.from({ length: 10 }, () => 50),
    unembeddingBytesOnDisk: 30,
  };
  const rowsOnly = { wholeUnembedding: false };

  it("share a budget with the layer in use, the one being read, and the unembedding, twice", () => {
    expect(bytesStreamed(footprint, 3, rowsOnly)).toBe(5 * 100 + 7);
    expect(bytesStreamed(footprint, 3)).toBe(5 * 100 + 7 + 2 * 60);
    expect(residentLayersWithin(footprint, 207, rowsOnly)).toBe(0);
    expect(residentLayersWithin(footprint, 206, rowsOnly)).toBeUndefined();
    expect(residentLayersWithin(footprint, 327)).toBe(0);
    expect(residentLayersWithin(footprint, 326)).toBeUndefined();
    expect(residentLayersWithin(footprint, 726)).toBe(3);
    expect(residentLayersWithin(footprint, 727)).toBe(4);
    expect(residentLayersWithin(footprint, Number.NaN)).toBeUndefined();
  });

  it("have packed copies beside them on the embedded engine, as has the layer in use", () => {
    const engine = "wasm";
    const forward = { engine, gradients: false, wholeUnembedding: false } as const;
    expect(bytesStreamed(footprint, 3, forward)).toBe(5 * 100 + 4 * 60 + 7);
    expect(bytesStreamed(footprint, 3, { engine, ...rowsOnly })).toBe(5 * 100 + 4 * 80 + 7);
    expect(bytesStreamed(footprint, 3, { engine })).toBe(5 * 100 + 4 * 80 + 7 + 3 * 60);
    expect(bytesStreamed(footprint, 3, { engine: "tensorflow" })).toBe(bytesStreamed(footprint, 3));
    expect(bytesInMemory(footprint, forward)).toBe(1117 + 10 * 60);
    expect(bytesInMemory(footprint, { engine })).toBe(1117 + 10 * 80 + 60);
    // Each layer that stays takes 180.
    const least = 2 * 100 + 80 + 7;
    expect(residentLayersWithin(footprint, least - 1, { engine, ...rowsOnly })).toBeUndefined();
    expect(residentLayersWithin(footprint, least + 359, { engine, ...rowsOnly })).toBe(1);
    expect(residentLayersWithin(footprint, least + 360, { engine, ...rowsOnly })).toBe(2);
    expect(residentLayersWithin(footprint, 1117 + 800 + 60, { engine })).toBe(10);
    expect(residentLayersWithin(footprint, 1117 + 800 + 59, { engine })).toBe(8);
  });

  it("are all of them as soon as everything fits, and not before", () => {
    // 10 · 100 + 7 + 50 + 60
    expect(bytesInMemory(footprint)).toBe(1117);
    expect(residentLayersWithin(footprint, 1117)).toBe(10);
    expect(residentLayersWithin(footprint, 1116)).toBe(7);
    // Streaming leaves out the embedding, so that it has room for more than can be needed.
    expect(residentLayersWithin({ ...footprint, embeddingBytes: 5000 }, 2000, rowsOnly)).toBe(9);
  });
});
