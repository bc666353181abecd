/** @file The stages of a run, each with what it costs, what it reads and what it holds, under given budgets. */

import { partsOf } from "../atpstar/methods.js";
import type { CostAhead } from "../exact/cost-ahead.js";
import { forwardFlops } from "../model/flops.js";
import { batchPairs, type PairBatch } from "../prompts/buckets.js";
import type { Metric } from "../prompts/metrics/metric.js";
import { bytesOfLogits } from "../prompts/metrics/rows-at-once.js";
import { FLOAT_BYTES } from "./activations.js";
import { planEstimateBatch } from "./estimate-stage.js";
import { logitTermsOf, needsWholeUnembedding, type PlanQuestion } from "./question.js";
import type { LayerReads, Reads } from "./reads.js";
import { planSetsBatch } from "./sets-stage.js";
import { type PatchedMemory, planVerifyBatch } from "./verify-stage.js";

export type StageName = "mean" | "estimate" | "verify" | "certificate";

/** A part of the memory, as people read it. */
export interface MemoryPart {
  readonly name: string;
  readonly bytes: number;
}

export interface StagePlan {
  readonly stage: StageName;
  /** In forward passes of one prompt; absent where the number of patched runs is not known before. */
  readonly forwardEquivalents?: number;
  /** Matrix products, without those of the vocabulary; absent as above. */
  readonly flops?: number;
  /** Whether cost and reads are upper bounds, and not what they will be. */
  readonly atMost: boolean;
  readonly reads: Reads;
  /** What it holds in tensors at the worst moment, beside the weights and what an earlier stage has left. */
  readonly tensors: readonly MemoryPart[];
  /** What it holds in JavaScript. */
  readonly tables: readonly MemoryPart[];
}

/** What a stage may use. */
export interface StageBudgets {
  /** Of the activations, and again of the gradient streams. */
  readonly activationBytes: number;
}

/** Bytes of a node in a table of sums, and in each of its flags. */
const SCORE_BYTES = 28;
const FLAG_BYTES = 8;
/** A pair with the noise of one draw: an object, its positions, and what makes the noise. */
const DRAWN_PAIR_BYTES = 512;
/** Ranking: keys, packed for sorting, and two orders. */
const ORDER_BYTES = 24;

/** Batches of pairs, each as often as it is drawn. */
function drawnBatches({ pairs, batchSize, draws = 1 }: PlanQuestion): PairBatch[] {
  const drawn = draws === 1 ? pairs : pairs.flatMap((pair) => Array.from({ length: draws }, () => pair));
  return batchPairs(drawn, batchSize);
}

/** Those of the estimates: all draws of a pair go together. */
function estimateBatches({ pairs, batchSize, draws = 1 }: PlanQuestion): PairBatch[] {
  return batchPairs(pairs, Math.max(1, Math.floor(batchSize / draws)));
}

/** The largest of each part, over batches. */
export function largest<Part extends string>(
  batches: readonly Readonly<Record<Part, number>>[],
  part: Part,
): number {
  return batches.reduce((most, batch) => Math.max(most, batch[part]), 0);
}

/** What products with the whole unembedding take: as many rows at a time as fit the budget, at least one. */
function distributionBytes(
  { config: { vocabulary } }: PlanQuestion,
  metrics: readonly Metric[],
  rows: number,
  budgetBytes: number,
): number {
  const terms = logitTermsOf(metrics);
  return terms === 0 ? 0 : bytesOfLogits({ vocabulary, terms, budgetBytes }, rows);
}

/** Every pair once per draw of noise. */
function drawnPairs({ pairs, draws = 1 }: PlanQuestion): MemoryPart[] {
  return draws === 1 ? [] : [{ name: "noised pairs", bytes: DRAWN_PAIR_BYTES * draws * pairs.length }];
}

