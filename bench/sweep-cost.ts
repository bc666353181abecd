/**
 * @file What a sweep of single nodes costs, on a GPT-2-small-sized random model and prompts of 32 tokens: all z, q, k and v
 * nodes at each position, and 2,000 neurons, beside (a) edited full forward passes of this project, in batches, and (b)
 * loops of one PyTorch forward pass per node with hooks, as far as Python has what they need (`bench/peers/README.md`); what
 * part of the work of full passes it counts, and how near it comes to the engine's large matrix product; how its time grows.
 *
 *   npx tsx bench/sweep-cost.ts [tensorflow|wasm] [repeats] [--sites z,q,k,v,neuron] [--pairs 1] [--short]
 *
 * `--short` is a model of a hundredth of the width, for a look at whether everything runs.
 */

import { parseArgs } from "node:util";
import * as tf from "@tensorflow/tfjs-core";
import Table from "cli-table3";
import { startEngine } from "../src/engine/start-engine.js";
import type { ModelConfig } from "../src/model/config.js";
import { EXACT_TOLERANCE } from "../test/support/tolerances.js";
import { madeUpPairs } from "./made-up-pairs.js";
import {
  type HookLoop,
  LOOP_SITES,
  type LoopSite,
  PEERS,
  type Peer,
  startHookLoop,
} from "./peers/hook-loop.js";
import { differenceOfEffects } from "./peers/same-effects.js";
import { GPT2_SMALL, randomModel } from "./random-model.js";
import { growthTables, measureGrowth } from "./sweep-growth.js";
import { type Amounts, costOfSite, fastestRows, type Repeat, type SiteCost } from "./sweep-ratios.js";
import { DIRECTION } from "./timed-sweep.js";
import { median, peakMemory, spread } from "./timing.js";

interface Size {
  readonly config: ModelConfig;
  readonly tokens: number;
  readonly amounts: Amounts;
  readonly growth: { readonly layers: readonly number[]; readonly positions: readonly number[] };
}

const FULL: Size = {
  config: GPT2_SMALL,
  tokens: 32,
  amounts: {
    neurons: 2000,
    editedSample: 64,
    loopSample: 24,
    rows: [16, 32, 64],
    products: [
      [2048, 768, 3072],
      [4096, 4096, 4096],
    ],
  },
  growth: { layers: [3, 6, 12], positions: [16, 32, 64] },
};

const SHORT: Size = {
  config: {
    ...GPT2_SMALL,
    layers: 4,
    width: 64,
    heads: 4,
    kvHeads: 4,
    headWidth: 16,
    mlpWidth: 256,
    vocabulary: 1000,
  },
  tokens: 8,
  amounts: { neurons: 100, editedSample: 16, loopSample: 4, rows: [8, 16], products: [[256, 64, 256]] },
  growth: { layers: [1, 2, 4], positions: [4, 8, 16] },
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    sites: { type: "string", default: LOOP_SITES.join() },
    pairs: { type: "string", default: "1" },
    short: { type: "boolean", default: false },
  },
});
const [prefer, repeats = "1"] = positionals;
if (prefer !== "tensorflow" && prefer !== "wasm") throw new Error("expected an engine: tensorflow or wasm");
const sites = values.sites.split(",").map((name): LoopSite => {
  const site = LOOP_SITES.find((known) => known === name);
  if (!site) throw new Error(`expected sites among ${LOOP_SITES.join()}, got ${name}`);
  return site;
});
const { config, tokens, amounts, growth } = values.short ? SHORT : FULL;

