/**
 * @file What becomes of a job whose workers are killed: 200 shards, two workers, 30 of them killed with SIGKILL at random moments, Redis
 * ended and killed once each. Then, with nobody killed, what a shard costs that is too small to cost anything.
 *
 *     npx tsx bench/chaos.ts
 *
 * Needs `redis-server`, and takes about two minutes on two idle cores.
 */

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { runJob } from "../src/batch/coordinator.js";
import { nameTask } from "../src/batch/identity.js";
import { LocalRunner } from "../src/batch/local/local-runner.js";
import { jobFiles, portableJobFile } from "../src/batch/outputs.js";
import { type PreparedJob, prepareJob } from "../src/batch/prepare-job.js";
import { connectQueue } from "../src/batch/queue/connection.js";
import { QueueRunner } from "../src/batch/queue/queue-runner.js";
import { parseQueueUrl } from "../src/batch/queue/queue-url.js";
import type { QueueTimes } from "../src/batch/queue/shard-queue.js";
import type { ShardRunner } from "../src/batch/shard-runner.js";
import type { NamedTask } from "../src/batch/shard-task.js";
import { ShardStore } from "../src/batch/store.js";
import { RedisServer } from "../test/support/redis-server.js";
import type { ChaosMessage, ChaosWorkerStart } from "./chaos-worker.js";

const WORKERS = 2;
const KILLS = 30;
/** A worker is killed after at most so many shards, which all kills together leave some of; or after so long without them. */
const MOST_SHARDS_OF_A_LIFE = 8;
const LONGEST_LIFE_MS = 1500;
/** Longer than a shard takes, so that a kill may come at any moment of one. */
const MOMENT_MS = 60;
/** Shards that are too small to cost anything. */
const TRIVIAL_SHARDS = 200;
/** As in production, but for the wait for a dead worker's shards: 15 s there. */
const TIMES: QueueTimes = {
  lockMs: 4000,
  stalledMs: 1000,
  lookMs: 4000,
  backoffMs: 500,
  sharedFileMs: 90_000,
};

/** 10 pairs, each with 360 nodes in chunks of 18: 200 shards. */
const SPEC = {
  model: resolve("models/demo"),
  pairs: resolve("models/demo/pairs/ioi.jsonl"),
  maxPairs: 10,
  method: "exact",
  nodes: "z",
  engine: "wasm",
  shards: { pairs: 1, nodes: 18 },
  output: "out",
};

const folder = await mkdtemp(join(tmpdir(), "atpkit-chaos-"));
const redis = await RedisServer.start();
/** How often each shard was made. */
const made = new Map<string, number>();
let kills = 0;
let killing = true;
const alive = new Set<ChildProcess>();

try {
  const local = await prepared("local");
  await runHere(local);
  console.log(`local run: ${(await names(local)).size} shards`);
  await chaos(await prepared("queued"), local);
  await overhead(await prepared("trivial"));
} finally {
  killing = false;
  for (const child of alive) child.kill("SIGKILL");
  await redis.remove();
  await rm(folder, { recursive: true, force: true });
}

async function prepared(name: string): Promise<PreparedJob> {
  await mkdir(join(folder, name));
  const file = join(folder, name, "job.json");
  await writeFile(file, JSON.stringify(SPEC));
  return prepareJob(file);
}

function localRunner(job: PreparedJob): LocalRunner {
  const { modelFolder, modelFiles, outputFolder } = job;
  const jobFile = portableJobFile(job);
  return new LocalRunner({ modelFolder, modelFiles, outputFolder, jobFile, workers: 1, retries: 0 });
}

async function runHere(job: PreparedJob): Promise<void> {
  const runner = localRunner(job);
  await runJob(job, runner);
  await runner.close();
}

async function chaos(job: PreparedJob, local: PreparedJob): Promise<void> {
  for (let worker = 0; worker < WORKERS; worker++) void keepKilling(job);
  let done = 0;
  let restarts = 0;
  const all = (await names(local)).size;
  await throughQueue(job, async (runner) => {
    const watched: ShardRunner = {
      run: (tasks, events, signal) =>
        runner.run(
          tasks,
          {
            ...events,
            onDone: (name) => {
              events.onDone(name);
              done += 1;
              if (restarts < 2 && done >= ((restarts + 1) * all) / 3) {
                restarts += 1;
                void restartRedis(restarts === 1 ? "SIGTERM" : "SIGKILL");
              }
            },
          },
          signal,
        ),
      close: () => runner.close(),
    };
    const began = performance.now();
    await runJob(job, watched);
    console.log(
      `through the queue: ${seconds(performance.now() - began)}, ${kills} workers killed, ${restarts} restarts of Redis`,
    );
  });
  killing = false;
  for (const child of alive) child.kill("SIGKILL");
  const [expected, got] = [await names(local), await names(job)];
  const lost = [...expected].filter((name) => !got.has(name));
  let wrong = 0;
  for (const name of got) if (!expected.has(name) || !(await sameNumbers(local, job, name))) wrong += 1;
  const outputs = (["ranked", "scores"] as const).map(async (file) =>
    (await readFile(jobFiles(local.outputFolder)[file])).equals(
      await readFile(jobFiles(job.outputFolder)[file]),
    ),
  );
  console.log(`shards lost: ${lost.length}`);
  console.log(`shards wrong: ${wrong}`);
  console.log(`shards done twice: ${[...made.values()].filter((times) => times > 1).length}`);
  console.log(`outputs equal: ${(await Promise.all(outputs)).every(Boolean)}`);
}