/** Where estimates are kept, and what ranking them takes. */
function scoreTables({ space, method }: PlanQuestion): MemoryPart[] {
  if (method === undefined) return [];
  const { qkFix, gradDrop } = partsOf(method);
  const flags = (qkFix ? 1 : 0) + (gradDrop ? 2 : 0);
  return [
    { name: "score table", bytes: (SCORE_BYTES + FLAG_BYTES * flags) * space.size },
    { name: "ranking", bytes: ORDER_BYTES * space.size },
  ];
}

export function planEstimateStage(
  question: PlanQuestion,
  { activationBytes }: StageBudgets,
  counted: LayerReads,
): StagePlan {
  const { config, space, metrics, method, draws = 1 } = question;
  if (method === undefined) throw new Error("planEstimateStage: expected a method, got none");
  const sites = [...new Set(space.groups.map(({ site }) => site))];
  const known = new Map<string, ReturnType<typeof planEstimateBatch>>();
  const batches = estimateBatches(question).map(({ pairs, length: T }) => {
    const rows = { B: pairs.length * draws, T };
    const key = `${rows.B} ${T}`;
    const planned =
      known.get(key) ??
      planEstimateBatch(
        { config, method, sites, metric: metrics[0], activationBudgetBytes: activationBytes },
        rows,
      );
    known.set(key, planned);
    return { rows, ...planned };
  });
  let [forwardEquivalents, flops] = [0, 0];
  for (const { rows, visits, ...batch } of batches) {
    forwardEquivalents += batch.forwardEquivalents;
    flops += batch.forwardEquivalents * forwardFlops(config, rows.T);
    counted.visit(visits);
    if (needsWholeUnembedding(metrics.slice(0, 1))) counted.readUnembedding();
  }
  const memory = batches.map((batch) => batch.memory);
  return {
    stage: "estimate",
    forwardEquivalents,
    flops,
    atMost: false,
    reads: counted.take(),
    tensors: [
      { name: "layer records", bytes: largest(memory, "records") },
      { name: "residual streams", bytes: largest(memory, "streams") },
      { name: "one layer forward and backward", bytes: largest(memory, "layer") },
      {
        name: "distributions",
        bytes: distributionBytes(
          question,
          metrics.slice(0, 1),
          largest(
            batches.map(({ rows }) => rows),
            "B",
          ),
          activationBytes,
        ),
      },
    ],
    tables: [...scoreTables(question), ...drawnPairs(question)],
  };
}

export function planVerifyStage(
  question: PlanQuestion,
  { activationBytes }: StageBudgets,
  counted: LayerReads,
): StagePlan {
  const { config, space, metrics, patches, draws = 1 } = question;
  if (patches === undefined || !("nodes" in patches))
    return planSetsStage(question, { activationBytes }, counted);
  const { nodes } = patches;
  const perLayer = Array.from({ length: config.layers }, (_, layer) => layer);
  const batches = drawnBatches(question);
  const planned = batches.map((batch) =>
    planVerifyBatch({ config, space, nodes, activationBudgetBytes: activationBytes }, batch),
  );
  let [forwardEquivalents, flops] = [0, 0];
  planned.forEach((batch, b) => {
    forwardEquivalents += batch.forwardEquivalents;
    flops += batch.forwardEquivalents * forwardFlops(config, batches[b].length);
    counted.visit(perLayer);
    batch.waves.forEach((waves, first) => {
      counted.visitFrom(first, waves);
    });
    if (needsWholeUnembedding(metrics)) counted.readUnembedding();
  });
  return {
    stage: "verify",
    forwardEquivalents,
    flops,
    atMost: true,
    reads: counted.take(),
    tensors: patchedParts(
      question,
      planned.map((batch) => batch.memory),
      activationBytes,
    ),
    tables: [
      ...scoreTables(question),
      ...drawnPairs(question),
      {
        name: "exact effects",
        bytes:
          nodes * (SCORE_BYTES + ORDER_BYTES + FLOAT_BYTES * metrics.length * draws * question.pairs.length),
      },
    ],
  };
}

