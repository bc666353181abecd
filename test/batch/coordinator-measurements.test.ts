/** What the coordinator keeps of verify shards: sums, for however many of them. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { JobMeasurements } from "../../src/batch/coordinator-measurements.js";
import { verifyTasks } from "../../src/batch/coordinator-splitting.js";
import { jobHashes, nameTask } from "../../src/batch/identity.js";
import { joinVerify } from "../../src/batch/merge-shards.js";
import { type ShardResult, verifyResult } from "../../src/batch/shard-result.js";
import type { NamedTask, VerifyTask } from "../../src/batch/shard-task.js";
import { unpackJob } from "../../src/batch/unpack-job.js";
import { sweepNodes } from "../../src/exact/sweep/sweep.js";
import { loadModel, nodeMetrics, writeMetricsCsv } from "../../src/index.js";
import type { Model } from "../../src/model/model.js";
import { makeScoreTable } from "../../src/nodes/score-table.js";
import { nodeMetricSums } from "../../src/report/metrics-csv.js";
import { temporaryFolder } from "../support/checkpoint-folders.js";
import { startTestEngine } from "../support/engine.js";
import { JOB_MODEL, jobByHand } from "../support/job-by-hand.js";

const FACTS = { job: "0".repeat(64), seconds: 1, device: "by hand" };

type Verify = (task: VerifyTask) => Promise<ShardResult> | ShardResult;

/** Shards that are computed when they are read; what was asked for is remembered. */
function shardsOf(verify: Verify, hashes = jobHashes(jobByHand())) {
  const read: NamedTask[] = [];
  return {
    read,
    make: async (_: string, tasks: readonly Parameters<typeof nameTask>[1][]) =>
      tasks.map((task) => nameTask(hashes, task)),
    async *results(_: string, shards: readonly NamedTask[]) {
      for (const shard of shards) {
        read.push(shard);
        if (shard.task.kind === "verify") yield await verify(shard.task);
      }
    },
  };
}

describe("the measurements of a job", () => {
  const job = jobByHand({ metrics: [{ output: "logit-diff" }, { output: "prob" }, { output: "logit" }] });
  /** In no order. */
  const nodes = Uint32Array.of(201, 0, 9, 33, 77, 40, 130, 12, 5);
  const sizes = { pairs: 2, nodes: 4, samples: 1 };
  let model: Model;

  beforeAll(async () => {
    await startTestEngine();
    model = await loadModel(JOB_MODEL);
    return () => model.dispose();
  });

  it("give the metrics of all runs joined, to the byte, though no chunk's runs are kept", async () => {
    const { pairs, space, metrics } = unpackJob(job, model.config);
    const { direction, batchSize, activationBudgetBytes } = job;
    const options = { direction, batchSize, activationBudgetBytes, metrics };
    const verify: Verify = async (task) => {
      const { first, end } = task.pairs;
      const runs = await sweepNodes(
        model,
        pairs.slice(first, end),
        space,
        Uint32Array.from(task.nodes),
        options,
      );
      return verifyResult(task, runs, FACTS);
    };
    const shards = shardsOf(verify);
    const measurements = new JobMeasurements({ space, pairs, metrics }, sizes, shards, undefined);
    await measurements.verify(nodes.slice(0, 6));
    await measurements.verify(nodes.slice(6));
    const asked = shards.read.length;
    const verified = { nodes, scores: makeScoreTable(nodes.length) };
    const order = Uint32Array.from(nodes).reverse();
    const sums = nodeMetricSums({ space, verified, order }, measurements.metricsOfVerified(nodes));
    expect(shards.read.length).toBe(asked);

    const tasks = [nodes.slice(0, 6), nodes.slice(6)].flatMap((some) =>
      verifyTasks(some, pairs.length, sizes),
    );
    const joined = await joinVerify(
      await Promise.all(tasks.map(verify)),
      pairs.length,
      nodes,
      metrics.map(({ name }) => name),
    );
    const [{ base, source, patched }] = joined.metrics;
    // Pairs are of two lengths.
    expect(patched.some(Number.isNaN)).toBe(true);
    const ranking = { baseMetric: base, sourceMetric: source, space, pairs, verified, order };
    const whole = nodeMetrics({
      ...ranking,
      forwardEquivalents: { estimate: 0, verify: 0 },
      metrics: joined.metrics,
    });
    const folder = temporaryFolder();
    const written = await Promise.all(
      [sums, whole].map(async (table, t) => {
        const file = join(folder, `${t}.csv`);
        await writeMetricsCsv(file, table);
        return await readFile(file, "utf8");
      }),
    );
    expect(written[0].split("\n").length).toBe(nodes.length + 4);
    expect(written[0]).toBe(written[1]);
  });

  it("are of any number of shards, and each is read once", async () => {
    // More than a call may have arguments.
    const count = 150_000;
    const { pairs, metrics, space } = unpackJob(job, model.config);
    const own = { pairs: pairs.slice(0, 1), metrics, space: { ...space, size: count } };
    const shards = shardsOf((task) => ({
      ...FACTS,
      task,
      forwardEquivalents: 1,
      arrays: Object.fromEntries(
        metrics.flatMap((_, m) => [
          [`patched.${m}`, Float32Array.of(task.nodes[0] * (m + 1))],
          [`base.${m}`, Float64Array.of(m)],
          [`source.${m}`, Float64Array.of(-m)],
        ]),
      ),
    }));
    const measurements = new JobMeasurements(own, { pairs: 1, nodes: 1, samples: 1 }, shards, undefined);
    const all = Uint32Array.from({ length: count }, (_, node) => node);
    const { verified, forwardEquivalents } = await measurements.verify(all);
    expect(forwardEquivalents).toBe(count);
    expect(shards.read.length).toBe(count);
    expect(verified.scores.sum[count - 1]).toBe(count - 1);
    const sums = measurements.metricsOfVerified(all);
    expect(sums.map(({ patched }) => patched[count - 1])).toEqual(
      [1, 2, 3].map((times) => times * (count - 1)),
    );
    expect(sums.map(({ patchedBase }) => patchedBase[7])).toEqual([0, 1, 2]);
    expect(sums.map(({ base, source, count: of }) => [base[0], source[0], of[7]])).toEqual([
      [0, -0, 1],
      [1, -1, 1],
      [2, -2, 1],
    ]);
  });
});
