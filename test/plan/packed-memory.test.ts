/** @file What a process of the embedded engine holds of a model whose matrices are right-hand factors, against its plan. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { type StoredTensor, temporaryFolder, writeSafetensors } from "../support/checkpoint-folders.js";
import { projectRoot, runModule } from "../support/child-process.js";
import { testBackend } from "../support/engine.js";

const LAYERS = 6;
const WIDTH = 768;

/** A model in the layout of GPT-2: 162 MiB in float32, half of that on disk. */
function writeModel(folder: string): void {
  // BF16 numbers of either sign between 2^-7 and 2^-6.
  const halves = Uint16Array.from({ length: 2 ** 16 + 1 }, (_, i) => {
    const random = Math.imul(i + 1, 0x9e3779b1) >>> 16;
    return 0x3c00 | (random & 0x807f);
  });
  const tensor = (...shape: number[]): StoredTensor => {
    const bytes = new Uint8Array(2 * shape.reduce((size, axis) => size * axis, 1));
    const block = new Uint8Array(halves.buffer);
    for (let at = 0; at < bytes.length; at += block.length) {
      bytes.set(block.subarray(0, Math.min(block.length, bytes.length - at)), at);
    }
    return { dtype: "BF16", shape, bytes };
  };
  const D = WIDTH;
  const linear = (name: string, into: number, out: number) => ({
    [`${name}.weight`]: tensor(into, out),
    [`${name}.bias`]: tensor(out),
  });
  const norm = (name: string) => ({ [`${name}.weight`]: tensor(D), [`${name}.bias`]: tensor(D) });
  const layers = Array.from({ length: LAYERS }, (_, l) => ({
    ...norm(`h.${l}.ln_1`),
    ...linear(`h.${l}.attn.c_attn`, D, 3 * D),
    ...linear(`h.${l}.attn.c_proj`, D, D),
    ...norm(`h.${l}.ln_2`),
    ...linear(`h.${l}.mlp.c_fc`, D, 4 * D),
    ...linear(`h.${l}.mlp.c_proj`, 4 * D, D),
  }));
  const small = { "wte.weight": tensor(64, D), "wpe.weight": tensor(16, D), ...norm("ln_f") };
  writeSafetensors(join(folder, "model.safetensors"), Object.assign(small, ...layers));
  const config = { n_layer: LAYERS, n_embd: D, n_head: 12, vocab_size: 64, n_positions: 16 };
  writeFileSync(join(folder, "config.json"), JSON.stringify({ model_type: "gpt2", ...config }));
}

it.skipIf(testBackend() !== "wasm")("keeps to its plan, packed copies included", () => {
  const folder = temporaryFolder();
  writeModel(folder);
  const from = (file: string) => JSON.stringify(join(projectRoot, file));
  const { stdout, stderr } = runModule(`
    import { madeUpPairs } from ${from("bench/made-up-pairs.ts")};
    import { estimateBy } from ${from("src/atpstar/estimate.ts")};
    import { weightsFootprint } from ${from("src/checkpoint/footprint.ts")};
    import { openModel } from ${from("src/checkpoint/load-model.ts")};
    import { startEngine } from ${from("src/engine/start-engine.ts")};
    import { makeNodeSpace } from ${from("src/nodes/node-space.ts")};
    import { positionLabels } from ${from("src/nodes/positions.ts")};
    import { planRun } from ${from("src/plan/plan-run.ts")};
    import { metricByName } from ${from("src/prompts/metrics/index.ts")};
    await startEngine({ prefer: "wasm" });
    const opened = await openModel(${JSON.stringify(folder)});
    const { config, checkpoint } = opened;
    const pairs = madeUpPairs(2, 8, config.vocabulary);
    const metric = metricByName("logit-diff");
    const space = makeNodeSpace(config, ["z"], positionLabels("each", pairs));
    const question = {
      config, pairs, space, metrics: [metric], method: "atp", batchSize: 2, backend: "wasm",
      footprint: weightsFootprint(checkpoint), storedBytes: 0, processBytes: process.memoryUsage.rss(),
    };
    const activationBytes = 2 ** 20;
    const { inMemoryBytes } = planRun(question, { activationBytes });
    const { residentLayers, memory } = planRun(question, { memoryBytes: inMemoryBytes, activationBytes });
    const model = await opened.load({ streaming: { residentLayers } });
    await estimateBy("atp", model, pairs, {
      metric, space, direction: "noising", batchSize: 2,
      activationBudgetBytes: activationBytes, streamBudgetBytes: activationBytes,
    });
    const packed = memory.parts.find(({ name }) => name === "packed copies of weights").bytes;
    const peak = process.resourceUsage().maxRSS * 1024;
    console.log(JSON.stringify({ residentLayers, planned: memory.total, packed, peak }));
    model.dispose();
    await opened.close();
  `);
  expect(stderr).toBe("");
  const { residentLayers, planned, packed, peak } = JSON.parse(stdout);
  expect(residentLayers).toBe(LAYERS);
  // All of the twelve D² of each layer, in float32.
  expect(packed).toBe(LAYERS * 12 * WIDTH ** 2 * 4);
  expect(peak).toBeLessThan(planned);
  // Nor would a plan without them have been enough.
  expect(peak).toBeGreaterThan(planned - packed);
});
