/** @file A small job for the golden GPT-2 checkpoint, and job files of tests. */

import { writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import type { Job, PortablePair } from "../../src/batch/job.js";
import { packageVersion } from "../../src/version.js";
import { testBackend } from "./engine.js";
import { goldenFolder } from "./goldens.js";

export const JOB_MODEL = goldenFolder("gpt2");

/** Five pairs of two lengths. */
export const JOB_PAIRS: readonly PortablePair[] = [
  pair("a", [83, 17, 11, 81, 7, 3, 85], [83, 29, 11, 81, 19, 3, 85], 1),
  pair("b", [2, 41, 8, 80, 7], [2, 42, 8, 80, 7], 1),
  pair("c", [9, 17, 60, 81, 7, 3, 5], [9, 29, 60, 81, 8, 3, 5], 4),
  pair("d", [10, 11, 12, 13, 14, 15, 16], [10, 11, 33, 13, 14, 15, 16], 2),
  pair("e", [4, 40, 44, 50, 51], [4, 40, 45, 50, 51], 2),
];

function pair(name: string, clean: number[], corrupted: number[], subject: number): PortablePair {
  const roles = [["end", clean.length - 1] as const, ["subject", subject] as const];
  const answers = { answers: [71, 5], wrong: [7] };
  return {
    name,
    clean,
    corrupted,
    ...answers,
    roles,
    metricPosition: clean.length - 1,
    origin: `pairs:${name}`,
  };
}

/** A job with everything that has a default left as it is. */
export function jobByHand(changes: Partial<Job> = {}): Job {
  return {
    atpkit: packageVersion(),
    backend: testBackend(),
    model: { name: "gpt2", hash: "0".repeat(64) },
    pairs: JOB_PAIRS,
    source: { kind: "prompt" },
    metrics: [{ output: "logit-diff" }],
    direction: "noising",
    sites: ["q", "k", "z", "mlpOut"],
    positions: "each",
    batchSize: 2,
    activationBudgetBytes: 2 ** 24,
    workload: { method: "atp*", byPair: false, pairs: 16, nodes: 256 },
    ...changes,
  };
}

/** Lines of a pairs file. */
export function pairLines(pairs: readonly PortablePair[] = JOB_PAIRS): string {
  return pairs
    .map(({ name, clean, corrupted, answers, wrong, roles }) =>
      JSON.stringify({ name, clean, corrupted, answers, wrong, roles: Object.fromEntries(roles) }),
    )
    .join("\n");
}

/** Writes a job file with its pairs beside it; a field that is set to undefined is left out. */
export function writeJobFile(folder: string, changes: Readonly<Record<string, unknown>> = {}): string {
  const file = join(folder, "job.json");
  writeFileSync(join(folder, "pairs.jsonl"), pairLines());
  const spec = {
    model: relative(folder, JOB_MODEL),
    pairs: "pairs.jsonl",
    output: "out",
    engine: testBackend(),
    ...changes,
  };
  writeFileSync(file, JSON.stringify(spec));
  return file;
}
