/**
 * @file What the studies of recall have in common (`method-recall`, `cost-of-recall`, `certificates`): which behaviours, on which model,
 * on which engine, and the part of the command line that says so.
 *
 *   [tensorflow|wasm]           engine; default the native one if it is set up
 *   --model FOLDER|FILE|ID      as for `atp`; default the demo model
 *   --pairs FILE…               a behaviour per file, named as the file is; default the demo model's seven
 *   --metric NAME               of --pairs; default logit-diff
 *   --pairs-per-behaviour N     a random sample, or all where there are no more
 *   --nodes SITES               nodes of these sites at each position; with --pairs by default q,k,v,z,attnOut,mlpOut
 *   --out FOLDER                for CSV files
 */

import { existsSync } from "node:fs";
import { basename, extname } from "node:path";
import { Argument, Command, InvalidArgumentError } from "commander";
import { resolveCheckpoint } from "../src/checkpoint/hub.js";
import { loadModel } from "../src/checkpoint/load-model.js";
import { type Backend, type Engine, startEngine } from "../src/engine/start-engine.js";
import { DEFAULT_METRIC } from "../src/localize.js";
import type { Site } from "../src/model/sites.js";
import { parseSites } from "../src/nodes/node-space.js";
import { metricByName } from "../src/prompts/metrics/index.js";
import type { OutputMetric } from "../src/prompts/metrics/metric.js";
import type { Pair } from "../src/prompts/pair.js";
import { readPairs } from "../src/prompts/read-pairs.js";
import { digestOfOrigin, type TruthOrigin } from "./exact-contributions.js";

const DEMO = "models/demo";

/** The demo model's behaviours and their metrics: `greater` has sets of answers. */
const DEMO_METRICS: Readonly<Record<string, string>> = {
  ioi: "logit-diff",
  city: "logit-diff",
  article: "logit-diff",
  greater: "prob-diff",
  pronoun: "logit-diff",
  agreement: "logit-diff",
  induction: "logit-diff",
};

/** All that attention and MLPs write, without the neurons: a hundred thousand and more on a real model. */
const SITES_OF_GIVEN_PAIRS = "q,k,v,z,attnOut,mlpOut";

/** What differs between the studies. */
export interface StudyDefaults {
  readonly name: string;
  readonly pairsPerBehaviour: number;
  /** On the demo's behaviours. */
  readonly nodes: string;
}

interface StudyOptions {
  readonly model: string;
  readonly pairs?: readonly string[];
  readonly metric?: string;
  readonly pairsPerBehaviour: number;
  readonly nodes?: string;
  readonly out: string;
}

export interface Behaviour {
  readonly name: string;
  readonly metric: OutputMetric;
  /** All pairs of its file. */
  readonly pairs: readonly Pair[];
}

/** What a study works on. `truth.model` is the caller's to dispose. */
export interface RecallStudy<Own> {
  readonly engine: Engine;
  readonly truth: TruthOrigin;
  readonly behaviours: readonly Behaviour[];
  readonly sites: readonly Site[];
  readonly pairsPerBehaviour: number;
  readonly out: string;
  /** The study's own options. */
  readonly own: Own;
}

/**
 * Reads the command line, starts the engine, loads the model and reads all pairs.
 * @param addOwn adds the study's own options
 */
export async function openStudy<Own>(
  { name, pairsPerBehaviour, nodes }: StudyDefaults,
  addOwn: (command: Command) => Command = (command) => command,
): Promise<RecallStudy<Own>> {
  const command = new Command(name)
    .addArgument(new Argument("[engine]").choices(["tensorflow", "wasm"]))
    .option("--model <model>", "folder, file or Hugging Face id", DEMO)
    .option("--pairs <files...>", "JSON Lines, a behaviour per file (default: the demo model's seven)")
    .option("--metric <name>", `of --pairs (default: "${DEFAULT_METRIC}")`)
    .option("--pairs-per-behaviour <count>", "at most", positiveInteger, pairsPerBehaviour)
    .option("--nodes <sites>", `sites (default: "${nodes}", with --pairs "${SITES_OF_GIVEN_PAIRS}")`)
    .option("--out <folder>", "for CSV files", `atp-out/${name}`);
  addOwn(command).parse();
  const options = command.opts<StudyOptions & Own>();
  const files = behaviourFiles(command, options);
  const prefer: Backend | undefined = command.processedArgs[0];
  const engine = await startEngine({ ...(prefer && { prefer }) });
  const model = await loadModel(options.model);
  const behaviours: Behaviour[] = [];
  for (const { file, ...behaviour } of files) {
    behaviours.push({ ...behaviour, pairs: await readPairs(file, model, behaviour.metric.needs) });
  }
  // What is in the file system is read where it is, as loadModel does it; the rest is in the hub's cache by now.
  const modelFiles = existsSync(options.model) ? options.model : await resolveCheckpoint(options.model);
  return {
    engine,
    truth: { model, digest: digestOfOrigin(modelFiles, engine.backend) },
    behaviours,
    sites: parseSites(options.nodes ?? (options.pairs ? SITES_OF_GIVEN_PAIRS : nodes), model.config),
    pairsPerBehaviour: options.pairsPerBehaviour,
    out: options.out,
    own: options,
  };
}

function positiveInteger(text: string): number {
  if (/^[1-9]\d*$/.test(text)) return Number(text);
  throw new InvalidArgumentError("expected a positive integer");
}

function behaviourFiles(command: Command, { pairs, metric }: StudyOptions) {
  if (!pairs) {
    if (metric !== undefined) command.error("error: expected --metric with --pairs only");
    return Object.entries(DEMO_METRICS).map(([name, ofDemo]) => ({
      name,
      metric: metricByName(ofDemo),
      file: `${DEMO}/pairs/${name}.jsonl`,
    }));
  }
  const files = pairs.map((file) => ({
    name: basename(file, extname(file)),
    metric: metricByName(metric ?? DEFAULT_METRIC),
    file,
  }));
  const twice = files.find(({ name }, at) => files.findIndex((other) => other.name === name) < at);
  if (twice) command.error(`error: expected files of different names, got two of ${twice.name}`);
  return files;
}

/** "tensorflow (CPU, 2 threads), models/demo". */
export function describeStudy({
  engine,
  truth: { model },
}: Pick<RecallStudy<unknown>, "engine" | "truth">): string {
  return `${engine.backend} (${engine.device}), ${model.name}`;
}
