/** Which shards a job makes, finds, makes again, and goes without. */

import { copyFile, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { Job } from "../../src/batch/job.js";
import type { ShardRunner } from "../../src/batch/shard-runner.js";
import type { NamedTask } from "../../src/batch/shard-task.js";
import { hashOf } from "../../src/canonical-json.js";
import { InputError } from "../../src/errors.js";
import { loadModel, localize, type Model, metricByName, readPairs } from "../../src/index.js";
import { samplePairs } from "../../src/prompts/sample-pairs.js";
import { readRankedCsv } from "../../src/report/read-ranked-csv.js";
import { startTestEngine } from "../support/engine.js";
import { relativeError } from "../support/errors.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { DEMO, type JobFolder, resultsOf, run, shardsOf, writeJob } from "./job-folder.js";

/** What this file starts is compiled: many processes. */
vi.mock(import("../../src/node-entry.js"), () => import("../support/compiled-entry.js"));

/** Many processes, each with an engine: on a busy machine they take long to start. */
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

/** Two estimate shards, two verify shards. */
const JOB = {
  maxPairs: 4,
  nodes: "z",
  positions: "roles",
  verify: { topK: 6 },
  shards: { pairs: 2, nodes: 6, samples: 10 },
};

describe("a job that was run", () => {
  let job: JobFolder;
  let before: Map<string, number>;

  beforeAll(async () => {
    job = await writeJob(JOB);
    await run(job, 1);
    before = await shardsOf(job);
  });

  it("makes nothing again, and starts no worker", async () => {
    const results = await resultsOf(job);
    const notices: string[] = [];
    // A runner that makes nothing would leave shards missing, and there is none.
    await run(job, 1, { onNotice: (text) => notices.push(text) }, () => ({
      run: () => Promise.reject(new Error("expected no shard to be made")),
      close: async () => {},
    }));
    expect(notices).toEqual([
      "estimate: 2 of 2 shards are there already",
      "verify: 2 of 2 shards are there already",
    ]);
    expect(await shardsOf(job)).toEqual(before);
    expect(await resultsOf(job)).toEqual(results);
  });

  it("makes a shard with a wrong bit again, says so, and comes to the same bytes", async () => {
    const results = await resultsOf(job);
    for (const [place, name] of [...before.keys()].entries()) {
      const file = join(job.output, "shards", name);
      const bytes = await readFile(file);
      // Another place in each: at its end, in its middle, near its beginning.
      const at = Math.max(0, Math.floor((bytes.length * (4 - place)) / 4) - 1);
      bytes[at] ^= 1 << (place % 8);
      await writeFile(file, bytes);
    }
    const notices: string[] = [];
    await run(job, 1, { onNotice: (text) => notices.push(text) });
    expect(notices.filter((text) => /\.shard: .+; it is made again$/.test(text))).toHaveLength(4);
    expect(await resultsOf(job)).toEqual(results);
    expect([...(await shardsOf(job)).keys()]).toEqual([...before.keys()]);
  });

  it("keeps its estimates where more nodes are to be verified, and the nodes it has verified in whole shards", async () => {
    const kept = await shardsOf(job);
    await writeJob({ ...JOB, verify: { topK: 12 } }, join(job.specFile, ".."));
    await run(job, 1);
    const now = await shardsOf(job);
    expect([...kept].every(([name, time]) => now.get(name) === time)).toBe(true);
    expect(now.size).toBe(kept.size + 2);
    await writeJob(JOB, join(job.specFile, ".."));
  });
});

/** A runner that does something between being done and saying so. */
function after(runner: ShardRunner, then: (tasks: readonly NamedTask[]) => Promise<void>): ShardRunner {
  return {
    run: async (tasks, events, signal) => {
      const failed = await runner.run(tasks, events, signal);
      await then(tasks);
      return failed;
    },
    close: () => runner.close(),
  };
}

/** Makes no verify shards. */
function withoutVerify(runner: ShardRunner): ShardRunner {
  return {
    run: (tasks, events, signal) =>
      tasks[0].task.kind === "verify"
        ? Promise.reject(new Error("enough"))
        : runner.run(tasks, events, signal),
    close: () => runner.close(),
  };
}

async function invert(file: string): Promise<void> {
  await writeFile(
    file,
    (await readFile(file)).map((byte) => ~byte),
  );
}

describe("a shard that is damaged after it was made", () => {
  it("is made again, and counted once", async () => {
    const job = await writeJob(JOB);
    const damaged: string[] = [];
    await run(job, 1, {}, (runner) =>
      after(runner, async ([{ name, task }]) => {
        if (task.kind !== "verify" || damaged.length > 0) return;
        damaged.push(name);
        await invert(join(job.output, "shards", `${name}.shard`));
      }),
    );
    expect(damaged).toHaveLength(1);
    const status = JSON.parse(await readFile(join(job.output, "status.json"), "utf8"));
    expect(status).toMatchObject({
      state: "done",
      stage: "verify",
      shards: { done: 2, total: 2, failed: 0 },
    });
    const undamaged = await writeJob(JOB);
    await run(undamaged, 1);
    expect(await resultsOf(job)).toEqual(await resultsOf(undamaged));
  });
});

describe("the outputs of an earlier job", () => {
  const OUTPUTS = ["manifest.json", "ranked.csv", "scores.parquet", "summary.json"];

  async function outputsOf({ output }: JobFolder): Promise<Record<string, string>> {
    const names = (await readdir(output)).filter((name) => OUTPUTS.includes(name)).sort();
    return Object.fromEntries(
      await Promise.all(names.map(async (name) => [name, await readFile(join(output, name), "utf8")])),
    );
  }

  it("do not stay beside the list of another one, and stay as they are while the same one is run again", async () => {
    const job = await writeJob(JOB);
    await run(job, 1);
    const before = await outputsOf(job);
    expect(Object.keys(before)).toEqual(OUTPUTS);
    for (const name of (await shardsOf(job)).keys()) await invert(join(job.output, "shards", name));
    await expect(run(job, 1, {}, withoutVerify)).rejects.toThrow("enough");
    expect(await outputsOf(job)).toEqual(before);

    await writeJob({ ...JOB, verify: { topK: 12 } }, join(job.specFile, ".."));
    await expect(run(job, 1, {}, withoutVerify)).rejects.toThrow("enough");
    const { "summary.json": summary, ...others } = await outputsOf(job);
    expect(Object.keys(others)).toEqual(["ranked.csv"]);
    expect(JSON.parse(summary)).toMatchObject({ nodes: { verified: 0 }, options: { verify: { topK: 12 } } });
    expect(others["ranked.csv"]).not.toBe(before["ranked.csv"]);

    await run(job, 1);
    const manifest = JSON.parse((await outputsOf(job))["manifest.json"]);
    expect(manifest).toMatchObject({ spec: { verify: { topK: 12 } }, missing: [] });
  });

  it("leave its own portable job where a worker of it finds it", async () => {
    const job = await writeJob({ ...JOB, maxPairs: 2 });
    await run(job, 1);
    await writeJob({ ...JOB, maxPairs: 1 }, join(job.specFile, ".."));
    await run(job, 1);
    const names = (await readdir(job.output)).filter((name) =>
      /^portable-job-[0-9a-f]{64}\.json$/.test(name),
    );
    const pairs = names.map(async (name) => {
      const portable: Job = JSON.parse(await readFile(join(job.output, name), "utf8"));
      expect(name).toBe(`portable-job-${hashOf(portable)}.json`);
      return portable.pairs.length;
    });
    expect((await Promise.all(pairs)).sort()).toEqual([1, 2]);
  });
});

describe("a change of what shards depend on", () => {
  /** A job with files of its own, so that they can be changed. */
  async function ownFiles(): Promise<JobFolder & { readonly folder: string }> {
    const folder = await temporaryFolder();
    await mkdir(join(folder, "model"));
    for (const name of ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"])
      await copyFile(join(DEMO, name), join(folder, "model", name));
    const lines = (await readFile(join(DEMO, "pairs/ioi.jsonl"), "utf8")).split("\n").slice(0, 2);
    await writeFile(join(folder, "pairs.jsonl"), `${lines.join("\n")}\n`);
    return { ...(await writeJob(OWN, folder)), folder };
  }

  const OWN = { ...JOB, maxPairs: undefined, model: "model", pairs: "pairs.jsonl", verify: { topK: 1 } };

  it("of a field of the spec, of one byte of the model, or of a pair, makes every shard anew", async () => {
    const { folder, ...job } = await ownFiles();
    const pairsFile = join(folder, "pairs.jsonl");
    const weights = join(folder, "model/model.safetensors");
    await run(job, 1);
    const changes: Record<string, () => Promise<unknown>> = {
      field: () => writeJob({ ...OWN, direction: "denoising" }, folder),
      model: async () => {
        const bytes = await readFile(weights);
        // The lowest bit of a float32's mantissa.
        bytes[bytes.length - 4] ^= 1;
        await writeFile(weights, bytes);
      },
      pair: async () => {
        const text = await readFile(pairsFile, "utf8");
        await writeFile(pairsFile, text.split("\n").reverse().join("\n").trimStart());
      },
    };
    for (const [what, change] of Object.entries(changes)) {
      const before = await shardsOf(job);
      await change();
      await run(job, 1);
      const now = await shardsOf(job);
      expect([what, now.size]).toEqual([what, before.size + 2]);
      expect([...before].every(([name, time]) => now.get(name) === time)).toBe(true);
    }
  });
});

describe("the numbers of a job", () => {
  let model: Model;

  beforeAll(async () => {
    await startTestEngine();
    model = await loadModel(DEMO);
  });

  afterAll(() => model.dispose());

  it("are those of localize", async () => {
    const job = await writeJob(JOB);
    const { rows } = await run(job, 2);
    const all = await readPairs(join(DEMO, "pairs/ioi.jsonl"), model, metricByName("logit-diff").needs);
    const ranking = await localize(model, samplePairs(all, 4, 0), {
      nodes: "z",
      positions: "roles",
      topK: 6,
    });
    const { estimates, verified } = ranking;
    if (!estimates || !verified) throw new Error("expected estimates and verified nodes");

    const listed: { readonly estimate: number; readonly effect?: number }[] = [];
    for await (const { row } of readRankedCsv(join(job.output, "ranked.csv"))) {
      listed.push({
        estimate: row.estimateMean ?? Number.NaN,
        ...(row.effectMean !== undefined && { effect: row.effectMean }),
      });
    }
    const meanOf = (table: typeof estimates, row: number) => table.sum[row] / table.count[row];
    const rowOf = new Map(Array.from(verified.nodes, (node, row) => [node, row]));
    const wanted = Array.from(ranking.order, (node) => meanOf(estimates, node));
    expect(
      relativeError(
        listed.map(({ estimate }) => estimate),
        wanted,
      ),
    ).toBeLessThan(BATCHED_OTHERWISE);
    const effects = Array.from(ranking.order.slice(0, 6), (node) =>
      meanOf(verified.scores, rowOf.get(node) ?? -1),
    );
    expect(
      relativeError(
        listed.slice(0, 6).map(({ effect }) => effect ?? Number.NaN),
        effects,
      ),
    ).toBeLessThan(BATCHED_OTHERWISE);
    expect(rows.filter((row) => row.verified)).toHaveLength(6);
    expect(listed.filter(({ effect }) => effect !== undefined)).toHaveLength(6);
  });
});

/** Products of batches of other sizes round otherwise, in float32. */
const BATCHED_OTHERWISE = 1e-5;

describe("an output folder", () => {
  it("is refused while another process runs a job there, and not for one that was killed", async () => {
    const job = await writeJob({ ...JOB, maxPairs: 2, verify: { topK: 1 } });
    await mkdir(job.output);
    const lock = join(job.output, "run.lock");
    await writeFile(lock, JSON.stringify({ pid: process.ppid, host: hostname() }));
    await expect(run(job, 1)).rejects.toThrow(
      `lockFolder: expected a results folder that nobody else writes to, got ${job.output}, where process ${process.ppid} does (if it does not: remove ${lock})`,
    );
    // Above the largest number that Linux gives.
    await writeFile(lock, JSON.stringify({ pid: 2 ** 22 + 1, host: hostname() }));
    await run(job, 1);
    expect(await readdir(job.output)).not.toContain("run.lock");
  });

  it("is taken over, with a warning, from another machine", async () => {
    const job = await writeJob({ ...JOB, maxPairs: 2, verify: { topK: 1 } });
    await mkdir(job.output);
    await writeFile(join(job.output, "run.lock"), JSON.stringify({ pid: 7, host: "elsewhere.example" }));
    const notices: string[] = [];
    await run(job, 1, { onNotice: (text) => notices.push(text) });
    expect(notices[0]).toBe(
      `warning: process 7 of elsewhere.example has begun to write to ${job.output}, too; if it still runs, stop one of the two`,
    );
  });

  it("is refused where an output would replace the spec", async () => {
    const folder = await temporaryFolder();
    const { specFile } = await writeJob(JOB, folder);
    const taken = join(folder, "manifest.json");
    await writeFile(taken, (await readFile(specFile, "utf8")).replace('"out"', '"."'));
    await rm(specFile);
    const refused = run({ specFile: taken, output: folder }, 1);
    await expect(refused).rejects.toThrow(InputError);
    await expect(refused).rejects.toThrow(
      `${taken}: output: expected another folder than that of the spec, where manifest.json is one of the job's own files`,
    );
  });
});
