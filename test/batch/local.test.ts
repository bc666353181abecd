/** Workers on this machine: what becomes of a shard whose worker fails or dies. */

import { utimesSync } from "node:fs";
import { cp, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { nameTask } from "../../src/batch/identity.js";
import { LocalRunner } from "../../src/batch/local/local-runner.js";
import { ShardProcess, ShardProcessDied } from "../../src/batch/local/shard-process.js";
import { JobOutputs, portableJobFile } from "../../src/batch/outputs.js";
import { type PreparedJob, prepareJob } from "../../src/batch/prepare-job.js";
import type { FailedShard } from "../../src/batch/shard-runner.js";
import type { NamedTask, ShardTask } from "../../src/batch/shard-task.js";
import { ShardStore } from "../../src/batch/store.js";
import { ModelChanged } from "../../src/checkpoint/model-hash.js";
import { InputError, RunError } from "../../src/errors.js";
import { isRunning } from "../../src/results/folder-lock.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { childrenOf, DEMO, shardsOf, until, writeJob } from "./job-folder.js";

/** What this file starts is compiled: many processes. */
vi.mock(import("../../src/node-entry.js"), () => import("../support/compiled-entry.js"));

/** Many processes, each with an engine: on a busy machine they take long to start. */
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

let prepared: PreparedJob;
let store: ShardStore;

beforeAll(async () => {
  const { specFile } = await writeJob({ maxPairs: 4, nodes: "z", positions: "roles" });
  prepared = await prepareJob(specFile);
  await new JobOutputs(prepared, undefined).saveJob();
  store = await ShardStore.open(prepared.outputFolder);
});

function named(task: ShardTask): NamedTask {
  return nameTask(prepared.jobHashes, task);
}

function estimate(first: number, end: number): NamedTask {
  return named({ kind: "estimate", pairs: { first, end }, method: "atp", byPair: false });
}

function places() {
  const { modelFolder, modelFiles, outputFolder } = prepared;
  return { modelFolder, modelFiles, outputFolder, jobFile: portableJobFile(prepared) };
}

async function runAll(runner: LocalRunner, tasks: readonly NamedTask[]) {
  const done: string[] = [];
  const retried: FailedShard[] = [];
  const failed = await runner.run(tasks, {
    onDone: (name) => done.push(name),
    onRetry: (failure) => retried.push(failure),
  });
  return { done, retried, failed };
}

describe("a shard that cannot be computed", () => {
  it("is set aside while the others are made; what is wrong with its input is tried once", async () => {
    const runner = new LocalRunner({ ...places(), workers: 2, retries: 2 });
    const wrong = named({ kind: "verify", pairs: { first: 0, end: 1 }, nodes: [0, 1_000_000] });
    const [first, second] = [estimate(0, 1), estimate(1, 2)];
    try {
      const { done, retried, failed } = await runAll(runner, [first, wrong, second]);
      expect(done.sort()).toEqual([first.name, second.name].sort());
      expect(await store.has(first.name)).toBe(true);
      expect(retried).toEqual([]);
      expect(failed).toEqual([
        {
          name: wrong.name,
          tries: 1,
          error: `compute: expected nodes from 0 to ${prepared.space.size - 1}, those of the job, got 1000000`,
        },
      ]);
    } finally {
      await runner.close();
    }
  });

  it("is tried again as often as it may be, where the work itself fails", async () => {
    const { outputFolder } = prepared;
    const runner = new LocalRunner({ ...places(), workers: 1, retries: 2 });
    // The store refuses a result under a name that is not its own.
    const unnamed = { ...estimate(2, 3), name: "0".repeat(64) };
    try {
      const { retried, failed } = await runAll(runner, [unnamed, estimate(3, 4)]);
      expect(retried.map(({ tries }) => tries)).toEqual([1, 2]);
      expect(failed).toMatchObject([{ name: unnamed.name, tries: 3 }]);
      expect(await readdir(join(outputFolder, "shards"))).not.toContain(`${unnamed.name}.shard`);
    } finally {
      await runner.close();
    }
  });
});

describe.skipIf(process.platform !== "linux")("a worker that is killed", () => {
  it("is replaced, and its shard made by another one", async () => {
    const runner = new LocalRunner({ ...places(), workers: 1, retries: 1 });
    const shard = estimate(0, 3);
    try {
      const run = runAll(runner, [shard]);
      await until(async () => (await childrenOf(process.pid)).length > 0);
      const [victim] = await childrenOf(process.pid);
      process.kill(victim, "SIGKILL");
      const { done, retried, failed } = await run;
      expect(retried).toEqual([
        { name: shard.name, tries: 1, error: `worker process ${victim} ended with SIGKILL` },
      ]);
      expect(done).toEqual([shard.name]);
      expect(failed).toEqual([]);
    } finally {
      await runner.close();
    }
    expect(await childrenOf(process.pid)).toEqual([]);
  });

  it("every time takes its shard with it at last, and no other", async () => {
    const runner = new LocalRunner({ ...places(), workers: 1, retries: 1 });
    const [fatal, harmless] = [estimate(1, 4), estimate(0, 4)];
    await runAll(runner, [estimate(1, 2)]);
    // With the shard in hand; and the next one while it starts, as twice in a row would be the end of the run.
    const [first] = await childrenOf(process.pid);
    const killed = new Set([first]);
    let kills = 1;
    const run = runAll(runner, [fatal, harmless]);
    process.kill(first, "SIGKILL");
    const killer = setInterval(async () => {
      for (const child of await childrenOf(process.pid)) {
        if (kills === 0 || killed.has(child)) continue;
        killed.add(child);
        kills--;
        process.kill(child, "SIGKILL");
      }
    }, 50);
    try {
      const { done, failed } = await run;
      expect(failed).toMatchObject([{ name: fatal.name, tries: 2 }]);
      expect(failed[0].error).toMatch(/^worker process \d+ ended with SIGKILL$/);
      expect(done).toEqual([harmless.name]);
    } finally {
      clearInterval(killer);
      await runner.close();
    }
  });
});

describe("a model that changes after the job was prepared", () => {
  /** A job with a model of its own, and a worker's shards of it. */
  async function ownJob() {
    const folder = await temporaryFolder();
    await cp(DEMO, join(folder, "model"), { recursive: true });
    const spec = { maxPairs: 4, nodes: "z", positions: "roles", model: "model" };
    const { specFile, output } = await writeJob(spec, folder);
    const own = await prepareJob(specFile);
    await new JobOutputs(own, undefined).saveJob();
    const { modelFolder, modelFiles, outputFolder } = own;
    const weights = join(modelFolder, "model.safetensors");
    return {
      places: { modelFolder, modelFiles, outputFolder, jobFile: portableJobFile(own) },
      shards: [0, 1, 2].map((pair) =>
        nameTask(own.jobHashes, {
          kind: "estimate",
          pairs: { first: pair, end: pair + 1 },
          method: "atp",
          byPair: false,
        }),
      ),
      async change() {
        const bytes = await readFile(weights);
        bytes[bytes.length - 4] ^= 1;
        await writeFile(weights, bytes);
      },
      made: async () => [...(await shardsOf({ specFile, output })).keys()],
      text: `checkUnchanged: ${weights}: expected the model to stay as it was when the job was prepared or the worker started, got a file that has changed since`,
    };
  }

  it("is not loaded, and ends the run for all shards", async () => {
    const { places, shards, change, made, text } = await ownJob();
    await change();
    const worker = new ShardProcess(places);
    await expect(worker.start()).rejects.toThrow(new ModelChanged(text));
    await worker.close();
    const runner = new LocalRunner({ ...places, workers: 2, retries: 3 });
    await expect(runAll(runner, shards)).rejects.toThrow(new ModelChanged(text));
    await runner.close();
    expect(await made()).toEqual([]);
  });

  it("ends the run when it is loaded already: what is stored is of the model that was", async () => {
    const { places, shards, made, text } = await ownJob();
    const runner = new LocalRunner({ ...places, workers: 1, retries: 3 });
    const retried: FailedShard[] = [];
    const run = runner.run(shards, {
      // The next shard is asked for in the same moment.
      onDone: () => utimesSync(join(places.modelFolder, "model.safetensors"), 0, 0),
      onRetry: (failure) => retried.push(failure),
    });
    await expect(run).rejects.toThrow(new ModelChanged(text));
    await runner.close();
    expect(retried).toEqual([]);
    expect(await made()).toEqual([`${shards[0].name}.shard`]);
  });
});

describe("what goes wrong beside the shards", () => {
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  /** Lets processes that are started run this first. */
  function begunWith(code: string): void {
    vi.stubEnv("NODE_OPTIONS", `--import=data:text/javascript,${encodeURIComponent(code)}`);
  }

  it("ends the run where one process after the other dies before it is ready", async () => {
    begunWith("process.exit(3)");
    const runner = new LocalRunner({ ...places(), workers: 1, retries: 2 });
    const retried: FailedShard[] = [];
    const run = runner.run([estimate(0, 1), estimate(1, 2), estimate(2, 3)], {
      onDone: () => {},
      onRetry: (failure) => retried.push(failure),
    });
    const last = /^worker process \d+ ended with exit code 3$/;
    const error = await run.catch((reason: unknown) => reason);
    if (!(error instanceof RunError)) throw new Error(`expected a RunError, got ${error}`);
    expect(error.message).toMatch(
      /^LocalRunner: expected worker processes to start, got 3 one after the other that did not; the last one: worker process \d+ ended with exit code 3$/,
    );
    expect(error.cause).toBeInstanceOf(ShardProcessDied);
    expect(retried.map(({ tries }) => tries)).toEqual([1, 2]);
    for (const { error } of retried) expect(error).toMatch(last);
    // Later, when they start again, nothing is held against them.
    vi.unstubAllEnvs();
    expect((await runAll(runner, [estimate(0, 1)])).failed).toEqual([]);
    await runner.close();
  });

  it("is told where a process answers what is no answer", async () => {
    begunWith('process.send?.({ kind: "strange" })');
    const worker = new ShardProcess(places());
    const start = worker.start();
    await expect(start).rejects.toThrow(RunError);
    await expect(start).rejects.toThrow(/^worker process \d+: expected an answer, got \{"kind":"strange"\}$/);
    await worker.close();
    expect(worker.alive).toBe(false);
  });

  it("is not taken for a fault of the shard where it is one of whoever is told of it", async () => {
    const runner = new LocalRunner({ ...places(), workers: 1, retries: 2 });
    const told: string[] = [];
    const [first, second] = [estimate(0, 1), estimate(1, 2)];
    const run = runner.run([first, second], {
      onDone: (name) => {
        told.push(name);
        throw new Error("nobody listens");
      },
      onRetry: ({ error }) => told.push(error),
    });
    await expect(run).rejects.toThrow(new Error("nobody listens"));
    expect(told).toEqual([first.name]);
    await runner.close();
  });
});

describe("ShardProcess", () => {
  it("makes shards, finishes the one in hand when it is closed, and makes no more", async () => {
    const worker = new ShardProcess(places());
    expect(await worker.start()).toMatch(/WASM|TensorFlow/);
    const { pid } = worker;
    const [first, second] = [estimate(0, 2), estimate(2, 4)];
    await worker.compute(first);
    expect((await store.read(first.name)).task).toEqual(first.task);
    const inHand = worker.compute(second);
    await worker.close();
    await inHand;
    expect(await store.has(second.name)).toBe(true);
    expect(worker.pid).toBeUndefined();
    expect(isRunning(pid ?? 0)).toBe(false);
    await expect(worker.compute(first)).rejects.toThrow(ShardProcessDied);
    await expect(worker.compute(first)).rejects.toThrow("worker process: expected one that runs, got none");
  });

  it("does not end by the signals that a terminal sends to all", async () => {
    const worker = new ShardProcess(places());
    await worker.start();
    const pid = worker.pid ?? 0;
    process.kill(pid, "SIGINT");
    process.kill(pid, "SIGTERM");
    await worker.compute(estimate(3, 4));
    expect(worker.pid).toBe(pid);
    await worker.close();
  });

  it("says what keeps it from starting, and ends", async () => {
    const worker = new ShardProcess({ ...places(), modelFolder: join(DEMO, "pairs") });
    const start = worker.start();
    await expect(start).rejects.toThrow(InputError);
    await expect(start).rejects.toThrow(/config\.json/);
    await worker.close();
    expect(worker.alive).toBe(false);
  });

  it("ends the run for all shards where none can be started", async () => {
    const runner = new LocalRunner({
      ...places(),
      modelFolder: join(DEMO, "pairs"),
      workers: 2,
      retries: 5,
    });
    await expect(runAll(runner, [estimate(0, 1), estimate(1, 2), estimate(2, 3)])).rejects.toThrow(
      InputError,
    );
    await runner.close();
  });
});