function patchedParts(
  question: PlanQuestion,
  batches: readonly PatchedMemory[],
  activationBytes: number,
): MemoryPart[] {
  const { metrics, batchSize } = question;
  const running = batches.reduce((most, { runs, layer }) => Math.max(most, runs, layer), 0);
  const resting = largest(batches, "resting");
  const rows = Math.max(batchSize, largest(batches, "arriving"));
  // Runs are read when they have arrived: none is in a block then.
  const reading = distributionBytes(question, metrics, rows, activationBytes);
  const isReadingWorst = resting + reading > running;
  return [
    { name: "recorded values", bytes: largest(batches, "recorded") },
    { name: "patched runs", bytes: isReadingWorst ? resting : running },
    { name: "distributions", bytes: isReadingWorst ? reading : 0 },
  ];
}

/** Sets of nodes patched together. */
function planSetsStage(question: PlanQuestion, budgets: StageBudgets, counted: LayerReads): StagePlan {
  const { metrics, patches } = question;
  const known: Partial<CostAhead> = patches && "sets" in patches ? patches.sets : {};
  const { planned, flops } = setsBatches(question, budgets, counted, known.patchedRuns ?? 0);
  return {
    stage: "verify",
    ...(known.forwardEquivalents !== undefined && {
      forwardEquivalents: known.forwardEquivalents,
      flops: known.forwardEquivalents * flops,
    }),
    atMost: true,
    reads: counted.take(),
    tensors: patchedParts(question, planned, budgets.activationBytes),
    tables: [
      ...scoreTables(question),
      ...drawnPairs(question),
      { name: "exact effects", bytes: FLOAT_BYTES * metrics.length * (known.patchedRuns ?? 0) },
    ],
  };
}

/** Subset samples until a certificate is there or its budget used up, without the nodes that are verified. */
export function planCertificateStage(
  question: PlanQuestion,
  budgets: StageBudgets,
  counted: LayerReads,
  /** Most forward equivalents of verification and sampling together. */
  forwardEquivalents: number,
): StagePlan {
  const { space, pairs } = question;
  // A sample is a patched run, and costs a forward pass at most.
  const { planned, flops } = setsBatches(question, budgets, counted, forwardEquivalents);
  return {
    stage: "certificate",
    forwardEquivalents,
    flops: forwardEquivalents * flops,
    atMost: true,
    reads: counted.take(),
    tensors: patchedParts(question, planned, budgets.activationBytes),
    tables: [
      ...scoreTables(question),
      ...drawnPairs(question),
      { name: "estimates by pair", bytes: (2 * FLOAT_BYTES + 1) * space.size * pairs.length },
      { name: "sums of samples", bytes: SAMPLE_BYTES * space.size },
    ],
  };
}

/** Sums inside and outside of two series, mean estimates, and lists of what is unverified. */
const SAMPLE_BYTES = 56 + 8 + 16;

/** Batches of sets, and the FLOPs of a forward pass of their prompts, the mean of all. */
function setsBatches(
  question: PlanQuestion,
  { activationBytes }: StageBudgets,
  counted: LayerReads,
  patchedRuns: number,
): { readonly planned: PatchedMemory[]; readonly flops: number } {
  const { config, space, metrics } = question;
  const batches = drawnBatches(question);
  const rows = batches.reduce((sum, { pairs }) => sum + pairs.length, 0);
  let flops = 0;
  const planned = batches.map(({ pairs, length: T }) => {
    const { runsPerWave, memory } = planSetsBatch(config, space, { B: pairs.length, T }, activationBytes);
    flops += (pairs.length / rows) * forwardFlops(config, T);
    counted.visitFrom(0, 1 + Math.ceil((patchedRuns * pairs.length) / rows / runsPerWave));
    if (needsWholeUnembedding(metrics)) counted.readUnembedding();
    return memory;
  });
  return { planned, flops };
}
