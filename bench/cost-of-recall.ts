/**
 * @file How much has to be spent until all of the true top k nodes are verified, by every method, relative to an oracle that
 * verifies nothing else; after Kramár et al. 2024, figures 1 and 2.
 *
 * Noising; for single pairs (three per behaviour, geometric mean) and for the mean over eight of them; for heads and MLPs
 * (`q k v z mlpOut`, or others with `--nodes`) at each position, with `--neurons` for neurons too. Nodes that cannot have an effect,
 * before the first changed token for one, are known beforehand and left out: they would only make the methods without gradients look
 * worse. Subsets, blocks and trees are tried in several settings, and the best one counts for each kind of nodes and pairs, as
 * known afterwards.
 *
 * One number per curve: the geometric mean over k, weighted by 1/k. Curves end at k = 200, or where true contributions
 * are rounding (1e-5). Exact effects of single nodes are kept in atp-out/truth for the next run.
 *
 *   npx tsx bench/cost-of-recall.ts [tensorflow|wasm] [--model FOLDER|FILE|ID --pairs FILE… --metric logit-diff]
 *                                   [--pairs-per-behaviour 8] [--nodes q,k,v,z,mlpOut] [--neurons] [--short]
 *                                   [--out atp-out/cost-of-recall] [--picture file.svg]
 *
 * writes curves.csv, means.csv and a picture per unit; --picture writes the one of what ran to another place too. What the options
 * mean: `recall-study.ts`. --short takes one single pair per behaviour and fewer settings, those that do best: on a real model all of
 * them take ten minutes of processor for each behaviour with four pairs, these one and a half.
 */

import type { Site } from "../src/model/sites.js";
import { makeNodeSpace } from "../src/nodes/node-space.js";
import { positionLabels } from "../src/nodes/positions.js";
import type { Pair } from "../src/prompts/pair.js";
import { oracle } from "./baselines/in-order.js";
import { type Baseline, outcomesOf, type Settings } from "./baselines/methods.js";
import { bestFirst, candidatesOf, type Study, type Task } from "./baselines/study.js";
import { type Panel, panelText, writeReport } from "./cost-of-recall-report.js";
import { BATCH, exactContributions, NOISE } from "./exact-contributions.js";
import { costOfRecall } from "./recall-cost.js";
import { meanCosts, type RelativeCosts, type Result, summaries, UNITS, type Unit } from "./recall-results.js";
import { type Behaviour, describeStudy, openStudy, sampleOf } from "./recall-study.js";

const MOST_K = 200;

interface Kind {
  readonly sites: readonly Site[];
  readonly settings: Settings;
  /** How many single pairs per behaviour. */
  readonly singles: number;
}

/** Some thousand nodes. */
const SETTINGS: Settings = {
  probabilities: [0.03, 0.1, 0.3],
  budgets: [16, 32, 64, 128, 256],
  blockSizes: [4, 8, 16, 32, 64],
  branchings: [2, 4, 8, 16],
};

/** Ten times as many. */
const NEURON_SETTINGS: Settings = {
  probabilities: [0.01, 0.03, 0.1],
  budgets: [64, 128, 256, 512, 1024],
  blockSizes: [32, 128, 512],
  branchings: [4, 8, 32],
};

/**
 * Those that are the best for heads and MLPs on the demo model and, of one pair, on SmolLM2-135M, and neighbours of them that cost
 * little. Trees cut in 2 or 4 and blocks of 4 or 8, which are left out, cost four times what patching every node costs.
 */
const SHORT_SETTINGS: Settings = {
  probabilities: [0.03, 0.1],
  budgets: [32, 64, 128, 256],
  blockSizes: [16, 32],
  branchings: [8],
};

