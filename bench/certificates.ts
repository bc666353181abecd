/**
 * @file What certificates cost, and whether they are right: for each behaviour and all its q, k, v, z and mlpOut nodes at each position
 * (or others, with `--nodes`; and neurons, with `--neurons`), the top 20 made certain with 99 % confidence; beside it what patching
 * every node costs, how many of the true top 20 are there, with the certificate and in the list that plain `localize` gives; and how
 * many samples the control variate saves.
 *
 * The exact effects of all nodes are kept in atp-out/truth. What patching every node costs is reckoned: the FLOPs that a sweep runs
 * for each node by itself, see `baselines/node-cost.ts`.
 *
 *   npx tsx bench/certificates.ts [tensorflow|wasm] [--model FOLDER|FILE|ID --pairs FILE… --metric logit-diff]
 *                                 [--pairs-per-behaviour 16] [--nodes q,k,v,z,mlpOut] [--neurons] [--out atp-out/certificates]
 *
 * writes certificates.csv. What the options mean: `recall-study.ts`. Certificates need pairs of one length: of a file with several
 * those that are as long as its first.
 */

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import Table from "cli-table3";
import type { LookBound } from "../src/bounds/certificate.js";
import { localize } from "../src/localize.js";
import { makeNodeSpace } from "../src/nodes/node-space.js";
import { orderByContribution } from "../src/nodes/order.js";
import { positionLabels } from "../src/nodes/positions.js";
import { samplePairs } from "../src/prompts/sample-pairs.js";
import { streamCsv } from "../src/report/stream-csv.js";
import { costsOfNodes } from "./baselines/node-cost.js";
import { sumOf } from "./baselines/study.js";
import { exactContributions } from "./exact-contributions.js";
import { recall } from "./rank-agreement.js";
import { type Behaviour, describeStudy, openStudy } from "./recall-study.js";
import { timed } from "./timing.js";

const TOP = 20;
const CONFIDENCE = 0.99;
const SEED = 0;

const study = await openStudy<{ neurons?: true }>(
  { name: "certificates", pairsPerBehaviour: 16, nodes: "q,k,v,z,mlpOut" },
  (command) => command.option("--neurons", "neurons too"),
);
const { model } = study.truth;
const sites = [...study.sites, ...(study.own.neurons ? (["neuron"] as const) : [])];

/** Forecast with the control variate ÷ without, at the last look that has both. */
function saved(
  looks: readonly { readonly plain: LookBound; readonly controlled: LookBound }[],
): number | undefined {
  const both = looks
    .filter(({ plain, controlled }) => plain.samplesNeeded && controlled.samplesNeeded)
    .at(-1);
  if (!both?.plain.samplesNeeded || !both.controlled.samplesNeeded) return undefined;
  return both.controlled.samplesNeeded / both.plain.samplesNeeded;
}

/** What a row of the table and of the file is made of; undefined where there is no such number. */
interface Row {
  readonly behaviour: string;
  readonly pairs: number;
  readonly nodes: number;
  readonly allNodes: number;
  readonly certificate: number;
  readonly certified: boolean;
  /** Of the true top, in the list with a certificate and in that of plain `localize`. */
  readonly found: number;
  readonly foundPlain: number;
  readonly verified: number;
  readonly looks: number;
  readonly rSquared?: number;
  readonly saved?: number;
  readonly seconds: number;
}

async function certified({ name, metric, pairs: all }: Behaviour): Promise<Row> {
  const T = all[0].clean.length;
  const pairs = samplePairs(
    all.filter(({ clean }) => clean.length === T),
    study.pairsPerBehaviour,
    SEED,
  );
  const space = makeNodeSpace(model.config, sites, positionLabels("each", pairs));
  const truth = await exactContributions(study.truth, pairs, space, metric);
  const trueOrder = orderByContribution(space.size, (node) => truth[node]);
  const inTop = (order: ArrayLike<number>) => TOP * recall(trueOrder, order, TOP, TOP);

  const selection = { nodes: sites, metric, topK: TOP };
  const plain = await localize(model, pairs, selection);
  let result: Awaited<ReturnType<typeof localize>> | undefined;
  const { clock } = await timed(async () => {
    result = await localize(model, pairs, { ...selection, confidence: CONFIDENCE, seed: SEED });
  });
  const certificate = result?.certificate;
  if (!result || !certificate) throw new Error("expected a certificate, got none");
  const { cost, nodes, sampling } = certificate;
  const looks = sampling?.looks ?? [];
  const unpatched = 2 * pairs.length;
  return {
    behaviour: name,
    pairs: pairs.length,
    nodes: nodes.total,
    allNodes:
      unpatched + sumOf(costsOfNodes(model.config, pairs, space, Uint32Array.from(trueOrder).sort())).run,
    certificate: cost.estimate + cost.verify + cost.sample,
    certified: certificate.certified,
    found: inTop(result.order),
    foundPlain: inTop(plain.order),
    verified: nodes.verified,
    looks: looks.length,
    rSquared: looks.at(-1)?.controlled.rSquared,
    saved: saved(looks),
    seconds: clock,
  };
}

function tableOf(rows: readonly Row[]): string {
  const table = new Table({
    head: [
      "behaviour",
      "nodes",
      "all nodes, f.e.",
      "certificate, f.e.",
      "÷",
      "certain",
      `true top ${TOP} in it`,
      "in the plain list",
      "verified",
      "looks",
      "R²",
      "samples, controlled ÷ plain",
      "s",
    ],
    style: { head: [], border: [], compact: true },
  });
  for (const row of rows) {
    table.push([
      row.behaviour,
      row.nodes,
      row.allNodes.toFixed(0),
      row.certificate.toFixed(0),
      (row.certificate / row.allNodes).toFixed(2),
      row.certified ? (row.verified === row.nodes ? "yes, all verified" : "yes") : "no",
      row.found,
      row.foundPlain,
      row.verified,
      row.looks,
      row.rSquared?.toFixed(2) ?? "",
      row.saved?.toFixed(2) ?? "",
      row.seconds.toFixed(1),
    ]);
  }
  return table.toString();
}

async function writeFile(rows: readonly Row[]): Promise<string> {
  await mkdir(study.out, { recursive: true });
  const path = join(study.out, "certificates.csv");
  await streamCsv(path, {
    header: [
      "behaviour",
      "pairs",
      "nodes",
      "all_nodes_fe",
      "certificate_fe",
      "certain",
      "true_top_found",
      "true_top_found_plain",
      "verified",
      "looks",
      "r_squared",
      "samples_controlled_over_plain",
      "seconds",
    ],
    rows,
    cellsOf: (row) =>
      [
        row.behaviour,
        row.pairs,
        row.nodes,
        row.allNodes.toFixed(2),
        row.certificate.toFixed(2),
        row.certified,
        row.found,
        row.foundPlain,
        row.verified,
        row.looks,
        row.rSquared ?? "",
        row.saved ?? "",
        row.seconds.toFixed(2),
      ].map(String),
  });
  return path;
}

console.log(`${describeStudy(study)}; at most ${study.pairsPerBehaviour} pairs each, ${100 * CONFIDENCE} %`);
const rows: Row[] = [];
for (const behaviour of study.behaviours) {
  const row = await certified(behaviour);
  console.log(
    `${row.behaviour}: ${row.pairs} pairs, ${row.nodes} nodes, ${row.certified ? "certain" : "not certain"} after ${row.seconds.toFixed(0)} s`,
  );
  rows.push(row);
}
model.dispose();
console.log(tableOf(rows));
console.log(`Also in ${await writeFile(rows)}`);
