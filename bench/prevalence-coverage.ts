/**
 * @file How often a prevalence bound is wrong, against the level it claims, and what it says: on the demo model, where the
 * effect of every node is known. Of one behaviour all q, k, v, z and mlpOut nodes at each position; the best 20 by AtP* count
 * as verified. θ is the contribution of the 3rd, 10th, 30th, 100th of the others, so that K of them reach it; and one that
 * none reaches. Samples are drawn thousands of times, their effects read from the table.
 *
 * Designs: a uniform sample, with Clopper and Pearson's bound and with that for samples without replacement; strata by
 * AtP*, with a bound for each at a Bonferroni level, summed, and with the bound for all together; and the last one with
 * estimates that were dealt out to the wrong nodes.
 *
 *   npx tsx bench/prevalence-coverage.ts <tensorflow|wasm> [--short]
 */

import Table from "cli-table3";
import { uniformInt } from "pure-rand/distribution/uniformInt";
import { mersenne } from "pure-rand/generator/mersenne";
import { estimateBy } from "../src/atpstar/estimate.js";
import { clopperPearsonUpper } from "../src/bounds/clopper-pearson.js";
import { hypergeometricUpper, type SampleCount } from "../src/bounds/hypergeometric.js";
import { planStrata, type Stratum } from "../src/bounds/strata.js";
import { stratifiedUpper } from "../src/bounds/stratified-count.js";
import { loadModel } from "../src/checkpoint/load-model.js";
import { startEngine } from "../src/engine/start-engine.js";
import { makeNodeSpace } from "../src/nodes/node-space.js";
import { orderByContribution } from "../src/nodes/order.js";
import { positionLabels } from "../src/nodes/positions.js";
import { contribution, makeScoreTable, type ScoreTable } from "../src/nodes/score-table.js";
import { metricByName } from "../src/prompts/metrics/index.js";
import { readPairs } from "../src/prompts/read-pairs.js";
import { samplePairs } from "../src/prompts/sample-pairs.js";
import { BATCH, digestOfOrigin, exactContributions } from "./exact-contributions.js";

const MODEL = "models/demo";
const BEHAVIOUR = "ioi";
const SITES = ["q", "k", "v", "z", "mlpOut"] as const;
const VERIFIED = 20;
const REACHED = [0, 3, 10, 30, 100];
const LEVEL = 0.95;
/** Shares of the unverified nodes that are drawn. */
const BUDGETS = [0.03, 0.1, 0.25];
const SEED = 1;

const [, , prefer, ...flags] = process.argv;
if (prefer !== "tensorflow" && prefer !== "wasm") throw new Error("expected an engine: tensorflow or wasm");
const short = flags.includes("--short");
const repetitions = short ? 100 : 5000;
/** Of the search for the budget that gives the same bound. */
const searchRepetitions = short ? 20 : 300;

const engine = await startEngine({ prefer });
const model = await loadModel(MODEL);
const metric = metricByName("logit-diff");
const all = await readPairs(`${MODEL}/pairs/${BEHAVIOUR}.jsonl`, model, metric.needs);
const pairs = samplePairs(all, short ? 2 : 8, SEED);
const space = makeNodeSpace(model.config, SITES, positionLabels("each", pairs));
const origin = { model, digest: digestOfOrigin(MODEL, engine.backend) };
const truth = await exactContributions(origin, pairs, space, metric);
const { scores: estimates } = await estimateBy("atp*", model, pairs, {
  metric,
  direction: "noising",
  batchSize: BATCH,
  space,
});
model.dispose();

const byEstimate = orderByContribution(space.size, (node) => contribution(estimates, node));
const unverified = byEstimate.slice(VERIFIED).sort();
const trueOrder = orderByContribution(unverified.length, (place) => truth[unverified[place]]);
const contributions = Array.from(trueOrder, (place) => truth[unverified[place]]);
/** The contribution of the K-th; for none, twice that of the first. */
const thetaOf = (reached: number) => (reached === 0 ? 2 * contributions[0] : contributions[reached - 1]);

/** The same estimates, each of another node. */
function dealtOut(table: ScoreTable): ScoreTable {
  const random = mersenne(SEED);
  const dealt = makeScoreTable(table.size);
  const from = Uint32Array.from({ length: table.size }, (_, node) => node);
  for (let place = 0; place < table.size; place++) {
    const other = uniformInt(random, place, table.size - 1);
    [from[place], from[other]] = [from[other], from[place]];
    dealt.sumAbs[place] = table.sumAbs[from[place]];
    dealt.count[place] = table.count[from[place]];
  }
  return dealt;
}

interface Design {
  readonly name: string;
  readonly estimates?: ScoreTable;
  readonly upper: (strata: readonly SampleCount[]) => number;
}

const DESIGNS: readonly Design[] = [
  {
    name: "uniform, Clopper–Pearson",
    upper: ([{ size, sampled, found }]) => Math.floor(size * clopperPearsonUpper(found, sampled, LEVEL)),
  },
  { name: "uniform", upper: ([only]) => hypergeometricUpper(only, LEVEL) },
  {
    name: "strata, Bonferroni",
    estimates,
    upper: (strata) => {
      // Where all are drawn nothing can be wrong, and no part of the level is needed.
      const open = strata.filter(({ size, sampled }) => sampled < size).length;
      const level = 1 - (1 - LEVEL) / Math.max(1, open);
      return strata.reduce((sum, stratum) => sum + hypergeometricUpper(stratum, level), 0);
    },
  },
  { name: "strata, together", estimates, upper: (strata) => stratifiedUpper(strata, LEVEL) },
  {
    name: "strata, together, wrong estimates",
    estimates: dealtOut(estimates),
    upper: (strata) => stratifiedUpper(strata, LEVEL),
  },
];

