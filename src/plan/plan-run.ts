/**
 * @file What a run will cost, before anything is read or run: forward equivalents, weights read from disk, memory by part; and
 * how a budget of memory is divided. A pure function of shapes: the model's config, the headers of its weight files, the
 * lengths of the prompts, the selection.
 *
 * A budget is the total memory of the process. What is needed in any case comes first. Activations then get what was asked for
 * them, or up to 1 GiB of what is left, and layers stay in memory in what is left of that. With a budget weights are streamed
 * even where all layers stay: then each is read once.
 */

import { DEFAULT_ACTIVATION_BUDGET_BYTES } from "../activation-budget.js";
import { bytesInMemory, bytesStreamed, packedCopies } from "../checkpoint/footprint.js";
import { meanParts, planMeanStage } from "./mean-stage.js";
import { type Budgets, needsWholeUnembedding, type PlanQuestion } from "./question.js";
import { LayerReads } from "./reads.js";
import {
  type MemoryPart,
  planCertificateStage,
  planEstimateStage,
  planVerifyStage,
  type StageName,
  type StagePlan,
} from "./stages.js";
import { runBytes } from "./verify-stage.js";

/** Node with an engine before anything is loaded, as measured. */
const PROCESS_BYTES = { tensorflow: 520 * 2 ** 20, wasm: 200 * 2 ** 20 } as const;

/**
 * What the allocator and the garbage collector hold beyond what is in use, as a share of tensors and tables. With a model of 205
 * million parameters, kept and streamed, the largest resident memory was 0.90 to 0.96 of the plan on either engine.
 */
export const SLACK_SHARE = 0.25;
/** And whatever the sizes are: code that is compiled, the reading thread, buffers of files. */
export const SLACK_BYTES = 96 * 2 ** 20;

/** The heap of the embedded engine, which holds all tensors. */
export const WASM_HEAP_BYTES = 4 * 2 ** 30;

/** Activation budgets that a plan chooses are multiples of this, so that they can be typed. */
const BUDGET_STEP_BYTES = 2 ** 20;

export interface PlannedMemory {
  /** The largest total of any stage, part by part. */
  readonly parts: readonly MemoryPart[];
  readonly stage: StageName;
  readonly total: number;
  /** Of these in tensors, weights included. */
  readonly tensors: number;
}

export interface RunPlan {
  readonly stages: readonly StagePlan[];
  readonly memory: PlannedMemory;
  /** What the activations of one pass may take, and the gradient streams of one layer. */
  readonly activationBudgetBytes: number;
  /** Layers that stay in memory once they were read. */
  readonly residentLayers: number;
  readonly inMemory: boolean;
  /** Weights read from disk, once where everything is in memory; at most, where a stage's are. */
  readonly reads: { readonly layers: number; readonly bytes: number };
  /** Total memory with which the run can be made at all. */
  readonly smallestBytes: number;
  /** Total memory with which no layer is read twice, at this activation budget. */
  readonly inMemoryBytes: number;
  /** What was asked for. */
  readonly memoryBytes?: number;
  /** Whether the plan keeps to it, and to the heap of the engine. */
  readonly fits: boolean;
}

