/**
 * @file How well the gradient methods find what matters: on the demo model and its seven behaviours, their estimated
 * contributions against exact ones of all q, k, v, z and neuron nodes at each position, noising.
 *
 * - Spearman's rank correlation over all nodes, over queries and over keys. A third to three quarters of the nodes have an
 *   effect of exactly 0, most because they come before the first changed token or the metric does not see them. They are
 *   included, and share one mid-rank. Every method gets them right for nothing, and the order of the smallest effects is that of
 *   float32's rounding, so there is a column of the nodes with a true contribution above 1e-5 too.
 * - Recall: the share of the true top 10, 30 and 100 among the first 1, 2 and 5 times as many candidates ("10 in 20" is
 *   the share of the top 10 among the first 20).
 *
 * The exact effects take minutes and are kept in atp-out/truth for the next run.
 *
 *   npx tsx bench/method-recall.ts [tensorflow|wasm] [pairs per behaviour]
 */

import { readFileSync } from "node:fs";
import Table from "cli-table3";
import { estimateBy } from "../src/atpstar/estimate.js";
import { METHODS } from "../src/atpstar/methods.js";
import { loadModel } from "../src/checkpoint/load-model.js";
import { startEngine } from "../src/engine/start-engine.js";
import type { Model } from "../src/model/model.js";
import type { Site } from "../src/model/sites.js";
import { makeNodeSpace, type NodeSpace } from "../src/nodes/node-space.js";
import { orderByContribution } from "../src/nodes/order.js";
import { positionLabels } from "../src/nodes/positions.js";
import { contribution } from "../src/nodes/score-table.js";
import { metricByName } from "../src/prompts/metrics/index.js";
import { readPairs } from "../src/prompts/read-pairs.js";
import { samplePairs } from "../src/prompts/sample-pairs.js";
import { exactContributions, TRUTH_SITES } from "./exact-contributions.js";
import { filesIn, keptNumbers } from "./kept-numbers.js";
import { recall, spearman } from "./rank-agreement.js";

const MODEL = "models/demo";
/** Behaviours and their metrics: `greater` has sets of answers. */
const BEHAVIOURS = {
  ioi: "logit-diff",
  city: "logit-diff",
  article: "logit-diff",
  greater: "prob-diff",
  pronoun: "logit-diff",
  agreement: "logit-diff",
  induction: "logit-diff",
};
const TOPS = [10, 30, 100];
const CANDIDATES_PER_TOP = [1, 2, 5];
/** True contributions up to here are rounding: the metrics are float32 numbers of up to 32, 2e-6 apart there. */
const NOISE = 1e-5;
const SEED = 1;
/** Patched prompts at once; larger batches are no faster. */
const BATCH = 512;
const TRUTH_FOLDER = "atp-out/truth";
/** The parts of the program that exact effects come from. */
const TRUTH_SOURCES = ["checkpoint", "engine", "exact", "model", "nodes", "prompts"].map(
  (part) => `src/${part}`,
);

const [, , prefer, pairCount = "8"] = process.argv;
if (prefer !== "tensorflow" && prefer !== "wasm") throw new Error("expected an engine: tensorflow or wasm");
const engine = await startEngine({ prefer });
const model = await loadModel(MODEL);
const sources = [
  ...[MODEL, ...TRUTH_SOURCES].flatMap(filesIn),
  readFileSync(new URL("./exact-contributions.ts", import.meta.url)),
];

const CORRELATIONS = ["all", "q", "k"].flatMap((nodes) => [nodes, `${nodes} > 1e-5`]);
const RECALLS = TOPS.flatMap((top) => CANDIDATES_PER_TOP.map((times) => `${top} in ${top * times}`));

/** What is measured of one method on one behaviour, in the order of the columns. */
interface Agreement {
  readonly correlations: readonly number[];
  readonly recalls: readonly number[];
}

