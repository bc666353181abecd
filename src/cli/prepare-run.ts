/**
 * @file What every run does before anything takes long: looks at the whole input. Then it starts the engine and loads
 * the weights.
 */

import { DEFAULT_ACTIVATION_BUDGET_BYTES } from "../activation-budget.js";
import type { Method } from "../atpstar/methods.js";
import { type OpenedModel, openModel } from "../checkpoint/load-model.js";
import { type Engine, startEngine } from "../engine/start-engine.js";
import type { RunOptions } from "../localize.js";
import type { Model } from "../model/model.js";
import type { RunPlan } from "../plan/plan-run.js";
import { divisionText } from "../plan/plan-text.js";
import { metricsByName } from "../prompts/metrics/by-names.js";
import { checkModelForMetric } from "../prompts/metrics/internal.js";
import type { Metric } from "../prompts/metrics/metric.js";
import { checkPairsForMetric } from "../prompts/metrics/on-runs.js";
import type { Pair } from "../prompts/pair.js";
import { readAveragedPairs, readPairs } from "../prompts/read-pairs.js";
import { samplePairs } from "../prompts/sample-pairs.js";
import { checkInputFile } from "../results/make-folder.js";
import type { Question } from "../results/question.js";
import { ResultsFolder } from "../results/results-folder.js";
import { type AveragedPrompts, averagedPrompts, notesOn } from "../sources/averaged.js";
import { checkDrawnPairs } from "../sources/draws.js";
import { type NoiseOptions, type NoiseSource, noisedPositions, noiseSource } from "../sources/noise.js";
import { askedBy, nameOfRun } from "./asked.js";
import { type CliContext, printNote } from "./context.js";
import { abandonable } from "./interrupts.js";
import { type PlannedWork, planOfRun } from "./memory-plan.js";
import { drawsOf, noiseOptions } from "./noise.js";
import { NAMED_SOURCES, type RunCommandOptions } from "./options.js";
import { type ProgressDisplay, showProgress } from "./progress.js";
import { StageClock } from "./stage-clock.js";

/** Checked input; nothing is loaded yet. */
export interface PreparedRun {
  readonly command: string;
  readonly options: RunCommandOptions;
  readonly date: Date;
  readonly results: ResultsFolder;
  readonly opened: OpenedModel;
  readonly metric: Metric;
  /** Those of `--also-metric`. */
  readonly alsoMetrics: readonly Metric[];
  readonly pairs: readonly Pair[];
  /** Pairs in the files, before sampling. */
  readonly available: number;
  readonly progress: ProgressDisplay;
  /** What --source averages over, if it asks for a mean. */
  readonly averaged?: AveragedPrompts;
  /** What noise --source asks for; every pair can have it. */
  readonly noise?: NoiseOptions;
  /** How effects are estimated; absent in a command that does not. */
  readonly method?: Method;
}

/** `openModel` with a bar for each file of a download. */
export async function openForCommand(
  name: string,
  { signal }: CliContext,
  progress: ProgressDisplay,
): Promise<OpenedModel> {
  const opened = await openModel(name, { signal, onProgress: progress.download, onNotice: printNote });
  progress.finish();
  return opened;
}

/** It is known what the run asks, by content. */
export interface AskedRun extends PreparedRun {
  readonly question: Question;
}

/** Engine and weights are there. */
export interface StartedRun extends AskedRun {
  /** Its name: `runId`. */
  readonly run: string;
  readonly engine: Engine;
  readonly model: Model;
  readonly clock: StageClock;
  readonly noiseSource?: NoiseSource;
  /** With --memory: how it is divided. */
  readonly plan?: RunPlan;
  /** The options of the library's calls. */
  readonly runOptions: RunOptions;
}

/**
 * Checks the input of a run, in the order of how soon it can be known to be wrong.
 * @throws InputError for anything that is wrong with options, model, pairs or output folder; RunError for a download
 *   that breaks off
 */