/** Plans a run. A budget that cannot be met gives the plan of the smallest one, which does not fit. */
export function planRun(question: PlanQuestion, budgets: Budgets = {}): RunPlan {
  const { layers } = question.footprint;
  const { memoryBytes } = budgets;
  const atOnce = memoryBytes === undefined;
  const memoryOf = memoryFor(question, atOnce);
  const within = atOnce ? memoryFor(question, false) : memoryOf;
  const least = budgets.activationBytes ?? leastActivationBytes(question);
  const fits = (memory: PlannedMemory) =>
    (memoryBytes === undefined || memory.total <= memoryBytes) &&
    (question.backend !== "wasm" || memory.tensors <= WASM_HEAP_BYTES);
  const fitsSomehow = (bytes: number) => fits(memoryOf(bytes, 0)) || fits(memoryOf(bytes, layers));
  const activationBytes =
    budgets.activationBytes ??
    (atOnce ? DEFAULT_ACTIVATION_BUDGET_BYTES : largestActivation(least, fitsSomehow));
  const residentLayers = atOnce
    ? layers
    : largestResident(layers, (count) => fits(memoryOf(activationBytes, count)));
  const stages = stagesOf(question, activationBytes, residentLayers);
  const memory = memoryOf(activationBytes, residentLayers);
  const inMemory = residentLayers === layers;
  return {
    stages,
    memory,
    activationBudgetBytes: activationBytes,
    residentLayers,
    inMemory,
    reads: atOnce
      ? { layers, bytes: question.storedBytes }
      : {
          layers: stages.reduce((sum, { reads }) => sum + reads.layers, 0),
          bytes: stages.reduce((sum, { reads }) => sum + reads.bytes, 0),
        },
    smallestBytes: Math.min(...[0, layers].map((count) => within(least, count).total)),
    inMemoryBytes: within(activationBytes, layers).total,
    ...(memoryBytes !== undefined && { memoryBytes }),
    fits: fits(memory),
  };
}

/** One patched run where some are made, as there is at least one in a pass; otherwise nothing: every layer can be computed again. */
function leastActivationBytes({ config, pairs, patches }: PlanQuestion): number {
  if (!patches) return 1;
  const T = pairs.reduce((longest, { clean }) => Math.max(longest, clean.length), 1);
  return runBytes(config, T, T, T);
}

/** In steps, up to the default. */
function largestActivation(least: number, fits: (bytes: number) => boolean): number {
  let [low, high] = [0, Math.floor(DEFAULT_ACTIVATION_BUDGET_BYTES / BUDGET_STEP_BYTES)];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (middle * BUDGET_STEP_BYTES >= least && fits(middle * BUDGET_STEP_BYTES)) low = middle;
    else if (middle * BUDGET_STEP_BYTES < least) low = middle;
    else high = middle - 1;
  }
  return Math.max(least, low * BUDGET_STEP_BYTES);
}

/** The last count but all of them needs two layers more than it keeps; all of them need the embedding. */
function largestResident(layers: number, fits: (count: number) => boolean): number {
  if (fits(layers)) return layers;
  let [low, high] = [0, layers - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (fits(middle)) low = middle;
    else high = middle - 1;
  }
  return low;
}

function stagesOf(question: PlanQuestion, activationBytes: number, residentLayers: number): StagePlan[] {
  const budgets = { activationBytes };
  const { footprint, averaged, method, patches, certificate } = question;
  const counted = new LayerReads(footprint, residentLayers);
  const mean = averaged !== undefined && planMeanStage(question, averaged, counted);
  const estimate = method !== undefined && planEstimateStage(question, budgets, counted);
  const verify = patches !== undefined && planVerifyStage(question, budgets, counted);
  const most = certificate && verify && certificateCost(question, verify);
  return [
    ...(mean ? [mean] : []),
    ...(estimate ? [estimate] : []),
    ...(verify ? [verify] : []),
    ...(most === undefined || most === false ? [] : [planCertificateStage(question, budgets, counted, most)]),
  ];
}

/** What may be spent on certainty beyond verifying the top k: as `certify` does it, twice what patching every node costs. */
function certificateCost(question: PlanQuestion, verify: StagePlan): number {
  const { certificate, footprint, space } = question;
  const all = () =>
    planVerifyStage(
      { ...question, patches: { nodes: space.size } },
      { activationBytes: 1 },
      new LayerReads(footprint, 0),
    );
  const most = certificate?.budget ?? 2 * (all().forwardEquivalents ?? 0);
  return Math.max(0, most - (verify.forwardEquivalents ?? 0));
}