function agreement(space: NodeSpace, truth: Float64Array, estimated: Float64Array): Agreement {
  const sitesOfParts: readonly (readonly Site[])[] = [TRUTH_SITES, ["q"], ["k"]];
  const correlations = sitesOfParts.flatMap((sites) => {
    const nodes = space.groups
      .filter(({ site }) => sites.includes(site))
      .flatMap(({ offset, indices }) =>
        Array.from({ length: indices * space.labels.length }, (_, i) => offset + i),
      );
    const over = (part: readonly number[]) =>
      spearman(
        part.map((node) => truth[node]),
        part.map((node) => estimated[node]),
      );
    return [over(nodes), over(nodes.filter((node) => truth[node] > NOISE))];
  });
  const best = (values: Float64Array) => orderByContribution(space.size, (node) => values[node]);
  const [trueOrder, order] = [best(truth), best(estimated)];
  const recalls = TOPS.flatMap((top) =>
    CANDIDATES_PER_TOP.map((times) => recall(trueOrder, order, top, top * times)),
  );
  return { correlations, recalls };
}

async function measureBehaviour(
  model: Model,
  behaviour: string,
  metricName: string,
): Promise<{ summary: string; byMethod: Agreement[] }> {
  const start = performance.now();
  const metric = metricByName(metricName);
  const all = await readPairs(`${MODEL}/pairs/${behaviour}.jsonl`, model, metric.needs);
  const pairs = samplePairs(all, Number(pairCount), SEED);
  const space = makeNodeSpace(model.config, TRUTH_SITES, positionLabels("each", pairs));
  const options = { metric, direction: "noising" as const, batchSize: BATCH };
  const dependencies = [
    JSON.stringify({ behaviour, pairs, metricName, engine: engine.backend, labels: space.labels }),
    ...sources,
  ];
  const truth = await keptNumbers(TRUTH_FOLDER, space.size, dependencies, () =>
    exactContributions(model, pairs, space, options),
  );
  const byMethod: Agreement[] = [];
  for (const method of METHODS) {
    const { scores } = await estimateBy(method, model, pairs, { ...options, space });
    const estimated = Float64Array.from({ length: space.size }, (_, node) => contribution(scores, node));
    byMethod.push(agreement(space, truth, estimated));
  }
  const zeros = truth.filter((value) => value === 0).length;
  const large = truth.filter((value) => value > NOISE).length;
  const elapsed = ((performance.now() - start) / 1000).toFixed(0);
  return {
    summary: `${pairs.length} pairs, ${space.size} nodes, ${zeros} of them exactly 0, ${large} above 1e-5, ${elapsed} s`,
    byMethod,
  };
}

/** Rows of every behaviour and method, and of the means over behaviours. */
function printTable(
  headings: readonly string[],
  behaviours: readonly (readonly [name: string, byMethod: readonly (readonly number[])[]])[],
  decimals: number,
): void {
  const table = new Table({
    head: ["behaviour", "method", ...headings],
    style: { head: [], border: [], compact: true },
    colAligns: ["left", "left", ...headings.map(() => "right" as const)],
  });
  const means = METHODS.map((_, m) =>
    headings.map((_heading, column) => {
      const values = behaviours.map(([, byMethod]) => byMethod[m][column]);
      return values.reduce((sum, value) => sum + value, 0) / values.length;
    }),
  );
  for (const [name, byMethod] of [...behaviours, ["mean", means] as const]) {
    METHODS.forEach((method, m) => {
      table.push([name, method, ...byMethod[m].map((value) => value.toFixed(decimals))]);
    });
  }
  console.log(table.toString());
}

console.log(`${engine.backend} (${engine.device})`);
const results: [name: string, byMethod: Agreement[]][] = [];
for (const [behaviour, metricName] of Object.entries(BEHAVIOURS)) {
  const { summary, byMethod } = await measureBehaviour(model, behaviour, metricName);
  console.log(`${behaviour}: ${summary}`);
  results.push([behaviour, byMethod]);
}
const columns = (pick: (one: Agreement) => readonly number[]) =>
  results.map(([name, byMethod]) => [name, byMethod.map(pick)] as const);
console.log("Spearman's rank correlation with exact contributions");
printTable(
  CORRELATIONS,
  columns(({ correlations }) => correlations),
  3,
);
console.log("Recall of the true top");
printTable(
  RECALLS,
  columns(({ recalls }) => recalls),
  2,
);
model.dispose();
