/**
 * @file What a subset sample costs: the time of 1,000 samples on the demo model, patched at random subsets of all its q, k, v, z,
 * mlpOut and neuron nodes at each position, beside that of 1,000 unpatched forward passes in the same run, in batches of as many
 * tokens, read by the same metric. Both run from the first position on: pairs whose prompts differ later only, whose samples
 * start there, are counted apart.
 *
 *   npx tsx bench/subset-cost.ts [tensorflow|wasm] [repeats]
 */

import * as tf from "@tensorflow/tfjs-core";
import Table from "cli-table3";
import { DEFAULT_ACTIVATION_BUDGET_BYTES, tokensWithin } from "../src/activation-budget.js";
import { observeSamples } from "../src/bounds/observe.js";
import { loadModel } from "../src/checkpoint/load-model.js";
import { startEngine } from "../src/engine/start-engine.js";
import { disposeBlockContext, makeBlockContext } from "../src/model/block.js";
import { readout, runBlocks } from "../src/model/transformer.js";
import { makeNodeSpace, parseSites } from "../src/nodes/node-space.js";
import { positionLabels } from "../src/nodes/positions.js";
import { embedRun } from "../src/prompts/embed-run.js";
import { metricByName } from "../src/prompts/metrics/index.js";
import { isOutput } from "../src/prompts/metrics/metric.js";
import { prepareOnRuns } from "../src/prompts/metrics/on-runs.js";
import { firstDifference, type Pair } from "../src/prompts/pair.js";
import { readPairs } from "../src/prompts/read-pairs.js";
import { median, type Seconds, spread, timed } from "./timing.js";

const SAMPLES = 1000;
const INCLUSION = 0.05;
const BATCH = 16;

const [, , prefer, repeats = "5"] = process.argv;
if (prefer !== "tensorflow" && prefer !== "wasm") throw new Error("expected an engine: tensorflow or wasm");
const engine = await startEngine({ prefer });
const model = await loadModel("models/demo");
const metric = metricByName("logit-diff");
if (!isOutput(metric)) throw new Error("expected a metric of the logits");
const outputMetric = metric;

/** As many rows of unpatched runs as there are samples, each pair in turn. */
async function forwardPasses(pairs: readonly Pair[]): Promise<void> {
  const T = pairs[0].clean.length;
  const rowsAtOnce = Math.floor(tokensWithin(DEFAULT_ACTIVATION_BUDGET_BYTES, model.config, T) / T);
  for (let first = 0; first < SAMPLES; first += rowsAtOnce) {
    const rows = Array.from(
      { length: Math.min(rowsAtOnce, SAMPLES - first) },
      (_, r) => pairs[(first + r) % pairs.length],
    );
    const context = makeBlockContext(model.config, T);
    const embedded = await embedRun(model, rows, "noising", "base");
    const last = await runBlocks(model, context, embedded);
    const { final, saved } = await readout(
      model,
      last,
      rows.map(({ metricPosition }) => metricPosition),
    );
    const { metric: prepared } = await prepareOnRuns(outputMetric, {
      model,
      pairs: rows,
      direction: "noising",
      finals: { base: final, source: final },
      budgetBytes: DEFAULT_ACTIVATION_BUDGET_BYTES,
    });
    prepared.dispose();
    tf.dispose([embedded, last, final, saved]);
    disposeBlockContext(context);
  }
}

const table = new Table({
  head: [
    "behaviour",
    "tokens",
    "differ from",
    "nodes",
    "samples s",
    "passes s",
    "samples ÷ passes",
    "by FLOPs",
  ],
  style: { head: [], border: [], compact: true },
});
for (const behaviour of ["ioi", "city", "greater"]) {
  const all = await readPairs(`models/demo/pairs/${behaviour}.jsonl`, model, metric.needs);
  const T = all[0].clean.length;
  const pairs = all.filter(({ clean }) => clean.length === T).slice(0, BATCH);
  const sites = parseSites("q,k,v,z,mlpOut,neuron", model.config);
  const space = makeNodeSpace(model.config, sites, positionLabels("each", pairs));
  const nodes = Uint32Array.from({ length: space.size }, (_, node) => node);
  const design = { nodes, probability: INCLUSION, seed: 1 };
  const options = { metric, direction: "noising" as const, batchSize: BATCH };
  const range = { first: 0, end: SAMPLES };
  let forwardEquivalents = 0;
  const sample = async () => {
    const result = await observeSamples(model, pairs, space, design, range, options);
    forwardEquivalents = result.forwardEquivalents;
  };
  await sample();
  await forwardPasses(pairs);
  const times: { samples: Seconds; passes: Seconds }[] = [];
  for (let r = 0; r < Number(repeats); r++) {
    times.push({ samples: await timed(sample), passes: await timed(() => forwardPasses(pairs)) });
  }
  table.push([
    behaviour,
    T,
    spread(pairs.map(firstDifference)),
    space.size,
    median(times.map(({ samples }) => samples.clock)).toFixed(2),
    median(times.map(({ passes }) => passes.clock)).toFixed(2),
    spread(times.map(({ samples, passes }) => samples.clock / passes.clock)),
    (forwardEquivalents / SAMPLES).toFixed(2),
  ]);
}
console.log(`engine    ${engine.backend} (${engine.device}); ${SAMPLES} samples, ${repeats} repeats`);
console.log(table.toString());
model.dispose();