/** Memory by activation budget and layers that stay. What a stage holds beside the weights does not depend on these. */
function memoryFor(
  question: PlanQuestion,
  atOnce: boolean,
): (activationBytes: number, residentLayers: number) => PlannedMemory {
  const known = new Map<number, readonly StagePlan[]>();
  return (activationBytes, residentLayers) => {
    const stages = known.get(activationBytes) ?? stagesOf(question, activationBytes, 0);
    known.set(activationBytes, stages);
    const ofStages = stages.map((stage) =>
      memoryOfStage(question, stage, atOnce ? undefined : residentLayers),
    );
    return ofStages.reduce((worst, memory) => (memory.total > worst.total ? memory : worst));
  };
}

function memoryOfStage(
  question: PlanQuestion,
  { stage, tensors: ofStage, tables }: StagePlan,
  residentLayers: number | undefined,
): PlannedMemory {
  const tensors = stage === "mean" ? ofStage : [...ofStage, ...meanParts(question)];
  const weights = [
    ...weightParts(question, residentLayers),
    { name: "packed copies of weights", bytes: packedBytes(question, residentLayers) },
  ];
  const working = total(tensors) + total(tables);
  const parts = [
    { name: "process and engine", bytes: question.processBytes ?? PROCESS_BYTES[question.backend] },
    ...weights,
    ...tensors,
    ...tables,
    { name: "allocator and garbage", bytes: Math.ceil(SLACK_SHARE * working) + SLACK_BYTES },
  ].filter(({ bytes }) => bytes > 0);
  return { parts, stage, total: total(parts), tensors: heldInTensors(question, weights) + total(tensors) };
}

const BEING_READ = "layer being read";
const LOADED_COPIES = "copies of weights, until collected";

/**
 * Of the arrays that weights are loaded from, what the garbage collector has not freed when it matters: measured 0.57. Layers that
 * are streamed, whether they stay or not, leave none behind.
 */
const LOADED_SHARE = 0.75;

/** @param residentLayers undefined: everything is loaded at once */
function weightParts({ footprint, metrics }: PlanQuestion, residentLayers: number | undefined): MemoryPart[] {
  if (residentLayers === undefined) {
    const bytes = bytesInMemory(footprint);
    return [
      { name: "weights", bytes },
      { name: LOADED_COPIES, bytes: Math.ceil(LOADED_SHARE * bytes) },
    ];
  }
  const { layerBytes, smallBytes, layers } = footprint;
  const small = bytesStreamed(footprint, residentLayers, { wholeUnembedding: false });
  const whole = bytesStreamed(footprint, residentLayers, {
    wholeUnembedding: needsWholeUnembedding(metrics),
  });
  return [
    { name: "final norm and positions", bytes: smallBytes },
    { name: "layer in use", bytes: residentLayers < layers ? layerBytes : 0 },
    { name: BEING_READ, bytes: layerBytes },
    { name: "layers that stay", bytes: small - smallBytes - 2 * layerBytes },
    { name: "unembedding", bytes: whole - small },
  ];
}

/** As the engine makes them of the weights that are in memory; what estimates have made of these stays. */
function packedBytes(
  { footprint, backend, method, metrics }: PlanQuestion,
  residentLayers = footprint.layers,
): number {
  const packed = packedCopies(footprint, { engine: backend, gradients: method !== undefined });
  const multiplied = Math.min(residentLayers + 1, footprint.layers);
  const ofUnembedding = needsWholeUnembedding(metrics.slice(0, 1)) ? packed.unembeddingBytes : 0;
  return multiplied * packed.layerBytes + ofUnembedding;
}

/** What is read on its way lies outside of the embedded engine's heap; so does the copy of the unembedding that it is read into. */
function heldInTensors({ backend }: PlanQuestion, weights: readonly MemoryPart[]): number {
  return weights.reduce((bytes, { name, bytes: more }) => {
    if (backend !== "wasm") return bytes + more;
    return (
      bytes + (name === BEING_READ || name === LOADED_COPIES ? 0 : name === "unembedding" ? more / 2 : more)
    );
  }, 0);
}

function total(parts: readonly MemoryPart[]): number {
  return parts.reduce((sum, { bytes }) => sum + bytes, 0);
}
