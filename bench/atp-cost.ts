/**
 * @file What AtP costs: the time of estimating every q, k, v, z, neuron and residual-stream node, over the time of the
 * two forward passes alone, on a GPT-2-small-sized random model with 8 pairs of 64 tokens. By FLOPs the ratio is 1.5:
 * a backward pass without weight gradients costs as much as one of the two forward passes.
 *
 *   npx tsx bench/atp-cost.ts [tensorflow|wasm] [repeats]
 */

import * as tf from "@tensorflow/tfjs-core";
import { estimateAtp } from "../src/atp/estimate.js";
import { product } from "../src/engine/matmul.js";
import { startEngine } from "../src/engine/start-engine.js";
import { disposeBlockContext, makeBlockContext } from "../src/model/block.js";
import { embed, readout, runBlocks } from "../src/model/transformer.js";
import { makeNodeSpace } from "../src/nodes/node-space.js";
import { positionLabels } from "../src/nodes/positions.js";
import { metricByName } from "../src/prompts/metrics/index.js";
import { madeUpPairs } from "./made-up-pairs.js";
import { GPT2_SMALL, randomModel } from "./random-model.js";
import { median, peakMemory, spread, timed } from "./timing.js";

const PAIRS = 8;
const TOKENS = 64;

const [, , prefer, repeats = "5"] = process.argv;
if (prefer !== "tensorflow" && prefer !== "wasm") throw new Error("expected an engine: tensorflow or wasm");
const engine = await startEngine({ prefer });

const model = randomModel(GPT2_SMALL);
const pairs = madeUpPairs(PAIRS, TOKENS, GPT2_SMALL.vocabulary);
const sites = ["residPre", "q", "k", "v", "z", "residMid", "neuron", "residPost"] as const;
const space = makeNodeSpace(model.config, sites, positionLabels("each", pairs));
const metric = metricByName("logit-diff");

/** Both runs to the metric's position, nothing kept. */
async function forwardOfBothRuns(): Promise<void> {
  for (const prompts of [pairs.map(({ clean }) => clean), pairs.map(({ corrupted }) => corrupted)]) {
    const context = makeBlockContext(model.config, TOKENS);
    const embedded = await embed(model, prompts);
    const resid = await runBlocks(model, context, embedded);
    const { final, saved } = await readout(
      model,
      resid,
      pairs.map(({ metricPosition }) => metricPosition),
    );
    final.dataSync();
    disposeBlockContext(context);
    tf.dispose([embedded, resid, final, saved]);
  }
}

async function estimate(): Promise<void> {
  await estimateAtp(model, pairs, { metric, direction: "noising", space, batchSize: PAIRS });
}

/** Time of the product that dominates the model, for GFLOP/s of the same machine at the same moment. */
function productSeconds(): number {
  const a = tf.ones([1024, 1024]) as tf.Tensor2D;
  const start = performance.now();
  const c = product(a, a);
  c.dataSync();
  const elapsed = (performance.now() - start) / 1000;
  tf.dispose([a, c]);
  return elapsed;
}

const tensorsBefore = tf.memory().numTensors;
await forwardOfBothRuns();
await estimate();
const forwards: number[] = [];
const estimates: number[] = [];
const ratios: number[] = [];
const products: number[] = [];
for (let r = 0; r < Number(repeats); r++) {
  forwards.push((await timed(forwardOfBothRuns)).clock);
  estimates.push((await timed(estimate)).clock);
  ratios.push(estimates[r] / forwards[r]);
  products.push(productSeconds());
}
const gigaflops = (2 * 1024 ** 3) / median(products) / 1e9;
console.log(`engine                      ${engine.backend} (${engine.device})`);
console.log(`nodes                       ${space.size}`);
console.log(`forward of both runs        ${median(forwards).toFixed(2)} s (median of ${repeats})`);
console.log(`AtP                         ${median(estimates).toFixed(2)} s`);
console.log(`AtP ÷ forward of both runs  ${spread(ratios)}`);
console.log(`1024³ product               ${gigaflops.toFixed(0)} GFLOP/s`);
console.log(`peak resident memory        ${peakMemory()}`);
console.log(`tensors before and after    ${tensorsBefore}, ${tf.memory().numTensors}`);
model.dispose();
