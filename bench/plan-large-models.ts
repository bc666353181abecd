/**
 * @file What the plan says of models that few machines hold: 64 pairs on Llama shapes of 7, 70 and 405 billion parameters in
 * BF16, estimated by AtP and AtP*, the first 20 verified, streamed from disk with no layer kept. A table in Markdown.
 *
 * Two machines, each by TFLOP/s of its largest float32 product and GB/s at which stored weights are read and widened.
 *
 *   npx tsx bench/plan-large-models.ts [TFLOP/s GB/s [TFLOP/s GB/s]]
 *
 * Memory is the least with which the run can be made, and the one with which it takes at most a quarter longer than with
 * any: activations then have the smallest power of two in GiB that does it.
 */

import { ConfigFields } from "../src/checkpoint/config-fields.js";
import { familyOf } from "../src/checkpoint/families/registry.js";
import { weightsFootprint } from "../src/checkpoint/footprint.js";
import { sourcesOf } from "../src/checkpoint/weight-plan.js";
import { makeNodeSpace, parseSites } from "../src/nodes/node-space.js";
import { positionLabels } from "../src/nodes/positions.js";
import { planRun, type RunPlan } from "../src/plan/plan-run.js";
import { duration } from "../src/plan/plan-text.js";
import type { PlanQuestion } from "../src/plan/question.js";
import { secondsOf } from "../src/plan/time.js";
import { metricByName } from "../src/prompts/metrics/index.js";
import { madeUpPairs } from "./made-up-pairs.js";

const SHAPES = {
  "7B": { layers: 32, width: 4096, mlp: 11008, heads: 32, kvHeads: 32, vocabulary: 32_000 },
  "70B": { layers: 80, width: 8192, mlp: 28_672, heads: 64, kvHeads: 8, vocabulary: 128_256 },
  "405B": { layers: 126, width: 16_384, mlp: 53_248, heads: 128, kvHeads: 8, vocabulary: 128_256 },
};
const PAIRS = 64;
const TOP = 20;
const BATCH_SIZE = 16;
/** More than any run needs. */
const PLENTY = 2 ** 50;
const GIB = 2 ** 30;
/** Of the time with plenty of memory. */
const COMFORTABLE = 1.25;

const given = process.argv.slice(2).map(Number);
const [fast = 40, fastRead = 5, slow = 0.088, slowRead = 0.47] = given;
const machines = [
  { flops: fast * 1e12, readBytes: fastRead * 1e9 },
  { flops: slow * 1e12, readBytes: slowRead * 1e9 },
];

function questionOf(shape: (typeof SHAPES)["7B"], tokens: number, nodes: string): PlanQuestion {
  const fields = new ConfigFields("config.json", {
    model_type: "llama",
    num_hidden_layers: shape.layers,
    hidden_size: shape.width,
    intermediate_size: shape.mlp,
    num_attention_heads: shape.heads,
    num_key_value_heads: shape.kvHeads,
    vocab_size: shape.vocabulary,
  });
  const plan = familyOf(fields).plan(fields, { has: () => true, listing: "no file" });
  const { config } = plan;
  const sources = [
    ...sourcesOf(plan.embedding),
    ...Array.from({ length: config.layers }, (_, l) => sourcesOf(plan.layer(l))).flat(),
    ...sourcesOf(plan.unembedding),
  ];
  const stored = sources.map(({ name, storedShape }) => {
    const bytes = 2 * storedShape.reduce((size, axis) => size * axis, 1);
    return { name, dtype: "BF16", shape: [...storedShape], start: 0, bytes };
  });
  const pairs = madeUpPairs(PAIRS, tokens, config.vocabulary);
  return {
    config,
    footprint: weightsFootprint({ plan, stored, tied: false }),
    storedBytes: stored.reduce((sum, { bytes }) => sum + bytes, 0),
    backend: "tensorflow",
    pairs,
    space: makeNodeSpace(config, parseSites(nodes, config), positionLabels("each", pairs)),
    metrics: [metricByName("logit-diff")],
    patches: { nodes: TOP },
    batchSize: BATCH_SIZE,
  };
}

/** Nothing but the activation budget differs: a budget of one byte keeps no layer. */
function streamedWith(question: PlanQuestion, activationBytes: number): RunPlan {
  return planRun(question, { memoryBytes: 1, activationBytes });
}

function secondsOn(machine: (typeof machines)[number], plan: RunPlan): number {
  return secondsOf(plan, machine).stages.reduce((sum, { seconds = Number.NaN }) => sum + seconds, 0);
}

function comfortable(question: PlanQuestion): { plan: RunPlan; activationBytes: number } {
  const best = machines.map((machine) => secondsOn(machine, streamedWith(question, PLENTY)));
  for (let activationBytes = GIB; ; activationBytes *= 2) {
    const plan = streamedWith(question, activationBytes);
    if (machines.every((machine, m) => secondsOn(machine, plan) <= COMFORTABLE * best[m])) {
      return { plan, activationBytes };
    }
  }
}

const gib = (bytes: number) => (bytes / GIB).toLocaleString("en-US", { maximumSignificantDigits: 3 });
const short = (value: number) => value.toLocaleString("en-US", { maximumSignificantDigits: 3 });
const sumOf = (plan: RunPlan, of: "flops" | "forwardEquivalents") =>
  plan.stages.reduce((sum, stage) => sum + (stage[of] ?? Number.NaN), 0);

console.log(
  `| model | tokens | method | nodes | forward equivalents | PFLOP | TB read | smallest GiB | comfortable GiB (activations) | ${machines
    .map(({ flops, readBytes }) => `${short(flops / 1e12)} TFLOP/s, ${short(readBytes / 1e9)} GB/s`)
    .join(" | ")} |`,
);
console.log(`| ${["---", ...Array(10).fill("---:")].join(" | ")} |`);
for (const [name, shape] of Object.entries(SHAPES)) {
  for (const tokens of [32, 128]) {
    for (const nodes of ["q,k,v,z,mlpOut", "q,k,v,z,mlpOut,neuron"]) {
      for (const method of ["atp", "atp*"] as const) {
        const question = { ...questionOf(shape, tokens, nodes), method };
        const { plan, activationBytes } = comfortable(question);
        const cells = [
          name,
          tokens,
          method.replace("*", "\\*"),
          short(question.space.size),
          short(sumOf(plan, "forwardEquivalents")),
          short(sumOf(plan, "flops") / 1e15),
          short(plan.reads.bytes / 1e12),
          gib(planRun(question).smallestBytes),
          `${gib(plan.memory.total)} (${gib(activationBytes)})`,
          ...machines.map((machine) => duration(secondsOn(machine, plan))),
        ];
        console.log(`| ${cells.join(" | ")} |`);
      }
    }
  }
}
