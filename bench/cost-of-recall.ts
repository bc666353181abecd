/**
 * @file How much has to be spent until all of the true top k nodes are verified, by every method, relative to an oracle that
 * verifies nothing else; after Kramár et al. 2024, figures 1 and 2.
 *
 * On the demo model's behaviours, noising; for single pairs (three per behaviour, geometric mean) and for the mean over
 * eight of them; for heads and MLPs (`q k v z mlpOut`) and for neurons at each position. Nodes that cannot have an effect, before
 * the first changed token for one, are known beforehand and left out: they would only make the methods without gradients look
 * worse. Subsets, blocks and trees are tried in several settings, and the best one counts for each kind of nodes and pairs, as
 * known afterwards.
 *
 * One number per curve: the geometric mean over k, weighted by 1/k. Curves end at k = 200, or where true contributions
 * are rounding (1e-5). Exact effects of single nodes are kept in atp-out/truth for the next run.
 *
 *   npx tsx bench/cost-of-recall.ts [tensorflow|wasm] [--out atp-out/cost-of-recall] [--picture file.svg] [--short]
 *
 * writes curves.csv, means.csv and a picture per unit; --picture writes the one of what ran to another place too.
 */

import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { loadModel } from "../src/checkpoint/load-model.js";
import { startEngine } from "../src/engine/start-engine.js";
import type { Site } from "../src/model/sites.js";
import { makeNodeSpace } from "../src/nodes/node-space.js";
import { positionLabels } from "../src/nodes/positions.js";
import { metricByName } from "../src/prompts/metrics/index.js";
import type { Pair } from "../src/prompts/pair.js";
import { readPairs } from "../src/prompts/read-pairs.js";
import { samplePairs } from "../src/prompts/sample-pairs.js";
import { oracle } from "./baselines/in-order.js";
import { type Baseline, outcomesOf, type Settings } from "./baselines/methods.js";
import { bestFirst, candidatesOf, contributionsOf, type Study, type Task } from "./baselines/study.js";
import { type Panel, panelText, writeReport } from "./cost-of-recall-report.js";
import { filesIn, keptNumbers } from "./kept-numbers.js";
import { costOfRecall } from "./recall-cost.js";
import { meanCosts, type RelativeCosts, type Result, summaries, UNITS, type Unit } from "./recall-results.js";

const MODEL = "models/demo";
const TRUTH_FOLDER = "atp-out/truth";
/** Behaviours and their metrics: `greater` has sets of answers. */
const BEHAVIOURS: Readonly<Record<string, string>> = {
  ioi: "logit-diff",
  city: "logit-diff",
  article: "logit-diff",
  greater: "prob-diff",
  pronoun: "logit-diff",
  agreement: "logit-diff",
  induction: "logit-diff",
};
const MOST_K = 200;
/** True contributions up to here are rounding: the metrics are float32 numbers of up to 32, 2e-6 apart there. */
const NOISE = 1e-5;
const SEED = 1;
/** Patched prompts at once; larger batches are no faster. */
const BATCH = 512;

interface Kind {
  readonly nodes: string;
  readonly sites: readonly Site[];
  readonly settings: Settings;
  /** How many single pairs per behaviour. */
  readonly singles: number;
  /** How many pairs there are in the mean. */
  readonly together: number;
}

const ATTENTION = { nodes: "heads and MLPs", sites: ["q", "k", "v", "z", "mlpOut"] } as const;

const KINDS: readonly Kind[] = [
  {
    ...ATTENTION,
    singles: 3,
    together: 8,
    settings: {
      probabilities: [0.03, 0.1, 0.3],
      budgets: [16, 32, 64, 128, 256],
      blockSizes: [4, 8, 16, 32, 64],
      branchings: [2, 4, 8, 16],
    },
  },
  {
    nodes: "neurons",
    sites: ["neuron"],
    singles: 1,
    together: 8,
    settings: {
      probabilities: [0.01, 0.03, 0.1],
      budgets: [64, 128, 256, 512, 1024],
      blockSizes: [32, 128, 512],
      branchings: [4, 8, 32],
    },
  },
];

