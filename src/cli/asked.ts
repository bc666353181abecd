/** @file What a command's run asks, and what it is called: by the content of its model and pairs, and by its options. */

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { hashModel, userHashCache } from "../checkpoint/model-hash.js";
import type { Backend } from "../engine/start-engine.js";
import { pairsName, type QuestionNames } from "../results/list-origin.js";
import { type AskedSource, type Question, questionOf, runId } from "../results/question.js";
import { packageVersion } from "../version.js";
import { noiseOptions, sourceText } from "./noise.js";
import type { RunCommandOptions } from "./options.js";
import type { PreparedRun } from "./prepare-run.js";

/** Fewer are hashed in a few seconds: nobody has to be told. */
const SLOW_BYTES = 2 ** 31;

/** Hashes the model, which is remembered for as long as its files stay as they are. */
export async function askedBy(
  { opened, options, pairs, averaged, metric, progress }: PreparedRun,
  signal: AbortSignal,
): Promise<Question> {
  const { hash } = await hashModel(opened.folder, {
    cacheFile: userHashCache(),
    signal,
    onProgress(done, total) {
      if (total > SLOW_BYTES) progress.stage({ stage: "hash", done, total });
    },
  });
  progress.finish();
  return questionOf({
    modelHash: hash,
    pairs,
    metric,
    direction: options.direction,
    source: askedSource(options, averaged),
  });
}

function askedSource(options: RunCommandOptions, averaged: PreparedRun["averaged"]): AskedSource {
  const noise = noiseOptions(options);
  if (noise) return { kind: "noise", noise };
  if (averaged) return { kind: "mean", pairs: averaged.pairs };
  return { kind: options.source === "zero" ? "zero" : "prompt" };
}

/** What people call the parts of a run's question. */
export function questionNames({ options, pairs, metric }: PreparedRun): QuestionNames {
  return {
    model: options.model,
    pairs: pairsName(pairs.length, options.pairs),
    metric: metric.name,
    direction: options.direction,
    source: sourceText(options),
  };
}

/** Options that say where things are, how they are shown, or how memory is used: they change no result. */
const NO_SETTINGS: ReadonlySet<string> = new Set([
  "model",
  "pairs",
  "out",
  "from",
  "json",
  "verbose",
  "report",
  "memory",
  "activationMemory",
  "engine",
]);

/** The name of a command's run; of the same options on the same input the same. */
export async function nameOfRun(
  question: Question,
  { command, options }: Pick<PreparedRun, "command" | "options">,
  backend: Backend,
): Promise<string> {
  const settings = Object.fromEntries(Object.entries(options).filter(([name]) => !NO_SETTINGS.has(name)));
  const from =
    "from" in options && typeof options.from === "string" ? await hashOfFile(options.from) : undefined;
  return runId(question, { atpkit: packageVersion(), command, backend, settings, from });
}

/** Of any length. */
async function hashOfFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest("hex");
}
