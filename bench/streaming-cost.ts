/**
 * @file What it costs that a model is larger than memory: AtP with weights that are streamed from disk, over AtP with weights
 * in memory, on a random checkpoint that is written first.
 *
 *   npx tsx bench/streaming-cost.ts [--engine tensorflow|wasm] [--repeats 3] [--pairs 4] [--tokens 32]
 *
 * With a memory budget for the process it makes one estimate and tells what that took; so can a model be run that no
 * memory would hold:
 *
 *   npx tsx bench/streaming-cost.ts --shape llama-7b --memory 6GiB [--activations 1GiB] [--method atp] [--pairs 4] [--tokens 32]
 *
 * `--checkpoint FOLDER` takes one that is there (`bench/make-checkpoint.ts`) instead of writing one for the time being.
 * GFLOP/s are those of the matrix products, over those of one large product on the same engine.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import * as tf from "@tensorflow/tfjs-core";
import { estimateBy } from "../src/atpstar/estimate.js";
import { parseMethod } from "../src/atpstar/methods.js";
import { parseByteSize } from "../src/byte-size.js";
import { weightsFootprint } from "../src/checkpoint/footprint.js";
import { openModel } from "../src/checkpoint/load-model.js";
import { startEngine } from "../src/engine/start-engine.js";
import type { ModelConfig } from "../src/model/config.js";
import { forwardFlops } from "../src/model/flops.js";
import type { Model } from "../src/model/model.js";
import { makeNodeSpace } from "../src/nodes/node-space.js";
import { positionLabels } from "../src/nodes/positions.js";
import { planWithin } from "../src/plan/check-plan.js";
import { metricByName } from "../src/prompts/metrics/index.js";
import { productGigaflops } from "./large-product.js";
import { madeUpPairs } from "./made-up-pairs.js";
import { LLAMA_SHAPES, makeCheckpoint } from "./make-checkpoint.js";
import { median, peakMemory, spread, timed } from "./timing.js";

const { values: flags } = parseArgs({
  options: {
    engine: { type: "string", default: "tensorflow" },
    shape: { type: "string", default: "llama-400m" },
    checkpoint: { type: "string" },
    memory: { type: "string" },
    activations: { type: "string" },
    method: { type: "string", default: "atp" },
    repeats: { type: "string", default: "3" },
    pairs: { type: "string", default: "4" },
    tokens: { type: "string", default: "32" },
  },
});
if (flags.engine !== "tensorflow" && flags.engine !== "wasm") {
  throw new Error("expected --engine tensorflow or wasm");
}
const method = parseMethod(flags.method);
const [count, tokens, repeats] = [flags.pairs, flags.tokens, flags.repeats].map(Number);

const SITES = ["q", "k", "v", "z", "mlpOut", "neuron"] as const;

/** One estimate of all nodes of these sites. */
interface Estimate {
  readonly seconds: number;
  /** Of all threads together. */
  readonly processorSeconds: number;
  readonly gigaflops: number;
  /** Of the weights that were read for it. */
  readonly bytesRead: number;
  /** Share of the time in which nothing could go on before weights had been read. */
  readonly waiting: number;
}

function selectionOf(config: ModelConfig) {
  const pairs = madeUpPairs(count, tokens, config.vocabulary);
  return { pairs, space: makeNodeSpace(config, SITES, positionLabels("each", pairs)) };
}

/** @param budgetBytes of activations, and of gradient streams; left out, the default */
async function estimateOnce(model: Model, budgetBytes?: number): Promise<Estimate> {
  const { config, weights } = model;
  const { pairs, space } = selectionOf(config);
  const budgets = budgetBytes && { activationBudgetBytes: budgetBytes, streamBudgetBytes: budgetBytes };
  const before = weights.stats?.();
  let forwardEquivalents = 0;
  const { clock: seconds, processor } = await timed(async () => {
    ({ forwardEquivalents } = await estimateBy(method, model, pairs, {
      metric: metricByName("logit-diff"),
      direction: "noising",
      space,
      batchSize: count,
      ...budgets,
    }));
  });
  const after = weights.stats?.();
  return {
    seconds,
    processorSeconds: processor,
    gigaflops: (forwardEquivalents * forwardFlops(config, tokens)) / seconds / 1e9,
    bytesRead: (after?.bytesRead ?? 0) - (before?.bytesRead ?? 0),
    waiting: ((after?.waited ?? 0) - (before?.waited ?? 0)) / seconds,
  };
}

