/** @file The options of the commands: their names, defaults and checks that need nothing but their text. */

import { type Command, Option } from "commander";
import { METHODS, type Method } from "../atpstar/methods.js";
import { DEFAULT_PREFIX } from "../batch/queue/keys.js";
import { DEFAULT_INCLUSION, DEFAULT_PREVALENCE_SAMPLE } from "../bounds/certify.js";
import type { WindowShape } from "../exact/windows.js";
import { LIMITS } from "../limits.js";
import {
  DEFAULT_BATCH_SIZE,
  DEFAULT_METHOD,
  DEFAULT_METRIC,
  DEFAULT_SITES,
  DEFAULT_TOP_K,
} from "../localize.js";
import type { NodePosition } from "../nodes/node-id.js";
import { POSITION_MODES, type PositionMode } from "../nodes/positions.js";
import { DIRECTIONS, type Direction } from "../prompts/direction.js";
import { DEFAULT_NOISE } from "../sources/noise.js";
import {
  byteSize,
  countUpTo,
  float32Number,
  integer,
  type LayerRange,
  layerRange,
  metricText,
  positionLabels,
  positiveNumber,
  positiveUpTo,
  queuePrefix,
  wholeNumbers,
  wholeUpTo,
  windowShape,
} from "./option-values.js";

export const ENGINES = ["auto", "tensorflow", "wasm"] as const;

const DEFAULT_OUT = "atp-out";

/** What `estimate`, `localize` and `verify` share. */
export interface RunCommandOptions {
  readonly model: string;
  readonly pairs: readonly string[];
  readonly metric: string;
  readonly direction: Direction;
  readonly batchSize: number;
  /** In bytes; left out, the default, or with `memory` what is left of that. */
  readonly activationMemory?: number;
  /** Of the whole process, in bytes. */
  readonly memory?: number;
  readonly engine: (typeof ENGINES)[number];
  readonly out: string;
  readonly maxPairs?: number;
  readonly seed: number;
  readonly json?: true;
  readonly verbose?: true;
  /** In commands that have `--report`. */
  readonly report?: true;
  /** In commands that have `--source`. */
  readonly source?: string;
  /** In commands that have `--also-metric`. */
  readonly alsoMetric?: readonly string[];
  /** With `--source noise`. */
  readonly noiseAt?: readonly NodePosition[];
  readonly noiseScale?: number;
  readonly noiseDraws?: number;
  readonly noiseSeed?: number;
}

export interface EstimateCommandOptions extends RunCommandOptions {
  readonly method: Method;
  readonly nodes: string;
  readonly positions: PositionMode;
}

export interface LocalizeCommandOptions extends EstimateCommandOptions {
  readonly topK: number;
  readonly confidence?: number;
  readonly budget?: number;
  readonly inclusion?: number;
  readonly prevalenceSample?: number;
}

export interface VerifyCommandOptions extends RunCommandOptions {
  readonly node?: readonly string[];
  readonly from?: string;
  readonly topK?: number;
}

export interface SweepCommandOptions extends RunCommandOptions {
  readonly nodes: string;
  readonly positions: PositionMode;
  readonly window?: WindowShape;
}

export interface FaithfulnessCommandOptions extends RunCommandOptions {
  readonly from: string;
  readonly grid?: readonly number[];
}

export interface PathCommandOptions extends RunCommandOptions {
  readonly sender?: readonly string[];
  readonly receiver?: readonly string[];
  readonly direct?: true;
  readonly layers?: LayerRange;
  readonly freezeNorm?: true;
}

export const PLANNED_COMMANDS = ["localize", "estimate", "sweep"] as const;

export interface PlanCommandOptions extends LocalizeCommandOptions {
  readonly command: (typeof PLANNED_COMMANDS)[number];
}

export interface InfoCommandOptions {
  readonly json?: true;
  readonly verbose?: true;
}

export interface BatchRunCommandOptions {
  readonly workers: number;
  readonly report?: true;
  readonly json?: true;
  readonly verbose?: true;
}

export interface BatchStatusCommandOptions extends Partial<QueueOptions> {
  readonly json?: true;
  readonly verbose?: true;
}

/** Where a queue is. */
export interface QueueOptions {
  /** May have a password in it. */
  readonly queue: string;
  readonly prefix: string;
}

export interface BatchSubmitCommandOptions extends QueueOptions {
  readonly report?: true;
  readonly json?: true;
  readonly verbose?: true;
}

