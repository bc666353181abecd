/**
 * @file What a list says of itself, and whether it was right: for each behaviour the list that `localize` gives, the 20 best by
 * estimate verified, and its statement of which unverified nodes could belong above row 20 and which rows are safe from them, against
 * the exact effects of all nodes. The statement is right if every node of the true top 20 that is not verified stands no further
 * down than it says, and the rows that it calls safe are the true first ones. Then what its command leads to: the list is verified as
 * far down as it says, again and again, until it leaves nothing open.
 *
 *   npx tsx bench/list-agreement.ts [tensorflow|wasm] [--model FOLDER|FILE|ID --pairs FILE… --metric logit-diff]
 *                                   [--pairs-per-behaviour 8] [--nodes q,k,v,z,mlpOut] [--method 'atp*'] [--out atp-out/list-agreement]
 *
 * writes list-agreement.csv. What the options mean: `recall-study.ts`. Exact effects are kept in atp-out/truth.
 */

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import Table from "cli-table3";
import { Option } from "commander";
import { estimateBy } from "../src/atpstar/estimate.js";
import { METHODS, type Method } from "../src/atpstar/methods.js";
import { type Agreement, agreementOf } from "../src/bounds/agreement.js";
import { DEFAULT_METHOD, DEFAULT_TOP_K } from "../src/localize.js";
import { makeNodeSpace, type NodeSpace } from "../src/nodes/node-space.js";
import { orderByContribution } from "../src/nodes/order.js";
import { positionLabels } from "../src/nodes/positions.js";
import { rankNodes } from "../src/nodes/ranking.js";
import { addScore, makeScoreTable, type ScoreTable } from "../src/nodes/score-table.js";
import { samplePairs } from "../src/prompts/sample-pairs.js";
import { streamCsv } from "../src/report/stream-csv.js";
import { BATCH, exactContributions } from "./exact-contributions.js";
import { type Behaviour, describeStudy, openStudy } from "./recall-study.js";

const SEED = 1;

const study = await openStudy<{ method: Method }>(
  { name: "list-agreement", pairsPerBehaviour: 8, nodes: "q,k,v,z,mlpOut" },
  (command) =>
    command.addOption(
      new Option("--method <name>", "of the estimates").choices(METHODS).default(DEFAULT_METHOD),
    ),
);
const { model } = study.truth;

/** The list of which some nodes are verified. */
interface List {
  readonly order: Uint32Array;
  readonly verified: ReadonlySet<number>;
  /** Absent where everything is verified. */
  readonly agreement?: Agreement;
}

function listOf(space: NodeSpace, estimates: ScoreTable, truth: Float64Array, nodes: Uint32Array): List {
  const scores = makeScoreTable(nodes.length);
  // The order and the statement are made of contributions, which are all that the truth has.
  nodes.forEach((node, row) => {
    addScore(scores, row, truth[node]);
  });
  const verified = { nodes, scores };
  const order = rankNodes(space, estimates, verified);
  const agreement = agreementOf({ space, order, estimates, verified }, DEFAULT_TOP_K);
  return { order, verified: new Set(nodes), ...(agreement && { agreement }) };
}

const COLUMNS = [
  "behaviour",
  "pairs",
  "nodes",
  "rank correlation",
  "largest factor",
  "could belong above row 20",
  "down to rank",
  "safe rows",
  "true top 20 not verified",
  "the last of them at rank",
  "right",
  "safe rows right",
  "verified until nothing is open",
  "true top 20 in them",
] as const;

async function measure({ name, metric, pairs: all }: Behaviour): Promise<string[]> {
  const pairs = samplePairs(all, study.pairsPerBehaviour, SEED);
  const space = makeNodeSpace(model.config, study.sites, positionLabels("each", pairs));
  const truth = await exactContributions(study.truth, pairs, space, metric);
  const options = { metric, direction: "noising" as const, batchSize: BATCH, space };
  const { scores: estimates } = await estimateBy(study.own.method, model, pairs, options);
  const byEstimate = rankNodes(space, estimates, undefined);
  const trueOrder = orderByContribution(space.size, (node) => truth[node]);
  const trueTop = [...trueOrder.subarray(0, DEFAULT_TOP_K)];

  const first = listOf(space, estimates, truth, byEstimate.slice(0, DEFAULT_TOP_K));
  const { agreement, order } = first;
  if (!agreement) throw new Error("expected nodes that are not verified, got none");
  const missing = trueTop.filter((node) => !first.verified.has(node));
  const worst = Math.max(0, ...missing.map((node) => order.indexOf(node) + 1));
  const { settledRows, lastRank = 0, mostUnderestimated, rankCorrelation = Number.NaN } = agreement;
  const safe = trueOrder.subarray(0, settledRows).every((node, place) => order[place] === node);

  let settled: List = first;
  while (settled.agreement?.lastRank !== undefined) {
    const next = new Set([...settled.verified, ...settled.order.subarray(0, settled.agreement.lastRank)]);
    settled = listOf(space, estimates, truth, Uint32Array.from(next));
  }
  return [
    name,
    String(pairs.length),
    String(space.size),
    rankCorrelation.toFixed(2),
    mostUnderestimated?.factor?.toFixed(1) ?? "",
    String(agreement.reachable),
    String(agreement.lastRank ?? ""),
    String(settledRows),
    String(missing.length),
    missing.length > 0 ? String(worst) : "",
    worst <= lastRank ? "yes" : "no",
    safe ? "yes" : "no",
    String(settled.verified.size),
    String(trueTop.filter((node) => settled.verified.has(node)).length),
  ];
}

console.log(`${describeStudy(study)}, ${study.own.method}`);
const rows: string[][] = [];
for (const behaviour of study.behaviours) rows.push(await measure(behaviour));
model.dispose();
const table = new Table({
  head: [...COLUMNS],
  style: { head: [], border: [], compact: true },
  wordWrap: true,
  colWidths: COLUMNS.map((_, column) => (column === 0 ? 13 : 12)),
  colAligns: COLUMNS.map((_, column) => (column === 0 ? "left" : "right")),
});
table.push(...rows);
console.log(table.toString());
await mkdir(study.out, { recursive: true });
const path = join(study.out, "list-agreement.csv");
await streamCsv(path, { header: COLUMNS, rows, cellsOf: (row: string[]) => row });
console.log(`Also in ${path}`);
