import { cpSync, mkdtempSync, rmSync, utimesSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { estimateBy } from "../../src/atpstar/estimate.js";
import type { Method } from "../../src/atpstar/methods.js";
import { jobHashes } from "../../src/batch/identity.js";
import type { Job } from "../../src/batch/job.js";
import { planOfWorker } from "../../src/batch/job-memory.js";
import { joinVerify, mergeEstimates } from "../../src/batch/merge-shards.js";
import { effectsOf, estimatesOf, runsOf, type ShardResult } from "../../src/batch/shard-result.js";
import type { EstimateTask, Range, ShardTask } from "../../src/batch/shard-task.js";
import { unpackJob } from "../../src/batch/unpack-job.js";
import { type JobWork, openJobWork } from "../../src/batch/work.js";
import { observeSamples } from "../../src/bounds/observe.js";
import { loadModel, openModel } from "../../src/checkpoint/load-model.js";
import { hashModel, ModelChanged, type ModelFiles } from "../../src/checkpoint/model-hash.js";
import { InputError, RunError } from "../../src/errors.js";
import { scoresOfRuns } from "../../src/exact/scores-of-runs.js";
import { sweepNodes } from "../../src/exact/sweep/sweep.js";
import type { Model } from "../../src/model/model.js";
import { meanSource } from "../../src/sources/mean.js";
import { noiseSource } from "../../src/sources/noise.js";
import { zeroSource } from "../../src/sources/zero.js";
import { temporaryFolder } from "../support/checkpoint-folders.js";
import { startTestEngine } from "../support/engine.js";
import { relativeError } from "../support/errors.js";
import { JOB_MODEL, JOB_PAIRS, jobByHand } from "../support/job-by-hand.js";

/** Batches of other sizes round differently: products of float32 numbers are summed in another order. */
const OTHER_BATCHES = 1e-5;

const RANGES: readonly Range[] = [
  { first: 0, end: 2 },
  { first: 2, end: 4 },
  { first: 4, end: 5 },
];

let tensors = 0;
let modelFiles: ModelFiles;

function places() {
  return { modelFolder: JOB_MODEL, modelFiles };
}

beforeAll(async () => {
  const folder = mkdtempSync(join(tmpdir(), "atpkit-work-"));
  ({ files: modelFiles } = await hashModel(JOB_MODEL, { cacheFile: join(folder, "hashes.json") }));
  rmSync(folder, { recursive: true });
  await startTestEngine();
  tensors = tf.memory().numTensors;
});
afterEach(() => expect(tf.memory().numTensors).toBe(tensors));

/** Opens a job, and closes it in any case. */
async function withWork<Result>(job: Job, body: (work: JobWork) => Promise<Result>): Promise<Result> {
  const work = await openJobWork(job, places());
  try {
    return await body(work);
  } finally {
    work.dispose();
  }
}

async function withModel<Result>(body: (model: Model) => Promise<Result>): Promise<Result> {
  const model = await loadModel(JOB_MODEL);
  try {
    return await body(model);
  } finally {
    model.dispose();
  }
}

/** One after the other, as a worker does. */
async function computed(job: Job, tasks: readonly ShardTask[]): Promise<ShardResult[]> {
  return await withWork(job, async (work) => {
    const results: ShardResult[] = [];
    for (const task of tasks) results.push(await work.compute(task));
    return results;
  });
}

function controlOf({ direction, batchSize, activationBudgetBytes }: Job) {
  return { direction, batchSize, activationBudgetBytes };
}

/** Of all pairs. */
function estimateTasks(method: Method, byPair = false): EstimateTask[] {
  return RANGES.map((pairs) => ({ kind: "estimate", pairs, method, byPair }));
}

const ALL_KINDS: readonly ShardTask[] = [
  { kind: "estimate", pairs: { first: 0, end: 5 }, method: "atp*", byPair: true },
  { kind: "verify", pairs: { first: 1, end: 5 }, nodes: [3, 40, 70] },
  { kind: "sample", excluded: [3], probability: 0.3, seed: 1, samples: { first: 0, end: 7 } },
];

describe("estimate shards", () => {
  it.each(["atp", "atp+qkfix", "atp+graddrop", "atp*"] as const)(
    "of %s, merged, are the estimates of all pairs",
    async (method) => {
      const job = jobByHand();
      const merged = await mergeEstimates(await computed(job, estimateTasks(method)), JOB_PAIRS.length);
      const whole = await withModel(async (model) => {
        const { pairs, space, metrics } = unpackJob(job, model.config);
        return await estimateBy(method, model, pairs, { ...controlOf(job), metric: metrics[0], space });
      });
      for (const sums of ["sum", "sumAbs", "sumSquares"] as const) {
        expect(relativeError(merged.scores[sums], whole.scores[sums])).toBeLessThan(OTHER_BATCHES);
      }
      expect(merged.scores.count).toEqual(whole.scores.count);
      expect(Object.keys(merged.scores.flags ?? {})).toEqual(Object.keys(whole.scores.flags ?? {}));
      const { saturation, cancellation } = merged.scores.flags ?? {};
      const flags = whole.scores.flags ?? {};
      if (saturation && flags.saturation) {
        expect(relativeError(saturation, flags.saturation)).toBeLessThan(OTHER_BATCHES);
      }
      if (cancellation && flags.cancellation) {
        expect(relativeError(cancellation.plain, flags.cancellation.plain)).toBeLessThan(OTHER_BATCHES);
        expect(relativeError(cancellation.dropped, flags.cancellation.dropped)).toBeLessThan(OTHER_BATCHES);
      }
      expect(relativeError(merged.baseMetric, whole.baseMetric)).toBeLessThan(OTHER_BATCHES);
      expect(relativeError(merged.sourceMetric, whole.sourceMetric)).toBeLessThan(OTHER_BATCHES);
      expect(merged.forwardEquivalents).toBeCloseTo(whole.forwardEquivalents, 9);
    },
  );

  it("have the same bits whatever was computed before them, and by whom", async () => {
    const job = jobByHand({ positions: "roles", metrics: [{ output: "logit-diff" }, { output: "prob" }] });
    const tasks = estimateTasks("atp*", true);
    const inOrder = await computed(job, tasks);
    const backwards = (await computed(job, [...tasks].reverse())).reverse();
    expect(backwards.map(({ arrays }) => arrays)).toEqual(inOrder.map(({ arrays }) => arrays));
    expect(await mergeEstimates(backwards, 5)).toEqual(await mergeEstimates(inOrder, 5));
    expect(inOrder[0]).toMatchObject({ job: jobHashes(job).estimate, task: tasks[0] });
    expect(inOrder[0].seconds).toBeGreaterThan(0);
    expect(inOrder[0].device).not.toBe("");
  });

  it("keep the estimates of each pair where the task asks for it: they add up to the sums", async () => {
    const job = jobByHand({ positions: "all" });
    const { byPair = [], scores } = await mergeEstimates(await computed(job, estimateTasks("atp*", true)), 5);
    expect(byPair.length).toBe(5);
    const sums = scores.sum.map((_, node) => byPair.reduce((sum, estimates) => sum + estimates[node], 0));
    expect(relativeError(sums, scores.sum)).toBeLessThan(1e-12);
  });
});

/** Every way in which source values come about. */
const SOURCES: Readonly<Record<string, Partial<Job>>> = {
  "other prompts": {},
  zeros: { source: { kind: "zero" } },
  "means over the job's pairs": { source: { kind: "mean" }, direction: "denoising" },
  "means over other pairs": { source: { kind: "mean", pairs: JOB_PAIRS.slice(0, 2) } },
  noise: {
    source: { kind: "noise", at: ["subject"], multiple: 2, draws: 2, seed: 3 },
    pairs: JOB_PAIRS.map(({ corrupted: _, ...pair }) => pair),
  },
};

describe("verify shards", () => {
  it.each(Object.entries(SOURCES))(
    "with %s, joined, are the sweep of all pairs and nodes",
    async (_, changes) => {
      const job = jobByHand({
        metrics: [{ output: "logit-diff" }, { output: "prob" }],
        batchSize: 1,
        ...changes,
      });
      const nodes = Uint32Array.of(0, 9, 33, 40, 130, 201, 77, 12);
      const tasks = RANGES.flatMap((pairs) =>
        [nodes.slice(0, 3), nodes.slice(3)].map(
          (chunk): ShardTask => ({ kind: "verify", pairs, nodes: [...chunk] }),
        ),
      );
      const names = ["logit-diff", "prob"];
      const results = await computed(job, tasks);
      const joined = await joinVerify(results, 5, nodes, names);
      const whole = await withModel(async (model) => {
        const { pairs, space, metrics, averaged = { pairs } } = unpackJob(job, model.config);
        const { direction, batchSize, source } = job;
        const patch =
          source.kind === "noise"
            ? await noiseSource(model, source)
            : source.kind === "mean"
              ? await meanSource(model, averaged.pairs, {
                  direction,
                  sites: job.sites,
                  batchSize,
                  studied: pairs,
                })
              : source.kind === "zero"
                ? zeroSource()
                : undefined;
        try {
          return await sweepNodes(model, pairs, space, nodes, {
            ...controlOf(job),
            ...(patch && { source: patch }),
            metrics,
          });
        } finally {
          patch?.dispose();
        }
      });
      expect(joined.metrics.map(({ name }) => name)).toEqual(names);
      for (const [m, { patched, base, source }] of joined.metrics.entries()) {
        const wanted = whole.metrics[m];
        expect(Array.from(patched, Number.isNaN)).toEqual(Array.from(wanted.patched, Number.isNaN));
        const computedOnly = (values: Float32Array) => values.filter((value) => !Number.isNaN(value));
        expect(relativeError(computedOnly(patched), computedOnly(wanted.patched))).toBeLessThan(
          OTHER_BATCHES,
        );
        expect(relativeError(base, wanted.base)).toBeLessThan(OTHER_BATCHES);
        expect(relativeError(source, wanted.source)).toBeLessThan(OTHER_BATCHES);
      }
      const sums = scoresOfRuns(joined.metrics[0], nodes.length);
      expect(sums.count).toEqual(scoresOfRuns(whole.metrics[0], nodes.length).count);
      // In whatever order they come: the same bits.
      const shuffled = [...results.slice(2, 4), ...results.slice(0, 2), ...results.slice(4)];
      expect((await joinVerify(shuffled, 5, nodes, names)).metrics).toEqual(joined.metrics);
      const unpatched = 2 * 5 * (tasks.length / RANGES.length - 1) * (job.source.kind === "noise" ? 2 : 1);
      // A chunk of runs costs a little less or more with other runs in it.
      expect(joined.forwardEquivalents / (whole.forwardEquivalents + unpatched)).toBeCloseTo(1, 1);
    },
  );
});

describe("sample shards", () => {
  it("are the samples of the design, bit for bit", async () => {
    const job = jobByHand({ positions: "roles", activationBudgetBytes: 2 ** 30 });
    const excluded = [0, 3, 4];
    const tasks = [
      { first: 0, end: 6 },
      { first: 6, end: 20 },
    ].map((samples): ShardTask => ({ kind: "sample", excluded, probability: 0.2, seed: 5, samples }));
    const results = await computed(job, tasks);
    await withModel(async (model) => {
      const { pairs, space, metrics } = unpackJob(job, model.config);
      const nodes = Uint32Array.from({ length: space.size }, (_, node) => node).filter(
        (node) => !excluded.includes(node),
      );
      const options = { ...controlOf(job), metric: metrics[0] };
      for (const [t, samples] of [
        { first: 0, end: 6 },
        { first: 6, end: 20 },
      ].entries()) {
        const design = { nodes, probability: 0.2, seed: 5 };
        expect(effectsOf(results[t])).toEqual(
          await observeSamples(model, pairs, space, design, samples, options),
        );
      }
    });
  });
});

describe("openJobWork", () => {
  it("refuses a job of another version or engine, and pairs of another model", async () => {
    await expect(openJobWork(jobByHand({ atpkit: "0.0.0" }), places())).rejects.toThrow(
      /^openJobWork: expected a job of atpkit \d+\.\d+\.\d+, which this is, got one of 0\.0\.0$/,
    );
    const { backend } = jobByHand();
    const other = backend === "wasm" ? "tensorflow" : "wasm";
    await expect(openJobWork(jobByHand({ backend: other }), places())).rejects.toThrow(
      `expected prefer to be the running engine "${backend}"`,
    );
    const pairs = [{ ...JOB_PAIRS[0], answers: [97] }];
    await expect(openJobWork(jobByHand({ pairs }), places())).rejects.toThrow(
      "pairOf: pairs:a: answers[0]: expected a token id of the model's vocabulary, an integer from 0 to 96",
    );
  });

  it("refuses tasks that do not fit the job, and goes on", async () => {
    await withWork(jobByHand({ positions: "roles" }), async (work) => {
      const refused = async (task: ShardTask, text: string) => {
        await expect(work.compute(task)).rejects.toThrow(InputError);
        await expect(work.compute(task)).rejects.toThrow(text);
      };
      const pairs = { first: 0, end: 1 };
      await refused(
        { ...estimateTasks("atp")[0], pairs: { first: 4, end: 6 } },
        "compute: expected pairs among 0 to 4, those of the job, got 4 to 5",
      );
      await refused(
        { kind: "verify", pairs, nodes: [] },
        "compute: expected at least one node to verify, got none",
      );
      await refused(
        { kind: "verify", pairs, nodes: [1, 78] },
        "compute: expected nodes from 0 to 77, those of the job, got 78",
      );
      await refused(
        { kind: "verify", pairs, nodes: [1, 1] },
        "compute: expected each node once, got one twice",
      );
      const sample = { kind: "sample", excluded: [], probability: 0.5, seed: 0, samples: pairs } as const;
      await refused(
        { ...sample, excluded: [78] },
        "compute: expected nodes from 0 to 77, those of the job, got 78",
      );
      await refused({ ...sample, excluded: [2, 2] }, "compute: expected each node once, got one twice");
      await refused(
        { ...sample, probability: 1 },
        "SubsetDesign: expected a probability of more than 0 and less than 1",
      );
      await refused(
        { ...sample, samples: { first: 3, end: 3 } },
        "compute: expected at least one sample, got 3 to 2",
      );
      const all = Array.from({ length: 78 }, (_, node) => node);
      await refused({ ...sample, excluded: all }, "SubsetDesign: expected at least one node, got none");
      expect(
        runsOf(await work.compute({ kind: "verify", pairs, nodes: [5] }), ["logit-diff"]).metrics.length,
      ).toBe(1);
    });
    await withWork(jobByHand({ metrics: [{ output: "rank" }] }), async (work) => {
      await expect(work.compute(estimateTasks("atp*")[0])).rejects.toThrow(
        "estimate: expected a metric with a gradient, got rank",
      );
    });
  });

  it("stops when it is told to", async () => {
    await withWork(jobByHand(), async (work) => {
      const signal = AbortSignal.abort(new Error("enough"));
      for (const task of [
        estimateTasks("atp")[0],
        { kind: "verify", pairs: RANGES[0], nodes: [1] } as const,
      ]) {
        await expect(work.compute(task, { signal })).rejects.toThrow("enough");
      }
    });
    await expect(
      openJobWork(jobByHand(), { ...places(), signal: AbortSignal.abort(new Error("enough")) }),
    ).rejects.toThrow("enough");
  });
});

describe("a model that changes", () => {
  const task = { kind: "verify", pairs: { first: 0, end: 1 }, nodes: [5] } as const;

  /** A copy of the model, and what touches its weights: other bytes would not even be noticed in memory. */
  async function changing() {
    const modelFolder = temporaryFolder();
    cpSync(JOB_MODEL, modelFolder, { recursive: true });
    const { files } = await hashModel(modelFolder, { cacheFile: join(temporaryFolder(), "hashes.json") });
    const weights = join(modelFolder, "model.safetensors");
    const text = `checkUnchanged: ${weights}: expected the model to stay as it was when the job was prepared or the worker started, got a file that has changed since`;
    let day = 0;
    const change = () => utimesSync(weights, ++day * 86_400, day * 86_400);
    return { where: { modelFolder, modelFiles: files }, change, text };
  }

  it("before it is opened is not opened", async () => {
    const { where, change, text } = await changing();
    change();
    await expect(openJobWork(jobByHand(), where)).rejects.toThrow(new ModelChanged(text));
  });

  it("gives no result: neither after it was loaded, nor while a shard is computed", async () => {
    const { where, change, text } = await changing();
    const work = await openJobWork(jobByHand(), where);
    try {
      const under = {
        ...task,
        // Read when the shard is under way.
        get pairs() {
          change();
          return task.pairs;
        },
      };
      await expect(work.compute(under)).rejects.toThrow(new ModelChanged(text));
      await expect(work.compute(task)).rejects.toThrow(new ModelChanged(text));
    } finally {
      work.dispose();
    }
  });
});

describe("a worker's memory", () => {
  it("is kept to by reading layers when they are needed: the same bits", async () => {
    const job = jobByHand({
      positions: "roles",
      workload: { method: "atp*", byPair: true, pairs: 3, nodes: 50 },
    });
    const held = 2 ** 28;
    const rss = vi.spyOn(process.memoryUsage, "rss").mockReturnValue(held);
    const opened = await openModel(JOB_MODEL);
    const { checkpoint, config } = opened;
    const budgets = { activationBytes: job.activationBudgetBytes };
    const planned = (memoryBytes: number) =>
      planOfWorker(job, unpackJob(job, config), checkpoint, { ...budgets, memoryBytes }, held, "memory");
    try {
      const { inMemoryBytes, smallestBytes } = planned(2 ** 31);
      expect(planned(inMemoryBytes).inMemory).toBe(true);
      expect(planned(inMemoryBytes - 1).inMemory).toBe(false);
      const wanted = await computed(job, ALL_KINDS);
      for (const memoryBudget of [inMemoryBytes - 1, smallestBytes]) {
        const work = await openJobWork(job, { ...places(), memoryBudget });
        try {
          for (const [t, task] of ALL_KINDS.entries()) {
            expect((await work.compute(task)).arrays).toEqual(wanted[t].arrays);
          }
        } finally {
          work.dispose();
        }
      }
      await expect(openJobWork(job, { ...places(), memoryBudget: smallestBytes - 1 })).rejects.toThrow(
        /^openJobWork: memoryBudget: expected at least \d+ MiB for this run, got \d+ MiB \(/,
      );
    } finally {
      rss.mockRestore();
      await opened.close();
    }
  });
});

describe("the plan of a worker's memory", () => {
  it("has the means that are patched in, which stay until the end", async () => {
    const opened = await openModel(JOB_MODEL);
    const { checkpoint, config } = opened;
    const bytesOfMeans = (source: Job["source"]) => {
      const job = jobByHand({ sites: ["z"], source });
      const budgets = { memoryBytes: 2 ** 31, activationBytes: job.activationBudgetBytes };
      const { memory } = planOfWorker(job, unpackJob(job, config), checkpoint, budgets, 0, "memory");
      return memory.parts.find(({ name }) => name === "means")?.bytes;
    };
    await opened.close();
    expect(bytesOfMeans({ kind: "zero" })).toBeUndefined();
    // Prompts of 7 and of 5 tokens: z of 32 values at each position, in each of 3 layers, 4 bytes each.
    const all = 3 * (7 + 5) * 32 * 4;
    expect(bytesOfMeans({ kind: "mean" })).toBe(all);
    // Those of other pairs too, one of which has a length that no pair of the job has.
    const longer = { ...JOB_PAIRS[0], clean: [1, ...JOB_PAIRS[0].clean], corrupted: undefined };
    expect(bytesOfMeans({ kind: "mean", pairs: [...JOB_PAIRS.slice(0, 2), longer] })).toBe(all);
  });
});

describe("putting shards together", () => {
  const estimate = (pairs: Range, byPair = false): ShardResult => ({
    job: "",
    task: { kind: "estimate", pairs, method: "atp", byPair },
    forwardEquivalents: 1,
    seconds: 0,
    device: "",
    arrays: {
      base: new Float64Array(pairs.end - pairs.first),
      source: new Float64Array(pairs.end - pairs.first),
      ...Object.fromEntries(["sum", "sumAbs", "sumSquares"].map((name) => [name, new Float64Array(2)])),
      count: new Uint32Array(2),
      ...(byPair && { "pair.0": new Float32Array(2) }),
    },
  });
  const verify = (pairs: Range, nodes: number[]): ShardResult => ({
    job: "",
    task: { kind: "verify", pairs, nodes },
    forwardEquivalents: 1,
    seconds: 0,
    device: "",
    arrays: {
      "patched.0": new Float32Array((pairs.end - pairs.first) * nodes.length),
      "base.0": new Float64Array(pairs.end - pairs.first),
      "source.0": new Float64Array(pairs.end - pairs.first),
    },
  });
  const [low, high] = [
    { first: 0, end: 1 },
    { first: 1, end: 2 },
  ];

  it.each<[string, ShardResult[], string]>([
    ["gaps", [estimate(high)], "mergeEstimates: expected a shard of pairs from 0 on, got 1 to 1"],
    [
      "pairs twice",
      [estimate(low), estimate(low)],
      "mergeEstimates: expected a shard of pairs from 1 on, got 0 to 0",
    ],
    ["too few", [estimate(low)], "mergeEstimates: expected shards of 2 pairs, got 1, 0 by themselves"],
    [
      "too many",
      [estimate({ first: 0, end: 3 })],
      "mergeEstimates: expected a shard of pairs from 0 on, got 0 to 2",
    ],
    ["none", [], "mergeEstimates: expected shards of 2 pairs, got 0, 0 by themselves"],
    [
      "some by pair",
      [estimate(low), estimate(high, true)],
      "mergeEstimates: expected shards of 2 pairs, got 2, 1 by themselves",
    ],
    ["other kinds", [verify(low, [1])], "ShardResult: expected one of kind estimate, got verify"],
  ])("finds %s among estimates", async (_, shards, text) => {
    await expect(mergeEstimates(shards, 2)).rejects.toThrow(RunError);
    await expect(mergeEstimates(shards, 2)).rejects.toThrow(text);
  });

  it.each<[string, ShardResult[], string]>([
    ["gaps in pairs", [verify(high, [5, 6])], "joinVerify: expected shards of 2 pairs, got 0"],
    ["missing pairs", [verify(low, [5, 6])], "joinVerify: expected shards of 2 pairs, got 1"],
    [
      "missing nodes",
      [verify(low, [5, 6]), verify(high, [6])],
      "joinVerify: expected every node for pairs 1 to 1, got some without",
    ],
    [
      "nodes twice",
      [verify(low, [5, 6]), verify(low, [6])],
      "joinVerify: expected each node once for pairs 0 to 0, got one twice",
    ],
    ["other nodes", [verify(low, [7])], "joinVerify: expected nodes that were asked for, got 7"],
    [
      "overlapping pairs",
      [verify(low, [5]), verify({ first: 0, end: 2 }, [6])],
      "joinVerify: expected pairs 0 to 0, got 0 to 1",
    ],
    ["other kinds", [estimate(low)], "ShardResult: expected one of kind verify, got estimate"],
  ])("finds %s among patched runs", async (_, shards, text) => {
    const nodes = Uint32Array.of(5, 6);
    await expect(joinVerify(shards, 2, nodes, ["logit"])).rejects.toThrow(RunError);
    await expect(joinVerify(shards, 2, nodes, ["logit"])).rejects.toThrow(text);
  });

  it("tells of arrays that a result lacks", () => {
    const { arrays, ...rest } = estimate(low);
    expect(() => estimatesOf({ ...rest, arrays: { ...arrays, count: new Uint32Array(3) } })).toThrow(
      "ShardResult: expected count to be 2 uint32 numbers, got Uint32Array of 3",
    );
    expect(() => estimatesOf({ ...rest, arrays: { ...arrays, base: new Float32Array(1) } })).toThrow(
      "ShardResult: expected base to be 1 float64 numbers, got Float32Array of 1",
    );
    expect(() => estimatesOf({ ...rest, arrays: { ...arrays, plain: new Float64Array(2) } })).toThrow(
      "ShardResult: expected dropped to be 2 float64 numbers, got none",
    );
    expect(() => runsOf(verify(low, [1]), ["logit", "prob"])).toThrow(
      "ShardResult: expected patched.1 to be 1 float32 numbers, got none",
    );
    expect(() => effectsOf(verify(low, [1]))).toThrow("ShardResult: expected one of kind sample, got verify");
  });
});