const start = performance.now();
const seconds = () => ((performance.now() - start) / 1000).toFixed(0);
const study = await openStudy<{ neurons?: true; short?: true; picture?: string }>(
  { name: "cost-of-recall", pairsPerBehaviour: 8, nodes: "q,k,v,z,mlpOut" },
  (command) =>
    command
      .option("--neurons", "neurons too")
      .option("--short", "one single pair per behaviour, few settings")
      .option("--picture <file>", "where to write the picture of what ran too"),
);
const { model } = study.truth;
const { neurons, short, picture } = study.own;
const KINDS: readonly Kind[] = [
  { sites: study.sites, settings: short ? SHORT_SETTINGS : SETTINGS, singles: short ? 1 : 3 },
  ...(neurons
    ? [{ sites: ["neuron"] as const, settings: short ? SHORT_SETTINGS : NEURON_SETTINGS, singles: 1 }]
    : []),
];

async function studyOf(
  pairs: readonly Pair[],
  sites: readonly Site[],
  { metric }: Behaviour,
): Promise<Study> {
  const space = makeNodeSpace(model.config, sites, positionLabels("each", pairs));
  const task: Task = { model, pairs, space, control: { metric, direction: "noising", batchSize: BATCH } };
  const { candidates, costs } = candidatesOf(task);
  const contributions = await exactContributions(study.truth, pairs, space, metric);
  return { ...task, candidates, costs, truth: Float64Array.from(candidates, (node) => contributions[node]) };
}

/** Relative costs of every method in every setting, in the same order for every study. */
async function relativeCostsOf(onCase: Study, settings: Settings) {
  const order = bestFirst(onCase.truth);
  const most = Math.min(MOST_K, onCase.truth.filter((value) => value > NOISE).length);
  const best = costOfRecall(order, oracle(onCase).verified, most);
  const found: { method: Baseline; setting: string; relative: RelativeCosts }[] = [];
  for await (const { method, setting, counters } of outcomesOf(onCase, settings)) {
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
  behaviour: Behaviour,
  cases: readonly (readonly Pair[])[],
  { sites, settings }: Kind,
): Promise<Result[]> {
  const ofCases: Awaited<ReturnType<typeof relativeCostsOf>>[] = [];
  for (const pairs of cases) {
    const onCase = await studyOf(pairs, sites, behaviour);
    console.log(
      `${seconds()} s: ${behaviour.name}, ${pairs.length} pair(s), ${onCase.candidates.length} of ${onCase.space.size} ${sites} nodes can have an effect`,
    );
    ofCases.push(await relativeCostsOf(onCase, settings));
  }
  return ofCases[0].map(({ method, setting }, at) => ({
    behaviour: behaviour.name,
    method,
    setting,
    relative: meanCosts(ofCases.map((found) => found[at].relative)),
  }));
}

console.log(describeStudy(study));
const sampled = study.behaviours.map((behaviour) => ({
  behaviour,
  pairs: sampleOf(behaviour, study.pairsPerBehaviour),
}));
const counts = sampled.map(({ pairs }) => pairs.length);
const [fewest, most] = [Math.min(...counts), Math.max(...counts)];
const panels: Panel[] = [];
for (const kind of KINDS) {
  const { sites, singles } = kind;
  const casesOf = [
    [
      singles === 1 ? "a single pair" : "single pairs",
      (pairs: readonly Pair[]) => pairs.slice(0, singles).map((pair) => [pair]),
    ],
    [
      `mean over ${fewest === most ? most : `${fewest} to ${most}`} pairs`,
      (pairs: readonly Pair[]) => [pairs],
    ],
  ] as const;
  for (const [pairsName, cases] of casesOf) {
    const results: Result[] = [];
    for (const { behaviour, pairs } of sampled) {
      results.push(...(await resultsOf(behaviour, cases(pairs), kind)));
    }
    const byUnit = { run: summaries(results, "run"), patches: summaries(results, "patches") };
    panels.push({ nodes: sites.join(" "), pairs: pairsName, byUnit, results });
  }
}
model.dispose();

await writeReport(panels, { folder: study.out, model: model.name, picture });
for (const unit of UNITS) for (const panel of panels) console.log(`\n${panelText(panel, unit)}`);
const { user, system } = process.cpuUsage();
console.log(`\n${seconds()} s, ${((user + system) / 1e6).toFixed(0)} s of processor; files in ${study.out}`);
