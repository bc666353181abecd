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
import type { Pair } from "../src/prompts/pair.js";
import { GPT2_SMALL, randomModel } from "./random-model.js";

const PAIRS = 8;
const TOKENS = 64;

const [, , prefer, repeats = "5"] = process.argv;
if (prefer !== "tensorflow" && prefer !== "wasm") throw new Error("expected an engine: tensorflow or wasm");
const engine = await startEngine({ prefer });

const model = randomModel(GPT2_SMALL);
const pairs: Pair[] = Array.from({ length: PAIRS }, (_, b) => {
  const clean = Array.from(
    { length: TOKENS },
    (_unused, t) => (b * 7919 + t * 104_729) % GPT2_SMALL.vocabulary,
  );
  const corrupted = clean.map((token, t) => (t % 8 === 3 ? (token + 1) % GPT2_SMALL.vocabulary : token));
  return {
    clean,
    corrupted,
    answers: [b],
    wrong: [b + PAIRS],
    roles: new Map(),
    metricPosition: TOKENS - 1,
    origin: `pair ${b}`,
  };
});
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

async function seconds(work: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
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

const median = (values: number[]) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];

const tensorsBefore = tf.memory().numTensors;
await forwardOfBothRuns();
await estimate();
const forwards: number[] = [];
const estimates: number[] = [];
const ratios: number[] = [];
const products: number[] = [];
for (let r = 0; r < Number(repeats); r++) {
  forwards.push(await seconds(forwardOfBothRuns));
  estimates.push(await seconds(estimate));
  ratios.push(estimates[r] / forwards[r]);
  products.push(productSeconds());
}
const gigaflops = (2 * 1024 ** 3) / median(products) / 1e9;
const mebibytes = (bytes: number) => `${Math.round(bytes / 2 ** 20)} MiB`;
console.log(`engine                      ${engine.backend} (${engine.device})`);
console.log(`nodes                       ${space.size}`);
console.log(`forward of both runs        ${median([...forwards]).toFixed(2)} s (median of ${repeats})`);
console.log(`AtP                         ${median([...estimates]).toFixed(2)} s`);
console.log(
  `AtP ÷ forward of both runs  ${median([...ratios]).toFixed(2)} (${Math.min(...ratios).toFixed(2)} … ${Math.max(...ratios).toFixed(2)})`,
);
console.log(`1024³ product               ${gigaflops.toFixed(0)} GFLOP/s`);
console.log(`peak resident memory        ${mebibytes(process.resourceUsage().maxRSS * 1024)}`);
console.log(`tensors before and after    ${tensorsBefore}, ${tf.memory().numTensors}`);
model.dispose();
