/**
 * @file How well the gradient methods find what matters: their estimated contributions against exact ones of all q, k, v, z and
 * neuron nodes at each position (or others, with `--nodes`), noising.
 *
 * - Spearman's rank correlation over all nodes, over queries and over keys. A third to three quarters of the nodes have an
 *   effect of exactly 0, most because they come before the first changed token or the metric does not see them. They are
 *   included, and share one mid-rank. Every method gets them right for nothing, and the order of the smallest effects is that of
 *   float32's rounding, so there is a column of the nodes with a true contribution above 1e-5 too.
 * - Recall: the share of the true top 10, 20, 30 and 100 among the first 1, 2 and 5 times as many candidates ("10 in 20" is
 *   the share of the top 10 among the first 20).
 * - After how many candidates all of the true top 10, 20, 50 and 100 are found: where the worst-placed one is.
 *
 * The exact effects take minutes and are kept in atp-out/truth for the next run.
 *
 *   npx tsx bench/method-recall.ts [tensorflow|wasm] [--model FOLDER|FILE|ID --pairs FILE… --metric logit-diff]
 *                                  [--pairs-per-behaviour 8] [--nodes q,k,v,z,neuron] [--out atp-out/method-recall]
 *
 * writes method-recall.csv, a row per behaviour and method. What the options mean: `recall-study.ts`.
 */

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import Table from "cli-table3";
import { estimateBy } from "../src/atpstar/estimate.js";
import { METHODS } from "../src/atpstar/methods.js";
import type { Site } from "../src/model/sites.js";
import { makeNodeSpace, type NodeSpace } from "../src/nodes/node-space.js";
import { orderByContribution } from "../src/nodes/order.js";
import { positionLabels } from "../src/nodes/positions.js";
import { contribution } from "../src/nodes/score-table.js";
import { samplePairs } from "../src/prompts/sample-pairs.js";
import { streamCsv } from "../src/report/stream-csv.js";
import { BATCH, exactContributions, NOISE } from "./exact-contributions.js";
import { foundAfter, recall, spearman } from "./rank-agreement.js";
import { geometricMean } from "./recall-cost.js";
import { type Behaviour, describeStudy, openStudy } from "./recall-study.js";

const TOPS = [10, 20, 30, 100];
const CANDIDATES_PER_TOP = [1, 2, 5];
/** Of which all are looked for. */
const WHOLE_TOPS = [10, 20, 50, 100];
const SEED = 1;

const study = await openStudy({ name: "method-recall", pairsPerBehaviour: 8, nodes: "q,k,v,z,neuron" });
const { model } = study.truth;

/** What is looked at by itself too. */
const PARTS = (["q", "k"] as const).filter((site) => study.sites.includes(site));
const CORRELATIONS = ["all", ...PARTS].flatMap((nodes) => [nodes, `${nodes} > 1e-5`]);
const RECALLS = TOPS.flatMap((top) => CANDIDATES_PER_TOP.map((times) => `${top} in ${top * times}`));
const WHOLE = WHOLE_TOPS.map((top) => `all of ${top}`);

/** What is measured of one method on one behaviour, in the order of the columns. */
interface Agreement {
  readonly correlations: readonly number[];
  readonly recalls: readonly number[];
  readonly foundAfter: readonly number[];
}

interface Measured {
  readonly behaviour: string;
  readonly pairs: number;
  readonly nodes: number;
  /** In the order of METHODS. */
  readonly byMethod: readonly Agreement[];
}

function agreement(space: NodeSpace, truth: Float64Array, estimated: Float64Array): Agreement {
  const sitesOfParts: readonly (readonly Site[])[] = [study.sites, ...PARTS.map((site) => [site])];
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
  return {
    correlations,
    recalls,
    foundAfter: WHOLE_TOPS.map((top) => foundAfter(trueOrder, order, Math.min(top, space.size))),
  };
}

