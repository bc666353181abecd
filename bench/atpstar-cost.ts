/**
 * @file What AtP* costs over AtP: the time of estimating every q, k, v, z, neuron and residual-stream node on a
 * GPT-2-small-sized random model with 4 pairs of 64 tokens, by plain AtP, by AtP* with its gradient streams, and by AtP*
 * with one full backward pass per dropped layer. By layer-backwards, with two forward passes each and a backward pass
 * that costs as much as one of them, the streams should cost (2 + (L + 1)/2)/3 times as much as AtP, and the full passes
 * (2 + L + 1)/3 times.
 *
 *   npx tsx bench/atpstar-cost.ts [tensorflow|wasm] [repeats]
 */

import * as tf from "@tensorflow/tfjs-core";
import Table from "cli-table3";
import type { Estimates } from "../src/atp/batches.js";
import { estimateBy } from "../src/atpstar/estimate.js";
import { startEngine } from "../src/engine/start-engine.js";
import { makeNodeSpace } from "../src/nodes/node-space.js";
import { positionLabels } from "../src/nodes/positions.js";
import { metricByName } from "../src/prompts/metrics/index.js";
import { relativeError } from "../test/support/errors.js";
import { estimateByFullPasses } from "./full-passes.js";
import { madeUpPairs } from "./made-up-pairs.js";
import { GPT2_SMALL, randomModel } from "./random-model.js";
import { median, peakMemory, type Seconds, spread, timed } from "./timing.js";

const PAIRS = 4;
const TOKENS = 64;

/** The two ways to AtP* differ by rounding only: one divides a sum of streams, the other sums quotients. */
const SAME_NUMBERS = 1e-5;

const [, , prefer, repeats = "5"] = process.argv;
if (prefer !== "tensorflow" && prefer !== "wasm") throw new Error("expected an engine: tensorflow or wasm");
const engine = await startEngine({ prefer });

const model = randomModel(GPT2_SMALL);
const pairs = madeUpPairs(PAIRS, TOKENS, GPT2_SMALL.vocabulary);
const sites = ["residPre", "q", "k", "v", "z", "residMid", "neuron", "residPost"] as const;
const space = makeNodeSpace(model.config, sites, positionLabels("each", pairs));
const options = {
  metric: metricByName("logit-diff"),
  direction: "noising" as const,
  space,
  batchSize: PAIRS,
};
const ways = [
  { name: "AtP", run: () => estimateBy("atp", model, pairs, options) },
  { name: "AtP*, streams", run: () => estimateBy("atp*", model, pairs, options) },
  { name: "AtP*, full passes", run: () => estimateByFullPasses(model, pairs, options) },
];

const tensorsBefore = tf.memory().numTensors;
const memory = [`model loaded ${peakMemory()}`];
const results: Estimates[] = [];
for (const { name, run } of ways) {
  results.push(await run());
  memory.push(`after ${name} ${peakMemory()}`);
}
const [atp, streams, fullPasses] = results;
const difference = relativeError(fullPasses.scores.sumAbs, streams.scores.sumAbs);
if (!(difference < SAME_NUMBERS))
  throw new Error(`expected the same AtP* either way, got ${difference} apart`);

const times: Seconds[][] = ways.map(() => []);
for (let r = 0; r < Number(repeats); r++) {
  for (const [w, { run }] of ways.entries()) times[w].push(await timed(run));
}
const over = (a: number, b: number, kind: keyof Seconds) =>
  spread(times[a].map((time, r) => time[kind] / times[b][r][kind]));

console.log(`engine                    ${engine.backend} (${engine.device})`);
console.log(
  `nodes                     ${space.size}, ${PAIRS} pairs of ${TOKENS} tokens, ${repeats} repeats`,
);
const table = new Table({
  head: ["", "s", "÷ AtP", "processor s", "÷ AtP", "÷ AtP predicted"],
  style: { head: [], border: [], compact: true },
  colAligns: ["left", "right", "right", "right", "right", "right"],
});
ways.forEach(({ name }, w) => {
  const [clock, processor] = (["clock", "processor"] as const).flatMap((kind) => [
    [median(times[w].map((time) => time[kind])).toFixed(2), over(w, 0, kind)],
  ]);
  const predicted = results[w].forwardEquivalents / atp.forwardEquivalents;
  table.push([name, ...clock, ...processor, predicted.toFixed(2)]);
});
const predicted = fullPasses.forwardEquivalents / streams.forwardEquivalents;
console.log(table.toString());
console.log(
  `full passes ÷ streams     ${over(2, 1, "clock")}, processor time ${over(2, 1, "processor")}, predicted ${predicted.toFixed(2)}`,
);
console.log(`contributions either way  ${difference.toExponential(1)} apart`);
console.log(`peak resident memory      ${memory.join(", ")}`);
console.log(`tensors before and after  ${tensorsBefore}, ${tf.memory().numTensors}`);
model.dispose();
