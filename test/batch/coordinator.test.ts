/** A job gives the same bytes whoever computes it, in whatever order, however often it is killed. */

import { beforeAll, describe, expect, it, vi } from "vitest";
import type { ShardRunner } from "../../src/batch/shard-runner.js";
import { isRunning } from "../../src/results/folder-lock.js";
import { startCli } from "../cli/run-cli.js";
import { childrenOf, type JobFolder, resultsOf, run, shardsOf, until, writeJob } from "./job-folder.js";

/** What this file starts is compiled: many processes. */
vi.mock(import("../../src/node-entry.js"), () => import("../support/compiled-entry.js"));

/** Many processes, each with an engine: on a busy machine they take long to start. */
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

/** Every kind of shard and of output; the sizes of the shards fit nothing else. */
const JOB = {
  maxPairs: 5,
  alsoMetrics: ["prob"],
  verify: { topK: 5 },
  certify: { confidence: 0.9, inclusion: 0.5, prevalenceSample: 9 },
  shards: { pairs: 3, nodes: 4, samples: 40, retries: 8 },
};

/** Processes are found by their parents in /proc. */
const onLinux = process.platform === "linux";

/** What one worker makes of it, undisturbed. */
let undisturbed: { readonly results: Record<string, string>; readonly shards: readonly string[] };

async function outcomeOf(job: JobFolder) {
  return { results: await resultsOf(job), shards: [...(await shardsOf(job)).keys()] };
}

beforeAll(async () => {
  const job = await writeJob(JOB);
  await run(job, 1);
  undisturbed = await outcomeOf(job);
});

describe("a job", () => {
  it("has estimates, verified nodes, samples, and every kind of output", () => {
    expect(Object.keys(undisturbed.results).sort()).toEqual([
      "certificate.json",
      "metrics.csv",
      "ranked.csv",
      "scores.parquet",
    ]);
    // 2 ranges of pairs; 2 chunks of the top 5 and 3 of the 9 drawn; 60 ÷ 0.5 samples and more.
    expect(undisturbed.shards.length).toBeGreaterThanOrEqual(2 + 2 * (2 + 3) + 4);
  });

  it("gives the same bytes with three workers and its shards in any order", async () => {
    const job = await writeJob(JOB);
    await run(job, 3, {}, shuffled);
    expect(await outcomeOf(job)).toEqual(undisturbed);
  });

  it.skipIf(!onLinux)("gives the same bytes when it is killed at any moment and begun again", async () => {
    const job = await writeJob(JOB);
    const shardsAtKill: number[] = [];
    const kills = 3;
    for (let time = 0; ; time++) {
      const parent = startCli(["batch", "run", job.specFile, "--workers", "2"]);
      const ended = new Promise<number | null>((resolve) => parent.on("exit", resolve));
      if (time === kills) {
        expect(await ended).toBe(0);
        break;
      }
      // Before the first worker is there, or with some more shards than the time before.
      const enough = (shardsAtKill.at(-1) ?? -1) + Math.floor(3 * Math.random());
      await until(async () => parent.exitCode !== null || (await shardsOf(job)).size >= enough);
      await new Promise((resolve) => setTimeout(resolve, 50 * Math.random()));
      const children = await childrenOf(parent.pid ?? 0);
      parent.kill("SIGKILL");
      await ended;
      // Workers end with whoever started them.
      await until(() => !children.some(isRunning));
      shardsAtKill.push((await shardsOf(job)).size);
    }
    expect(shardsAtKill[0]).toBeLessThan(undisturbed.shards.length);
    expect(await outcomeOf(job)).toEqual(undisturbed);
  });

  it.skipIf(!onLinux)("gives the same bytes when its workers are killed again and again", async () => {
    const job = await writeJob(JOB);
    const tried: string[] = [];
    let ended = false;
    const done = run(job, 2, { onNotice: (text) => tried.push(text) }).finally(() => {
      ended = true;
    });
    // On a busy machine, workers may be killed while they start: until one had a shard in hand.
    const hasHit = () => tried.some((text) => text.endsWith("ended with SIGKILL"));
    for (let kills = 0; !ended && (kills < 3 || !hasHit()); kills++) {
      await new Promise((resolve) => setTimeout(resolve, 200 + 1800 * Math.random()));
      const [victim] = (await childrenOf(process.pid)).sort(() => Math.random() - 0.5);
      if (victim !== undefined) process.kill(victim, "SIGKILL");
    }
    await done;
    expect(tried.join("\n")).toMatch(/^tried again: .+: worker process \d+ ended with SIGKILL$/m);
    expect(await outcomeOf(job)).toEqual(undisturbed);
  });
});

/** Gives the shards of a stage in random order. */
function shuffled(runner: ShardRunner): ShardRunner {
  return {
    run: (tasks, events, signal) =>
      runner.run(
        tasks
          .map((task) => ({ task, place: Math.random() }))
          .sort((a, b) => a.place - b.place)
          .map(({ task }) => task),
        events,
        signal,
      ),
    close: () => runner.close(),
  };
}