export interface WorkerCommandOptions extends QueueOptions {
  readonly model: string;
  readonly engine: (typeof ENGINES)[number];
  readonly shared?: string;
  /** In bytes. */
  readonly memory?: number;
  /** In seconds. */
  readonly exitWhenIdle?: number;
  readonly verbose?: true;
}

export interface ReportCommandOptions {
  readonly svg?: boolean;
  readonly json?: true;
  readonly verbose?: true;
}

/** What is run on what. */
export function addInputOptions(command: Command): Command {
  return command
    .requiredOption(
      "--model <path or hub id>",
      "folder with config.json and safetensors, GGUF file, or Hugging Face id",
    )
    .requiredOption("--pairs <file...>", "prompt pairs, JSON Lines (format below)")
    .addOption(
      new Option("--metric <name>", "what is measured (list below)")
        .argParser(metricText)
        .default(DEFAULT_METRIC),
    )
    .addOption(
      new Option(
        "--direction <name>",
        "noising: corrupted activations into the clean run; denoising: the reverse",
      )
        .choices(DIRECTIONS)
        .default("noising" satisfies Direction),
    )
    .option("--max-pairs <n>", "use a random sample of the pairs", countUpTo(LIMITS.pairs))
    .option("--seed <n>", "seed of that sample, and with --confidence of all draws", integer, 0);
}

/** Values of --source that are not files. */
export const NAMED_SOURCES: readonly string[] = ["prompt", "zero", "mean", "noise"];

/** Where patched values come from, or what is run in place of corrupted prompts. */
export function addSourceOption(command: Command): Command {
  const { multiple, draws, seed } = DEFAULT_NOISE;
  return command
    .option(
      "--source <what>",
      "prompt, zero, mean, noise, or a pairs file to average over (list below)",
      "prompt",
    )
    .option("--noise-at <labels>", 'with noise: positions, roles or "*", separated by commas', positionLabels)
    .option(
      "--noise-scale <x>",
      `with noise: its standard deviation ÷ σ of the token embeddings (default: ${multiple})`,
      float32Number,
    )
    .option(
      "--noise-draws <n>",
      `with noise: draws that effects are averaged over (default: ${draws})`,
      countUpTo(LIMITS.noiseDraws),
    )
    .option("--noise-seed <n>", `with noise: seed of the draws (default: ${seed})`, integer);
}

/** How nodes are estimated. */
export function addMethodOption(command: Command): Command {
  return command.addOption(
    new Option("--method <name>", "how effects are estimated (list below)")
      .choices(METHODS)
      .default(DEFAULT_METHOD),
  );
}

/** Which nodes are estimated or swept. */
export function addSelectionOptions(command: Command): Command {
  return command
    .option("--nodes <sites>", 'sites, separated by commas, or "all" (list below)', DEFAULT_SITES)
    .addOption(
      new Option(
        "--positions <mode>",
        "one node per position, per role of the pairs, or for all positions together",
      )
        .choices(POSITION_MODES)
        .default("each" satisfies PositionMode),
    );
}

/** More metrics of the same runs. */
export function addAlsoMetricOption(command: Command): Command {
  return command.addOption(
    new Option("--also-metric <name...>", "further metrics of the same runs, for metrics.csv").argParser(
      (text: string, before: readonly string[] = []) => [...before, metricText(text)],
    ),
  );
}

export function addWindowOption(command: Command): Command {
  return command.option(
    "--window <axis:width>",
    "patch so many neighbouring layers or positions together, such as layers:3",
    windowShape,
  );
}

export function addTopKOption(command: Command): Command {
  return command.option(
    "--top-k <n>",
    "how many of the best nodes to verify by exact patching",
    countUpTo(LIMITS.nodes),
    DEFAULT_TOP_K,
  );
}

/** What makes the top k certain. */
export function addCertificateOptions(command: Command): Command {
  return command
    .option("--confidence <c>", "such as 0.99: verify and sample until the top k are certain", positiveNumber)
    .option(
      "--budget <n>",
      "with --confidence: most forward equivalents, the top k in any case (default: enough)",
      positiveUpTo(LIMITS.budget),
    )
    .option(
      "--inclusion <p>",
      `with --confidence: probability of a node in a random subset (default: ${DEFAULT_INCLUSION})`,
      positiveNumber,
    )
    .option(
      "--prevalence-sample <n>",
      `with --confidence: random nodes patched one by one (default: ${DEFAULT_PREVALENCE_SAMPLE})`,
      wholeUpTo(LIMITS.nodes),
    );
}