/** Keeps one worker alive, and kills it when it has just become used to living. */
async function keepKilling(job: PreparedJob): Promise<void> {
  while (killing) {
    const child = startWorker(job);
    const gone = once(child, "exit");
    await Promise.race([messages(child, "ready", 1), gone]);
    if (kills < KILLS) {
      const shards = Math.floor(Math.random() * (MOST_SHARDS_OF_A_LIFE + 1));
      await Promise.race([messages(child, "made", shards), delay(LONGEST_LIFE_MS), gone]);
      await Promise.race([delay(Math.random() * MOMENT_MS), gone]);
      if (killing && kills < KILLS && child.kill("SIGKILL")) kills += 1;
    }
    await gone;
  }
}

/** Waits for so many messages of a kind. */
function messages(child: ChildProcess, kind: "ready" | "made", count: number): Promise<void> {
  if (count === 0) return Promise.resolve();
  let left = count;
  return new Promise((resolve) => {
    child.on("message", (message: ChaosMessage) => {
      if (kind in message && --left === 0) resolve();
    });
  });
}

function startWorker(job: PreparedJob): ChildProcess {
  const start: ChaosWorkerStart = {
    url: redis.url,
    times: TIMES,
    model: { name: "demo", folder: job.modelFolder, hash: job.job.model.hash, files: job.modelFiles },
  };
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  const entry = fileURLToPath(new URL("chaos-worker.ts", import.meta.url));
  const child = fork(entry, [JSON.stringify(start)], { execArgv: ["--import", tsx] });
  alive.add(child);
  child.once("exit", () => alive.delete(child));
  child.on("message", (message: ChaosMessage) => {
    if ("made" in message) made.set(message.made, (made.get(message.made) ?? 0) + 1);
  });
  return child;
}

async function restartRedis(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
  await redis.down(signal);
  await delay(500);
  await redis.up();
}

async function throughQueue(job: PreparedJob, work: (runner: QueueRunner) => Promise<void>): Promise<void> {
  const connection = await connectQueue(parseQueueUrl(redis.url), () => {});
  const { outputFolder, jobHash } = job;
  const runner = new QueueRunner({
    connection,
    prefix: "atpkit",
    outputFolder,
    job: job.job,
    jobHash,
    store: await ShardStore.open(outputFolder),
    retries: 2,
    nodes: job.space.size,
    times: TIMES,
  });
  try {
    await work(runner);
  } finally {
    await runner.close();
    connection.close();
  }
}

/** Time per shard of one patched node, behind the first one, without the time that computing it takes. */
async function overhead(job: PreparedJob): Promise<void> {
  const tasks = Array.from({ length: TRIVIAL_SHARDS }, (_, node): NamedTask => {
    const task = { kind: "verify", pairs: { first: 0, end: 1 }, nodes: [node] } as const;
    return nameTask(job.jobHashes, task);
  });
  const store = await ShardStore.open(job.outputFolder);
  await writeFile(portableJobFile(job), JSON.stringify(job.job));
  const measure = async (who: string, runner: ShardRunner) => {
    const times: number[] = [];
    await runner.run(tasks, { onDone: () => times.push(performance.now()) });
    let computing = 0;
    for (const { name } of tasks) {
      computing += (await store.read(name)).seconds;
      await store.remove(name);
    }
    const each = (times[times.length - 1] - times[0]) / (tasks.length - 1);
    const own = (computing * 1000) / tasks.length;
    console.log(
      `${who}: ${each.toFixed(1)} ms a shard, ${own.toFixed(1)} of them computing: overhead ${(each - own).toFixed(1)} ms`,
    );
  };
  const here = localRunner(job);
  await measure("one local process", here);
  await here.close();
  const worker = startWorker(job);
  await throughQueue(job, (runner) => measure("one worker behind the queue", runner));
  worker.kill("SIGTERM");
  await once(worker, "exit");
}

async function names({ outputFolder, jobHash }: PreparedJob): Promise<Set<string>> {
  const store = await ShardStore.open(outputFolder);
  const found = (await readdir(store.folder)).filter((name) => name.endsWith(".shard"));
  const whole = new Set<string>();
  for (const name of found.map((file) => file.replace(".shard", ""))) {
    if ((await store.has(name)) && (await store.read(name)).job === jobHash) whole.add(name);
  }
  return whole;
}

/** Bit for bit; a shard's file also says how long it took. */
async function sameNumbers(a: PreparedJob, b: PreparedJob, name: string): Promise<boolean> {
  const [one, other] = [
    await (await ShardStore.open(a.outputFolder)).read(name),
    await (await ShardStore.open(b.outputFolder)).read(name),
  ];
  return Object.entries(one.arrays).every(([key, array]) => {
    const twin = other.arrays[key];
    return Buffer.from(array.buffer, array.byteOffset, array.byteLength).equals(
      Buffer.from(twin.buffer, twin.byteOffset, twin.byteLength),
    );
  });
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(0)} s`;
}
