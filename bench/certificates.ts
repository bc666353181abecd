/**
 * @file What certificates cost, and whether they are right: for each behaviour of the demo model and all its q, k, v, z and
 * mlpOut nodes at each position (and neurons, with `--neurons`), the top 20 made certain with 99 % confidence; beside it what
 * patching every node costs and which the true top 20 are; and how many samples the control variate saves.
 *
 *   npx tsx bench/certificates.ts [tensorflow|wasm] [--neurons] [--pairs 16]
 */

import { parseArgs } from "node:util";
import Table from "cli-table3";
import type { LookBound } from "../src/bounds/certificate.js";
import { loadModel } from "../src/checkpoint/load-model.js";
import { startEngine } from "../src/engine/start-engine.js";
import { localize, sweep } from "../src/localize.js";
import { type Ranking, rankedNodes } from "../src/nodes/ranking.js";
import { metricByName } from "../src/prompts/metrics/index.js";
import { readPairs } from "../src/prompts/read-pairs.js";
import { samplePairs } from "../src/prompts/sample-pairs.js";
import { timed } from "./timing.js";

const TOP = 20;
const CONFIDENCE = 0.99;
const SEED = 0;
const METRIC = "logit-diff";
const BEHAVIOURS = ["ioi", "city", "greater", "induction", "agreement", "article", "pronoun"];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { neurons: { type: "boolean", default: false }, pairs: { type: "string", default: "16" } },
});
const [prefer] = positionals;
if (prefer !== "tensorflow" && prefer !== "wasm") throw new Error("expected an engine: tensorflow or wasm");
const engine = await startEngine({ prefer });
const model = await loadModel("models/demo");

function topOf(ranking: Ranking): Set<string> {
  return new Set([...rankedNodes(ranking, { limit: TOP })].map(({ node }) => node));
}

/** Forecast with the control variate ÷ without, at the last look that has both. */
function saved(looks: readonly { readonly plain: LookBound; readonly controlled: LookBound }[]): string {
  const both = looks
    .filter(({ plain, controlled }) => plain.samplesNeeded && controlled.samplesNeeded)
    .at(-1);
  if (!both?.plain.samplesNeeded || !both.controlled.samplesNeeded) return "";
  return (both.controlled.samplesNeeded / both.plain.samplesNeeded).toFixed(2);
}

const table = new Table({
  head: [
    "behaviour",
    "nodes",
    "all nodes, f.e.",
    "certificate, f.e.",
    "÷",
    "certain",
    "true top 20 in it",
    "verified",
    "looks",
    "R²",
    "samples, controlled ÷ plain",
    "s",
  ],
  style: { head: [], border: [], compact: true },
});
for (const behaviour of BEHAVIOURS) {
  const all = await readPairs(`models/demo/pairs/${behaviour}.jsonl`, model, metricByName(METRIC).needs);
  const T = all[0].clean.length;
  const pairs = samplePairs(
    all.filter(({ clean }) => clean.length === T),
    Math.min(Number(values.pairs), all.length),
    SEED,
  );
  const selection = { nodes: `q,k,v,z,mlpOut${values.neurons ? ",neuron" : ""}`, metric: METRIC };
  const truth = await sweep(model, pairs, selection);
  let result: Awaited<ReturnType<typeof localize>> | undefined;
  const { clock } = await timed(async () => {
    result = await localize(model, pairs, { ...selection, topK: TOP, confidence: CONFIDENCE, seed: SEED });
  });
  const certificate = result?.certificate;
  if (!result || !certificate) throw new Error("expected a certificate, got none");
  const { cost, nodes, sampling } = certificate;
  const spent = cost.estimate + cost.verify + cost.sample;
  const found = topOf(result);
  const looks = sampling?.looks ?? [];
  table.push([
    behaviour,
    nodes.total,
    truth.forwardEquivalents.verify.toFixed(0),
    spent.toFixed(0),
    (spent / truth.forwardEquivalents.verify).toFixed(2),
    certificate.certified ? (nodes.verified === nodes.total ? "yes, all verified" : "yes") : "no",
    [...topOf(truth)].filter((node) => found.has(node)).length,
    nodes.verified,
    looks.length,
    looks.at(-1)?.controlled.rSquared.toFixed(2) ?? "",
    saved(looks),
    clock.toFixed(1),
  ]);
}
console.log(`${engine.backend} (${engine.device}); ${values.pairs} pairs each, ${100 * CONFIDENCE} %`);
console.log(table.toString());
model.dispose();