export function addNodeChoiceOptions(command: Command): Command {
  return command
    .option("--node <id...>", "node ids, such as L3.z[5]@12 (format below)")
    .option(
      "--from <ranked.csv>",
      "ranked list of an earlier run: verify its first nodes, keep its estimates",
    )
    .option(
      "--top-k <n>",
      `how many nodes of that list (default: ${DEFAULT_TOP_K})`,
      countUpTo(LIMITS.nodes),
    );
}

export function addCurveOptions(command: Command): Command {
  return command
    .requiredOption("--from <ranked.csv>", "ranked list: its order, and its sites and positions")
    .option("--grid <k,...>", "how many first nodes (default: 1,2,5,10,20,50,… up to all)", wholeNumbers);
}

/** The two ends of paths. */
export function addPathOptions(command: Command): Command {
  return command
    .option("--sender <id...>", "nodes that take their source values (format below)")
    .option("--receiver <id...>", "what hears them: together, or with --direct each by itself (format below)")
    .option("--direct", "the path of every sender to every receiver; those left out are all of --layers")
    .option(
      "--layers <first-last>",
      "with --direct: layers of the ends that are left out (default: all)",
      layerRange,
    )
    .option("--freeze-norm", "keep the scale of the receivers' norms as it is in the base run");
}

/**
 * How it is run, and where the results go.
 * @param results the files that the command writes
 */
export function addRunOptions(command: Command, results = "ranked.csv and summary.json"): Command {
  return command
    .option("--batch-size <n>", "most prompts in one pass", countUpTo(LIMITS.batchSize), DEFAULT_BATCH_SIZE)
    .addOption(
      new Option(
        "--activation-memory <size>",
        "what the activations of one pass may take, such as 512MiB (default: 1GiB, or less with --memory)",
      ).argParser(byteSize),
    )
    .addOption(
      new Option(
        "--memory <size>",
        "what the whole process may take: layers that do not fit are read again whenever they are needed",
      ).argParser(byteSize),
    )
    .addOption(
      new Option("--engine <name>", "auto: native TensorFlow if it is installed, otherwise wasm")
        .choices(ENGINES)
        .default("auto"),
    )
    .option("--out <folder>", `where ${results} go; created if missing`, DEFAULT_OUT);
}

/** The results as a page. */
export function addPageOption(command: Command): Command {
  return command.option("--report", "also write report.html, the results as a page to look at");
}

export function addSvgOption(command: Command): Command {
  return command.option("--svg", "also write each figure as an SVG file, for a paper");
}

export function addWorkersOption(command: Command): Command {
  return command.option(
    "--workers <n>",
    "processes of this machine, each with the model in its memory; results do not depend on it",
    countUpTo(LIMITS.workers),
    1,
  );
}

/** Which command is planned. */
export function addPlannedCommandOption(command: Command): Command {
  return command.addOption(
    new Option("--command <name>", "what is planned").choices(PLANNED_COMMANDS).default("localize"),
  );
}

export function addReportOptions(command: Command): Command {
  return command
    .option("--json", "print one JSON document instead of text")
    .option("--verbose", "show the engine's log, and where an unexpected error came from");
}

/** Its text is looked at by the command: an error of commander would repeat the password. */
export function addQueueOptions(command: Command, { mandatory }: { readonly mandatory: boolean }): Command {
  return command
    .addOption(
      new Option("--queue <url>", "Redis: redis://[user:password@]host[:port][/db], or rediss:// for TLS")
        .env("ATPKIT_QUEUE")
        .makeOptionMandatory(mandatory),
    )
    .option("--prefix <text>", "of all keys in Redis", queuePrefix, DEFAULT_PREFIX);
}

/** Of a worker behind a queue. */
export function addWorkerOptions(command: Command): Command {
  return command
    .requiredOption("--model <path or hub id>", "the model whose shards it makes; must be that of the jobs")
    .addOption(
      new Option("--engine <name>", "auto: whichever a job was submitted for")
        .choices(ENGINES)
        .default("auto"),
    )
    .option("--shared <folder>", "output folder of the jobs, or the folder that holds several of them")
    .option(
      "--memory <size>",
      "what it may take in all, such as 6GiB; layers that do not fit are read when needed",
      byteSize,
    )
    .option(
      "--exit-when-idle <seconds>",
      "end after so long without a shard (default: wait)",
      countUpTo(LIMITS.idleSeconds),
    )
    .option("--verbose", "say every shard, and where an unexpected error came from");
}
