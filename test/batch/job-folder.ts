/** @file Jobs on the demo model in folders of their own, and what is in them afterwards. */

import { createHash } from "node:crypto";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type JobOptions, runJob } from "../../src/batch/coordinator.js";
import { LocalRunner } from "../../src/batch/local/local-runner.js";
import { portableJobFile } from "../../src/batch/outputs.js";
import { type PreparedJob, prepareJob } from "../../src/batch/prepare-job.js";
import type { ShardRunner } from "../../src/batch/shard-runner.js";
import { projectRoot } from "../support/child-process.js";
import { testBackend } from "../support/engine.js";
import { temporaryFolder } from "../support/temporary-folder.js";

export const DEMO = join(projectRoot, "models/demo");

export interface JobFolder {
  readonly specFile: string;
  readonly output: string;
}

/** Writes a job on the demo model; its output is in the folder `out` beside it. */
export async function writeJob(spec: object, folder?: string): Promise<JobFolder> {
  const own = folder ?? (await temporaryFolder());
  const specFile = join(own, "job.json");
  const demo = { model: DEMO, pairs: join(DEMO, "pairs/ioi.jsonl"), engine: testBackend(), output: "out" };
  await writeFile(specFile, JSON.stringify({ ...demo, ...spec }));
  return { specFile, output: join(own, "out") };
}

/** The runner of a prepared job. */
export function localRunner(prepared: PreparedJob, workers: number): LocalRunner {
  const { modelFolder, modelFiles, outputFolder, spec } = prepared;
  const { retries } = spec.shards;
  const jobFile = portableJobFile(prepared);
  return new LocalRunner({ modelFolder, modelFiles, outputFolder, jobFile, workers, retries });
}

/**
 * Runs a job in this process with workers of its own.
 * @param around makes another runner of the one with the workers
 */
export async function run(
  { specFile }: JobFolder,
  workers: number,
  options: JobOptions = {},
  around: (runner: ShardRunner) => ShardRunner = (runner) => runner,
) {
  const prepared = await prepareJob(specFile);
  const runner = localRunner(prepared, workers);
  try {
    return await runJob(prepared, around(runner), options);
  } finally {
    await runner.close();
  }
}

/** The files whose bytes depend on nothing but the job, by name: hashes, as they are long. */
export async function resultsOf({ output }: JobFolder): Promise<Record<string, string>> {
  const names = ["ranked.csv", "scores.parquet", "certificate.json", "metrics.csv"];
  const there = new Set(await readdir(output));
  const hashes = names
    .filter((name) => there.has(name))
    .map(async (name) => [name, await hashOf(join(output, name))] as const);
  return Object.fromEntries(await Promise.all(hashes));
}

async function hashOf(file: string): Promise<string> {
  return createHash("sha256")
    .update(await readFile(file))
    .digest("hex");
}

/** Shards that are there, by file name, with the time of their last change. */
export async function shardsOf({ output }: JobFolder): Promise<Map<string, number>> {
  const folder = join(output, "shards");
  const names = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith(".shard")).sort();
  return new Map(
    await Promise.all(names.map(async (name) => [name, (await stat(join(folder, name))).mtimeMs] as const)),
  );
}

/** Waits for something that happens elsewhere. */
export async function until(happened: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await happened())) await new Promise((resolve) => setTimeout(resolve, 10));
}

/** Processes that this process or another one has started and that run, by their numbers. Linux alone. */
export async function childrenOf(pid: number): Promise<number[]> {
  const entries = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    entries.map(async (name) => {
      const text = await readFile(`/proc/${name}/stat`, "utf8").catch(() => "");
      // pid (name) state parent …, where the name may have spaces.
      const [state, parent] = text.slice(text.lastIndexOf(")") + 2).split(" ");
      return Number(parent) === pid && state !== "Z" ? [Number(name)] : [];
    }),
  );
  return found.flat();
}