interface Outcome {
  /** Share of the samples whose bound is below the truth. */
  readonly violations: number;
  /** Means: the bound, what was found, and the bound on what was not drawn. */
  readonly bound: number;
  readonly found: number;
  readonly left: number;
}

/** Samples of a design, in turn; every one is used for all θ. */
function outcomesOf({ estimates, upper }: Design, budget: number, repetitions: number): Outcome[] {
  const thetas = REACHED.map(thetaOf);
  const sums = REACHED.map(() => ({ violations: 0, bound: 0, found: 0 }));
  const known = new Map<string, number>();
  for (let seed = 0; seed < repetitions; seed++) {
    const strata = planStrata(unverified, { budget, seed, ...(estimates && { estimates }) });
    thetas.forEach((theta, t) => {
      const counts = strata.map((stratum) => countOf(stratum, theta));
      const key = counts.map(({ found }) => found).join();
      const bound = known.get(key) ?? upper(counts);
      known.set(key, bound);
      if (bound < REACHED[t]) sums[t].violations++;
      sums[t].bound += bound;
      sums[t].found += counts.reduce((sum, { found }) => sum + found, 0);
    });
  }
  return sums.map((sum) => ({
    violations: sum.violations / repetitions,
    bound: sum.bound / repetitions,
    found: sum.found / repetitions,
    left: (sum.bound - sum.found) / repetitions,
  }));
}

function countOf({ size, sample }: Stratum, theta: number): SampleCount {
  let found = 0;
  for (const node of sample) if (truth[node] >= theta) found++;
  return { size, sampled: sample.length, found };
}

/** The smallest budget whose mean is as small as wanted; undefined if not even all but one are enough. */
function budgetFor(
  design: Design,
  pick: (outcome: Outcome) => number,
  wanted: readonly number[],
): (number | undefined)[] {
  return REACHED.map((_, t) => {
    const isEnough = (budget: number) => pick(outcomesOf(design, budget, searchRepetitions)[t]) <= wanted[t];
    let [low, high] = [0, unverified.length - 1];
    if (!isEnough(high)) return undefined;
    // To 1 %: means of a few hundred samples are not known better.
    while (high - low > Math.max(1, high / 100)) {
      const middle = Math.floor((low + high) / 2);
      if (isEnough(middle)) high = middle;
      else low = middle;
    }
    return high;
  });
}

function tableWith(head: readonly string[]) {
  return new Table({
    head: [...head],
    style: { head: [], border: [], compact: true },
    colAligns: ["left", "left", ...head.slice(2).map(() => "right" as const)],
  });
}

console.log(
  `${engine.backend}: ${BEHAVIOUR}, ${pairs.length} pairs, ${unverified.length} unverified nodes, ${repetitions} samples each, level ${LEVEL}`,
);
for (const [t, reached] of REACHED.entries()) {
  console.log(`${reached} nodes reach θ = ${thetaOf(REACHED[t]).toPrecision(3)}`);
}
const plan = (budget: number) =>
  planStrata(unverified, { budget, seed: 0, estimates })
    .map(({ size, sample }) => `${sample.length} of ${size}`)
    .join(", ");

const coverage = tableWith(["drawn", "design", ...REACHED.map((reached) => `wrong, ${reached}`)]);
const bounds = tableWith(["drawn", "design", ...REACHED.map((reached) => `bound, ${reached} (left)`)]);
const needed = tableWith(["drawn", "design", ...REACHED.map((reached) => `${reached}`)]);
for (const share of BUDGETS) {
  const budget = Math.round(share * unverified.length);
  console.log(`strata of ${budget} drawn nodes: ${plan(budget)}`);
  const outcomes = DESIGNS.map((design) => outcomesOf(design, budget, repetitions));
  DESIGNS.forEach(({ name }, d) => {
    coverage.push([budget, name, ...outcomes[d].map(({ violations }) => violations.toFixed(4))]);
    bounds.push([
      budget,
      name,
      ...outcomes[d].map(({ bound, left }) => `${bound.toFixed(1)} (${left.toFixed(1)})`),
    ]);
  });
  const [, uniform, , together] = DESIGNS;
  for (const [what, pick] of [
    ["on all", ({ bound }: Outcome) => bound],
    ["on those not drawn", ({ left }: Outcome) => left],
  ] as const) {
    const wanted = outcomes[DESIGNS.indexOf(uniform)].map(pick);
    const budgets = budgetFor(together, pick, wanted);
    needed.push([
      budget,
      `same bound ${what}`,
      ...budgets.map((nodes) => (nodes === undefined ? "never" : (nodes / budget).toFixed(2))),
    ]);
  }
}
console.log(`Share of samples whose bound is below the truth; claimed: at most ${(1 - LEVEL).toFixed(2)}`);
console.log(coverage.toString());
console.log("Mean bound on how many nodes reach θ, and of these on how many were not drawn");
console.log(bounds.toString());
console.log("Samples that strata (together) need ÷ those of a uniform sample, for the same mean bound");
console.log(needed.toString());
