/** @file A small job on the demo model, its outputs from a local run, and coordinators and workers to run it through a queue. */

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { onTestFinished } from "vitest";
import { runJob } from "../../../src/batch/coordinator.js";
import { LocalRunner } from "../../../src/batch/local/local-runner.js";
import { jobFiles, portableJobFile } from "../../../src/batch/outputs.js";
import { type PreparedJob, prepareJob } from "../../../src/batch/prepare-job.js";
import { connectQueue } from "../../../src/batch/queue/connection.js";
import type { QueueKey } from "../../../src/batch/queue/queue-key.js";
import { QueueRunner } from "../../../src/batch/queue/queue-runner.js";
import { parseQueueUrl } from "../../../src/batch/queue/queue-url.js";
import type { QueueWorkerOptions } from "../../../src/batch/queue/queue-worker.js";
import type { QueueTimes } from "../../../src/batch/queue/shard-queue.js";
import { ShardStore } from "../../../src/batch/store.js";
import { DEMO, IOI } from "../../cli/run-cli.js";
import { compiledFile } from "../../support/compiled.js";
import { testBackend } from "../../support/engine.js";
import { redisServerInstalled } from "../../support/redis-server.js";

/** A dead worker is noticed within some five seconds, not twenty. */
export const QUICK: QueueTimes = {
  lockMs: 4000,
  stalledMs: 500,
  lookMs: 500,
  backoffMs: 100,
  sharedFileMs: 1000,
};

/** Why a file of these tests has nothing to do; undefined where it runs. */
export function skipReason(): string | undefined {
  if (!redisServerInstalled()) return "redis-server is not installed";
  return testBackend() === "wasm" ? undefined : "the queue is tested with shards of the wasm engine";
}

/** The title of a file's tests, with the reason where they are skipped. */
export function titled(title: string): string {
  const reason = skipReason();
  return reason === undefined ? title : `${title} (skipped: ${reason})`;
}

/** What every job of these tests has; the queue does not care about the engine. */
const SPEC = {
  model: DEMO,
  pairs: IOI,
  maxPairs: 4,
  nodes: "z,mlpOut",
  positions: "roles",
  engine: "wasm",
  verify: { topK: 8 },
  shards: { pairs: 1, nodes: 4 },
};

/** Six shards of half a second and more: time to kill somebody in the middle of one. */
export const SLOW = {
  maxPairs: 3,
  method: "exact",
  nodes: "z",
  positions: "each",
  shards: { pairs: 1, nodes: 180 },
};

/** Writes a job whose outputs go to `folder`/out. */
export async function writeJob(folder: string, more: object = {}): Promise<string> {
  await mkdir(folder, { recursive: true });
  const file = join(folder, "job.json");
  await writeFile(file, JSON.stringify({ ...SPEC, output: "out", ...more }));
  return file;
}

/** Runs a job in a process of this machine. */
export async function runLocally(file: string): Promise<PreparedJob> {
  const prepared = await prepareJob(file);
  const { modelFolder, modelFiles, outputFolder } = prepared;
  const jobFile = portableJobFile(prepared);
  const runner = new LocalRunner({ modelFolder, modelFiles, outputFolder, jobFile, workers: 1, retries: 0 });
  try {
    await runJob(prepared, runner);
  } finally {
    await runner.close();
  }
  return prepared;
}

/** The bytes of those outputs that have no times in them. */
export async function outputsOf(outputFolder: string): Promise<Record<string, Buffer>> {
  const { ranked, scores } = jobFiles(outputFolder);
  return { ranked: await readFile(ranked), scores: await readFile(scores) };
}

export interface Coordinated {
  readonly notices: string[];
  /** Names of finished shards, as often as they were said to be. */
  readonly done: string[];
  readonly outputFolder: string;
}

export interface QueuedOptions {
  readonly signal?: AbortSignal;
  readonly key?: QueueKey;
  /** Where notices go, for a test that cannot wait for the end. */
  readonly notices?: string[];
}

/** Runs a job through a queue, as `atp batch submit` does, with quick times. */
export async function runQueued(
  file: string,
  url: string,
  { signal, key, notices = [] }: QueuedOptions = {},
): Promise<Coordinated> {
  const onNotice = (text: string) => {
    notices.push(text);
  };
  const connection = await connectQueue(parseQueueUrl(url), onNotice);
  const prepared = await prepareJob(file);
  const { outputFolder, job, jobHash } = prepared;
  const runner = new QueueRunner({
    connection,
    prefix: "atpkit",
    outputFolder,
    job,
    jobHash,
    store: await ShardStore.open(outputFolder),
    retries: 2,
    nodes: prepared.space.size,
    onNotice,
    ...(key && { key }),
    times: QUICK,
  });
  const done: string[] = [];
  try {
    const watched = {
      run: (...[tasks, events, stop]: Parameters<QueueRunner["run"]>) =>
        runner.run(
          tasks,
          {
            ...events,
            onDone: (name) => {
              done.push(name);
              events.onDone(name);
            },
          },
          stop,
        ),
      close: () => runner.close(),
    };
    await runJob(prepared, watched, { onNotice, ...(signal && { signal }) });
  } finally {
    await runner.close();
    connection.close();
  }
  return { notices, done, outputFolder };
}

/** What a worker in a process of its own is told. */
export type WorkerStart = Pick<QueueWorkerOptions, "model" | "sharedFolder" | "memoryBudget"> & {
  readonly url: string;
  readonly times: QueueTimes;
};

export interface StartedWorker {
  readonly child: ChildProcess;
  readonly notices: string[];
  /** Resolves when a notice says this. */
  says(text: string): Promise<void>;
}

/** Starts a worker that can be killed; it is killed when the test has finished. */
export function startWorker(start: WorkerStart, env: Readonly<Record<string, string>> = {}): StartedWorker {
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  const entry = fileURLToPath(new URL("worker-process.ts", import.meta.url));
  const child = fork(entry, [JSON.stringify(start), compiledFile("")], {
    execArgv: ["--import", tsx],
    env: { ...process.env, ...env },
  });
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  });
  const notices: string[] = [];
  const waiting = new Set<() => void>();
  child.on("message", (text) => {
    notices.push(String(text));
    for (const look of waiting) look();
  });
  return {
    child,
    notices,
    says: (text) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (notices.some((notice) => notice.includes(text))) resolve();
        };
        waiting.add(look);
        child.once("exit", (code, signal) =>
          reject(new Error(`worker ended with ${signal ?? code}:\n${notices.join("\n")}`)),
        );
        look();
      }),
  };
}