const SHORT: readonly Kind[] = [
  {
    ...ATTENTION,
    singles: 1,
    together: 2,
    settings: { probabilities: [0.1], budgets: [32, 64], blockSizes: [16], branchings: [8] },
  },
];
const SHORT_BEHAVIOURS = ["article", "agreement"];

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    out: { type: "string", default: "atp-out/cost-of-recall" },
    picture: { type: "string" },
    short: { type: "boolean", default: false },
  },
});
const [prefer] = positionals;
if (prefer !== undefined && prefer !== "tensorflow" && prefer !== "wasm") {
  throw new Error(`expected an engine, tensorflow or wasm, got ${prefer}`);
}
const start = performance.now();
const seconds = () => ((performance.now() - start) / 1000).toFixed(0);
const engine = await startEngine({ ...(prefer && { prefer }) });
const model = await loadModel(MODEL);
/** What true contributions depend on. */
const sources = [
  ...[MODEL, ...["checkpoint", "engine", "exact", "model", "nodes", "prompts"].map((part) => `src/${part}`)],
].flatMap(filesIn);
const ownSource = readFileSync(new URL("./baselines/study.ts", import.meta.url));

async function studyOf(pairs: readonly Pair[], sites: readonly Site[], metricName: string): Promise<Study> {
  const space = makeNodeSpace(model.config, sites, positionLabels("each", pairs));
  const metric = metricByName(metricName);
  const task: Task = { model, pairs, space, control: { metric, direction: "noising", batchSize: BATCH } };
  const { candidates, costs } = candidatesOf(task);
  const dependsOn = JSON.stringify({
    pairs,
    metricName,
    engine: engine.backend,
    sites,
    labels: space.labels,
  });
  const truth = await keptNumbers(TRUTH_FOLDER, candidates.length, [dependsOn, ...sources, ownSource], () =>
    contributionsOf(task, candidates),
  );
  return { ...task, candidates, costs, truth };
}

/** Relative costs of every method in every setting, in the same order for every study. */
async function relativeCostsOf(study: Study, settings: Settings) {
  const order = bestFirst(study.truth);
  const most = Math.min(MOST_K, study.truth.filter((value) => value > NOISE).length);
  const best = costOfRecall(order, oracle(study).verified, most);
  const found: { method: Baseline; setting: string; relative: RelativeCosts }[] = [];
  for await (const { method, setting, counters } of outcomesOf(study, settings)) {
    const relative = counters.map(({ verified }) => {
      const costs = costOfRecall(order, verified, most);
      const over = (unit: Unit) => costs.map((cost, k) => cost[unit] / best[k][unit]);
      return { run: over("run"), patches: over("patches") };
    });
    found.push({ method, setting, relative: meanCosts(relative) });
  }
  return found;
}

/** Every method and setting on several cases of a behaviour: at every k the geometric mean over the cases. */
async function resultsOf(
  behaviour: string,
  cases: readonly (readonly Pair[])[],
  { sites, settings }: Kind,
): Promise<Result[]> {
  const ofCases: Awaited<ReturnType<typeof relativeCostsOf>>[] = [];
  for (const pairs of cases) {
    const study = await studyOf(pairs, sites, BEHAVIOURS[behaviour]);
    console.log(
      `${seconds()} s: ${behaviour}, ${pairs.length} pair(s), ${study.candidates.length} of ${study.space.size} ${sites} nodes can have an effect`,
    );
    ofCases.push(await relativeCostsOf(study, settings));
  }
  return ofCases[0].map(({ method, setting }, at) => ({
    behaviour,
    method,
    setting,
    relative: meanCosts(ofCases.map((found) => found[at].relative)),
  }));
}

console.log(`${engine.backend} (${engine.device})`);
const behaviours = options.short ? SHORT_BEHAVIOURS : Object.keys(BEHAVIOURS);
const panels: Panel[] = [];
for (const kind of options.short ? SHORT : KINDS) {
  const { nodes, singles, together } = kind;
  const casesOf = [
    [
      singles === 1 ? "a single pair" : "single pairs",
      (pairs: readonly Pair[]) => pairs.slice(0, singles).map((pair) => [pair]),
    ],
    [`mean over ${together} pairs`, (pairs: readonly Pair[]) => [pairs]],
  ] as const;
  for (const [pairsName, cases] of casesOf) {
    const results: Result[] = [];
    for (const behaviour of behaviours) {
      const { needs } = metricByName(BEHAVIOURS[behaviour]);
      const all = await readPairs(`${MODEL}/pairs/${behaviour}.jsonl`, model, needs);
      results.push(...(await resultsOf(behaviour, cases(samplePairs(all, together, SEED)), kind)));
    }
    const byUnit = { run: summaries(results, "run"), patches: summaries(results, "patches") };
    panels.push({ nodes, pairs: pairsName, byUnit, results });
  }
}
model.dispose();

await writeReport(panels, options.out, options.picture);
for (const unit of UNITS) for (const panel of panels) console.log(`\n${panelText(panel, unit)}`);
const { user, system } = process.cpuUsage();
console.log(
  `\n${seconds()} s, ${((user + system) / 1e6).toFixed(0)} s of processor; files in ${options.out}`,
);