export async function prepareRun(
  command: string,
  options: RunCommandOptions & { readonly method?: Method },
  context: CliContext,
): Promise<PreparedRun> {
  const date = new Date();
  const [metric, ...alsoMetrics] = metricsByName([options.metric, ...(options.alsoMetric ?? [])]);
  const noise = noiseOptions(options);
  for (const file of options.pairs) await checkInputFile("--pairs", file);
  const { source = "prompt" } = options;
  const sourceFile = NAMED_SOURCES.includes(source) ? undefined : source;
  if (sourceFile !== undefined) await checkInputFile("--source", sourceFile);
  const results = await ResultsFolder.check(options.out);
  const progress = showProgress();
  const opened = await openForCommand(options.model, context, progress);
  try {
    const told = { onNotice: printNote };
    const needs = { ...metric.needs, corrupted: noise === undefined };
    const all = await readPairs(options.pairs, opened, needs, told);
    for (const read of [metric, ...alsoMetrics]) checkModelForMetric(opened.config, read);
    const sourcePairs =
      sourceFile === undefined ? undefined : await readAveragedPairs(sourceFile, opened, options.direction);
    const pairs = options.maxPairs === undefined ? all : samplePairs(all, options.maxPairs, options.seed);
    for (const read of [metric, ...alsoMetrics]) checkPairsForMetric(pairs, read);
    if (noise) {
      for (const pair of pairs) noisedPositions(pair, noise.at);
      checkDrawnPairs(pairs, drawsOf(noise));
    }
    const averaged =
      sourcePairs || source === "mean" ? averagedPrompts(sourcePairs ?? pairs, pairs) : undefined;
    if (averaged) for (const note of notesOn(averaged)) printNote(note);
    return {
      command,
      options,
      date,
      results,
      opened,
      metric,
      alsoMetrics,
      pairs,
      available: all.length,
      progress,
      ...(averaged && { averaged }),
      ...(noise && { noise }),
      ...(options.method && { method: options.method }),
    };
  } catch (error) {
    await opened.close();
    throw error;
  }
}

async function startRun(
  prepared: AskedRun,
  workOf: () => PlannedWork,
  context: CliContext,
): Promise<StartedRun> {
  const { opened, progress } = prepared;
  const clock = new StageClock();
  const engine = await engineOf(prepared.options);
  const plan = planOfRun(prepared, workOf, engine.backend);
  if (plan) printNote(divisionText(plan));
  const activationMemory =
    plan?.activationBudgetBytes ?? prepared.options.activationMemory ?? DEFAULT_ACTIVATION_BUDGET_BYTES;
  const options = { ...prepared.options, activationMemory };
  const model = await opened.load({
    ...(plan && { streaming: { residentLayers: plan.residentLayers } }),
    onProgress: (done, total) => {
      progress.stage({ stage: "load", done, total });
      context.signal.throwIfAborted();
    },
  });
  const noise = prepared.noise && (await noiseSource(model, prepared.noise));
  clock.lap("load");
  const { direction, batchSize } = options;
  const { signal } = context;
  return {
    ...prepared,
    run: await nameOfRun(prepared.question, prepared, engine.backend),
    options,
    ...(plan && { plan }),
    engine,
    model,
    clock,
    ...(noise && { noiseSource: noise }),
    runOptions: {
      metric: prepared.metric,
      direction,
      batchSize,
      activationBudgetBytes: activationMemory,
      ...(plan && { streamBudgetBytes: activationMemory }),
      signal,
      onProgress: progress.stage,
    },
  };
}

export function engineOf({
  engine,
  verbose,
}: Pick<RunCommandOptions, "engine" | "verbose">): Promise<Engine> {
  return startEngine({ ...(engine !== "auto" && { prefer: engine }), ...(verbose && { verbose: true }) });
}

/**
 * Prepares, starts and tidies up a run.
 * @param check what the command itself has to check, before anything is loaded
 * @param workOf what the body is going to do, for a plan of its memory
 * @param body the run
 */
export async function withRun<Checked>(
  command: string,
  options: RunCommandOptions & { readonly method?: Method },
  context: CliContext,
  check: (asked: AskedRun) => Promise<Checked> | Checked,
  workOf: (prepared: PreparedRun, checked: Checked) => PlannedWork,
  body: (run: StartedRun, checked: Checked) => Promise<void>,
): Promise<void> {
  const prepared = await abandonable(context, prepareRun(command, options, context));
  try {
    const asked = { ...prepared, question: await askedBy(prepared, context.signal) };
    const checked = await abandonable(context, Promise.resolve(check(asked)));
    await prepared.results.open(printNote);
    const run = await startRun(asked, () => workOf(prepared, checked), context);
    try {
      await body(run, checked);
      // Whoever interrupts the writing of results gets them all, and is told so.
      context.saved = `all results are in ${prepared.results.folder}`;
      context.signal.throwIfAborted();
    } finally {
      run.model.dispose();
    }
  } finally {
    prepared.progress.finish();
    await prepared.results.close();
    await prepared.opened.close();
  }
}
