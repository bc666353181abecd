/**
 * @file What more workers of one machine are worth: the time of a job with one local worker ÷ that with two, on the WASM engine, whose
 * processes have one thread each, so that the ideal is 2. With workers that are there already, and with their start; the two kinds of
 * workers take turns.
 *
 *   npx tsx bench/batch-scaling.ts [repeats] [--model models/demo] [--pairs models/demo/pairs/ioi.jsonl] [--nodes z] [--workers 2]
 */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { availableParallelism, loadavg, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import Table from "cli-table3";
import { estimateTasks, verifyTasks } from "../src/batch/coordinator-splitting.js";
import { nameTask } from "../src/batch/identity.js";
import { LocalRunner } from "../src/batch/local/local-runner.js";
import { JobOutputs, portableJobFile } from "../src/batch/outputs.js";
import { type PreparedJob, prepareJob } from "../src/batch/prepare-job.js";
import type { NamedTask, ShardTask } from "../src/batch/shard-task.js";
import { median, spread, timed } from "./timing.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: "string", default: "models/demo" },
    pairs: { type: "string", default: "models/demo/pairs/ioi.jsonl" },
    nodes: { type: "string", default: "z" },
    workers: { type: "string", default: "2" },
  },
});
const repeats = Number(positionals[0] ?? 3);
const workers = Number(values.workers);
const folder = await mkdtemp(join(tmpdir(), "atpkit-bench-"));
try {
  await measure();
} finally {
  await rm(folder, { recursive: true, force: true });
}

async function measure(): Promise<void> {
  const specFile = join(folder, "job.json");
  await writeFile(
    specFile,
    JSON.stringify({
      model: resolve(values.model),
      pairs: resolve(values.pairs),
      nodes: values.nodes,
      method: "atp",
      engine: "wasm",
      output: "out",
    }),
  );
  const prepared = await prepareJob(specFile);
  const outputs = new JobOutputs(prepared, undefined);
  await outputs.saveJob();
  const { space, pairs, modelFolder, modelFiles, outputFolder } = prepared;
  const makeRunner = (count: number) =>
    new LocalRunner({
      modelFolder,
      modelFiles,
      outputFolder,
      jobFile: portableJobFile(prepared),
      workers: count,
      retries: 0,
    });

  const nodes = Uint32Array.from({ length: space.size }, (_, node) => node);
  // Every worker gets many shards, so that waiting for the last one is little.
  const sizes = { pairs: 8, nodes: Math.ceil(space.size / 4), samples: 1 };
  const tasks = named(prepared, verifyTasks(nodes, pairs.length, sizes));
  const few = named(
    prepared,
    estimateTasks(pairs.length, { ...sizes, pairs: 1 }, { method: "atp", byPair: false }),
  );

  const [one, more] = [makeRunner(1), makeRunner(workers)];
  const warm: [number, number][] = [];
  const cold: [number, number][] = [];
  try {
    // As many at once as there are workers starts them all.
    await make(one, few.slice(0, 1));
    await make(more, few.slice(0, workers));
    await make(one, tasks.slice(0, 1));
    await make(more, tasks.slice(0, workers));
    for (let repeat = 0; repeat < repeats; repeat++) {
      const alone = (await timed(() => make(one, tasks))).clock;
      warm.push([alone, (await timed(() => make(more, tasks))).clock]);
    }
  } finally {
    await Promise.all([one.close(), more.close()]);
  }
  const startAndMake = async (count: number) => {
    const runner = makeRunner(count);
    await make(runner, tasks);
    await runner.close();
  };
  for (let repeat = 0; repeat < repeats; repeat++) {
    const alone = (await timed(() => startAndMake(1))).clock;
    cold.push([alone, (await timed(() => startAndMake(workers))).clock]);
  }

  const table = new Table({ head: ["", "1 worker, s", `${workers} workers, s`, "ratio"] });
  for (const [what, times] of [
    ["workers are there", warm],
    ["with their start", cold],
  ] as const) {
    table.push([
      what,
      median(times.map(([alone]) => alone)).toFixed(2),
      median(times.map(([, together]) => together)).toFixed(2),
      spread(times.map(([alone, together]) => alone / together)),
    ]);
  }
  console.log(
    `${tasks.length} shards, ${space.size} nodes on ${pairs.length} pairs; ${repeats} repeats; ${availableParallelism()} cores, load ${loadavg()[0].toFixed(1)}`,
  );
  console.log(table.toString());
}

function named({ jobHashes }: PreparedJob, tasks: readonly ShardTask[]): NamedTask[] {
  return tasks.map((task) => nameTask(jobHashes, task));
}

async function make(runner: LocalRunner, tasks: readonly NamedTask[]): Promise<void> {
  const failed = await runner.run(tasks, { onDone: () => {} });
  if (failed.length > 0) throw new Error(`expected all shards to be made, got: ${failed[0].error}`);
}