const engine = await startEngine({ prefer });
console.log(`engine    ${engine.backend} (${engine.device})`);
const pairs = madeUpPairs(Number(values.pairs), tokens, config.vocabulary);
const peers: { name: Peer; loop: HookLoop }[] = [];
for (const name of PEERS) {
  const loop = await startHookLoop(name);
  if ("skipped" in loop) {
    console.log(`skipped   a loop with ${name}: ${loop.skipped}`);
    continue;
  }
  const difference = await differenceOfEffects(loop);
  if (!(difference < EXACT_TOLERANCE)) throw new Error(`expected ${name} to agree, got ${difference} apart`);
  console.log(
    `loop      ${loop.description}; effects apart on a checkpoint: ${difference.toExponential(1)} of the span`,
  );
  await loop.load({ shape: config }, pairs[0], DIRECTION);
  peers.push({ name, loop });
}

const model = randomModel(config);
const subject = { model, pairs, loops: peers.map(({ loop }) => loop) };
const rows = await fastestRows(subject, amounts);
console.log(`pairs     ${pairs.length} of ${tokens} tokens; ${rows} rows in an edited pass`);
const tensorsBefore = tf.memory().numTensors;
const costs: SiteCost[] = [];
for (const site of sites) {
  const cost = await costOfSite(subject, site, { amounts, rows, repeats: Number(repeats) });
  if (!(cost.difference < EXACT_TOLERANCE)) {
    throw new Error(`expected edited passes to agree on ${site}, got ${cost.difference} apart`);
  }
  costs.push(cost);
}
for (const { loop } of peers) loop.stop();

/** Of the repeats: the median, and the range of several. */
const over = (repeatsOfSite: readonly Repeat[], of: (repeat: Repeat) => number) => {
  const each = repeatsOfSite.map(of);
  return each.length > 1 ? spread(each) : each[0].toFixed(2);
};
const milliseconds = (seconds: readonly number[]) => (1000 * median(seconds)).toFixed(2);
const style = { head: [], border: [], compact: true };

const times = new Table({
  head: [
    "site",
    "nodes",
    "runs",
    "ms a node",
    "(a) edited pass",
    "÷ sweep",
    ...peers.flatMap(({ name }) => [`(b) ${name}`, "÷ sweep"]),
  ],
  style,
  colAligns: ["left", ...Array<"right">(5 + 2 * peers.length).fill("right")],
});
for (const { site, nodes, repeats: each } of costs) {
  times.push([
    site,
    nodes,
    each[0].sweep.runs,
    milliseconds(each.map(({ sweepNode }) => sweepNode)),
    milliseconds(each.map(({ editedNode }) => editedNode)),
    over(each, ({ editedNode, sweepNode }) => editedNode / sweepNode),
    ...peers.flatMap((_, l) => [
      milliseconds(each.map(({ loopNodes }) => loopNodes[l])),
      over(each, ({ loopNodes, sweepNode }) => loopNodes[l] / sweepNode),
    ]),
  ]);
}
console.log(`\nTime per node and pair; nodes that cannot have an effect need no run\n${times.toString()}`);

const work = new Table({
  head: [
    "site",
    "FLOPs ÷ full passes",
    "GFLOP/s",
    "large product",
    "÷",
    "effects apart from (a), of the span",
  ],
  style,
  colAligns: ["left", ...Array<"right">(5).fill("right")],
});
const gigaflops = ({ sweep }: Repeat) => sweep.flops / sweep.seconds / 1e9;
for (const { site, repeats: each, difference } of costs) {
  work.push([
    site,
    each[0].sweep.ofFullPasses.toFixed(3),
    median(each.map(gigaflops)).toFixed(0),
    median(each.map(({ product }) => product)).toFixed(0),
    over(each, (repeat) => gigaflops(repeat) / repeat.product),
    difference.toExponential(1),
  ]);
}
console.log(`\nWork\n${work.toString()}`);

for (const table of growthTables(growth.layers, growth.positions)) {
  console.log(`\nz nodes, growth with ${table.title}\n${await measureGrowth(model, table)}`);
}
console.log(`\npeak resident memory      ${peakMemory()}`);
console.log(`tensors before and after  ${tensorsBefore}, ${tf.memory().numTensors}`);
model.dispose();