function line(label: string, text: string): void {
  console.log(`${label.padEnd(36)}${text}`);
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(2)} GB`;

/** Large enough that the engine is as fast as it gets: the shape of the MLP's products. */
function largeProduct({ config }: Model): number {
  return productGigaflops([1024, config.width, config.mlpWidth]);
}

/** Under a budget for the whole process, divided as `--memory` does it. */
async function withinBudget(folder: string, memory: string): Promise<void> {
  const memoryBytes = parseByteSize(memory);
  if (memoryBytes === undefined) throw new Error(`expected --memory such as 6GiB, got ${memory}`);
  const activationBytes = flags.activations === undefined ? undefined : parseByteSize(flags.activations);
  const opened = await openModel(folder);
  const { config, checkpoint } = opened;
  const question = {
    ...selectionOf(config),
    config,
    footprint: weightsFootprint(checkpoint),
    storedBytes: checkpoint.stored.reduce((sum, { bytes }) => sum + bytes, 0),
    backend: engine.backend,
    metrics: [metricByName("logit-diff")],
    method,
    batchSize: count,
    processBytes: process.memoryUsage.rss(),
  };
  const {
    residentLayers,
    memory: planned,
    activationBudgetBytes,
    reads,
  } = planWithin(question, {
    memoryBytes,
    ...(activationBytes && { activationBytes }),
  });
  const model = await opened.load({ streaming: { residentLayers } });
  await opened.close();
  try {
    line("nodes", String(question.space.size));
    line("planned memory", `${Math.round(planned.total / 2 ** 20)} MiB, ${residentLayers} layers stay`);
    const { seconds, gigaflops, bytesRead, waiting } = await estimateOnce(model, activationBudgetBytes);
    line("peak resident memory", peakMemory());
    line(`${method}, ${count} pairs of ${tokens} tokens`, `${seconds.toFixed(1)} s`);
    line("weights read for it", `${gigabytes(bytesRead)} (planned ${gigabytes(reads.bytes)})`);
    line("time waited for weights", percent(waiting));
    const large = largeProduct(model);
    line("GFLOP/s", `${gigaflops.toFixed(0)}, large product ${large.toFixed(0)}`);
    line("GFLOP/s ÷ large product", (gigaflops / large).toFixed(2));
  } finally {
    model.dispose();
  }
}

async function againstMemory(folder: string): Promise<void> {
  const opened = await openModel(folder);
  const streamed = await opened.load({ streaming: { residentLayers: 0 } });
  await estimateOnce(streamed);
  line("peak resident memory, streamed", peakMemory());
  const inMemory = await opened.load();
  await estimateOnce(inMemory);
  line("peak resident memory, with both", peakMemory());
  const runs: { streamed: Estimate; inMemory: Estimate }[] = [];
  const products: number[] = [];
  for (let r = 0; r < repeats; r++) {
    runs.push({ streamed: await estimateOnce(streamed), inMemory: await estimateOnce(inMemory) });
    products.push(largeProduct(inMemory));
  }
  const seconds = (kind: "streamed" | "inMemory") =>
    `${median(runs.map((run) => run[kind].seconds)).toFixed(2)} s (median of ${repeats})`;
  line("streamed", seconds("streamed"));
  line("in memory", seconds("inMemory"));
  line("streamed ÷ in memory, time", spread(runs.map((run) => run.streamed.seconds / run.inMemory.seconds)));
  const processor = runs.map((run) => run.streamed.processorSeconds / run.inMemory.processorSeconds);
  line("  processor time, all threads", spread(processor));
  line("weights read for each", gigabytes(runs[0].streamed.bytesRead));
  line("time waited for weights", percent(median(runs.map((run) => run.streamed.waiting))));
  for (const kind of ["streamed", "inMemory"] as const) {
    const shares = runs.map((run, r) => run[kind].gigaflops / products[r]);
    line(`GFLOP/s ÷ large product, ${kind === "streamed" ? kind : "in memory"}`, spread(shares));
  }
  streamed.dispose();
  inMemory.dispose();
  await opened.close();
}

const engine = await startEngine({ prefer: flags.engine });
line("engine", `${engine.backend} (${engine.device})`);
const shape = Object.hasOwn(LLAMA_SHAPES, flags.shape) ? LLAMA_SHAPES[flags.shape] : undefined;
if (!shape) throw new Error(`expected --shape ${Object.keys(LLAMA_SHAPES).join(", ")}, got ${flags.shape}`);
const folder = flags.checkpoint ?? mkdtempSync(join(tmpdir(), "atpkit-streaming-"));
try {
  if (flags.checkpoint === undefined) line("checkpoint written", gigabytes(makeCheckpoint(folder, shape)));
  const opened = await openModel(folder);
  const { layerBytes } = weightsFootprint(opened.checkpoint);
  await opened.close();
  line("one layer in float32", gigabytes(layerBytes));
  if (flags.memory === undefined) await againstMemory(folder);
  else await withinBudget(folder, flags.memory);
  line("tensors left", String(tf.memory().numTensors));
} finally {
  if (flags.checkpoint === undefined) rmSync(folder, { recursive: true, force: true });
}