async function measureBehaviour({ name, metric, pairs: all }: Behaviour): Promise<Measured> {
  const start = performance.now();
  const pairs = samplePairs(all, study.pairsPerBehaviour, SEED);
  const space = makeNodeSpace(model.config, study.sites, positionLabels("each", pairs));
  const truth = await exactContributions(study.truth, pairs, space, metric);
  const exactSeconds = (performance.now() - start) / 1000;
  const byMethod: Agreement[] = [];
  for (const method of METHODS) {
    const options = { metric, direction: "noising" as const, batchSize: BATCH, space };
    const { scores } = await estimateBy(method, model, pairs, options);
    const estimated = Float64Array.from({ length: space.size }, (_, node) => contribution(scores, node));
    byMethod.push(agreement(space, truth, estimated));
  }
  const zeros = truth.filter((value) => value === 0).length;
  const large = truth.filter((value) => value > NOISE).length;
  const seconds = (performance.now() - start) / 1000;
  console.log(
    `${name}: ${pairs.length} pairs, ${space.size} nodes, ${zeros} of them exactly 0, ${large} above 1e-5, ` +
      `${seconds.toFixed(0)} s, of these ${exactSeconds.toFixed(0)} s for the exact effects`,
  );
  return { behaviour: name, pairs: pairs.length, nodes: space.size, byMethod };
}

/** Rows of every behaviour and method, and of the means over behaviours. */
function printTable(
  headings: readonly string[],
  measured: readonly Measured[],
  pick: (one: Agreement) => readonly number[],
  { decimals, mean }: { decimals: number; mean: (values: readonly number[]) => number },
): void {
  const table = new Table({
    head: ["behaviour", "method", ...headings],
    style: { head: [], border: [], compact: true },
    colAligns: ["left", "left", ...headings.map(() => "right" as const)],
  });
  const behaviours = measured.map(({ behaviour, byMethod }) => [behaviour, byMethod.map(pick)] as const);
  const means = METHODS.map((_, m) =>
    headings.map((_heading, column) => mean(behaviours.map(([, byMethod]) => byMethod[m][column]))),
  );
  for (const [name, byMethod] of [...behaviours, ["mean", means] as const]) {
    METHODS.forEach((method, m) => {
      table.push([name, method, ...byMethod[m].map((value) => value.toFixed(decimals))]);
    });
  }
  console.log(table.toString());
}

const arithmeticMean = (values: readonly number[]) =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

async function writeFile(measured: readonly Measured[]): Promise<string> {
  await mkdir(study.out, { recursive: true });
  const path = join(study.out, "method-recall.csv");
  await streamCsv(path, {
    header: ["behaviour", "pairs", "nodes", "method", ...CORRELATIONS, ...RECALLS, ...WHOLE],
    rows: measured.flatMap(({ byMethod, ...of }) => byMethod.map((one, m) => ({ ...of, ...one, m }))),
    cellsOf: ({ behaviour, pairs, nodes, m, correlations, recalls, foundAfter: whole }) =>
      [behaviour, pairs, nodes, METHODS[m], ...correlations, ...recalls, ...whole].map(String),
  });
  return path;
}

console.log(describeStudy(study));
const measured: Measured[] = [];
for (const behaviour of study.behaviours) measured.push(await measureBehaviour(behaviour));
model.dispose();
console.log("Spearman's rank correlation with exact contributions");
printTable(CORRELATIONS, measured, ({ correlations }) => correlations, { decimals: 3, mean: arithmeticMean });
console.log("Recall of the true top");
printTable(RECALLS, measured, ({ recalls }) => recalls, { decimals: 2, mean: arithmeticMean });
console.log("Candidates until all of the true top are among them (mean: geometric)");
printTable(WHOLE, measured, (one) => one.foundAfter, { decimals: 0, mean: geometricMean });
console.log(`Also in ${await writeFile(measured)}`);
