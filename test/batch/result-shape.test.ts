import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { METHODS } from "../../src/atpstar/methods.js";
import { jobHashes, nameTask } from "../../src/batch/identity.js";
import { mostResultBytes, problemOf, type ResultSizes } from "../../src/batch/result-shape.js";
import { shardPieces } from "../../src/batch/shard-file.js";
import type { ShardResult } from "../../src/batch/shard-result.js";
import type { ShardTask } from "../../src/batch/shard-task.js";
import { openJobWork } from "../../src/batch/work.js";
import { hashModel } from "../../src/checkpoint/model-hash.js";
import { startTestEngine } from "../support/engine.js";
import { JOB_MODEL, jobByHand } from "../support/job-by-hand.js";

const PAIRS = { first: 1, end: 3 };
const TASKS: readonly ShardTask[] = [
  ...METHODS.map((method) => ({ kind: "estimate", pairs: PAIRS, method, byPair: false }) as const),
  { kind: "estimate", pairs: PAIRS, method: "atp", byPair: true },
  { kind: "verify", pairs: PAIRS, nodes: [0, 5, 9] },
  { kind: "sample", excluded: [2], probability: 0.5, seed: 1, samples: { first: 0, end: 3 } },
];

describe("what workers send", () => {
  const results: ShardResult[] = [];
  let sizes: ResultSizes;
  // Prompts of one length, so that subsets are of the same nodes in each.
  const job = jobByHand({
    pairs: jobByHand().pairs.filter(({ clean }) => clean.length === 7),
    sites: ["z"],
    metrics: [{ output: "logit-diff" }, { output: "prob" }],
  });

  beforeAll(async () => {
    await startTestEngine();
    const folder = mkdtempSync(join(tmpdir(), "atpkit-shape-"));
    const { files: modelFiles } = await hashModel(JOB_MODEL, { cacheFile: join(folder, "hashes.json") });
    rmSync(folder, { recursive: true });
    const work = await openJobWork(job, { modelFolder: JOB_MODEL, modelFiles });
    for (const task of TASKS) results.push(await work.compute(task));
    work.dispose();
    const [first] = results;
    sizes = { nodes: first.arrays.sum.length, metrics: 2 };
  });

  it("has the arrays of its task, and no more bytes than are expected", () => {
    for (const result of results) {
      expect([result.task, problemOf(result, sizes)]).toEqual([result.task, undefined]);
      const { name } = nameTask(jobHashes(job), result.task);
      const bytes = Buffer.concat([...shardPieces(name, result)]).length;
      expect(bytes).toBeLessThanOrEqual(mostResultBytes(result.task, sizes));
      // And not many more: the rest is room for a header.
      expect(mostResultBytes(result.task, sizes)).toBeLessThan(bytes + 2 ** 15);
    }
  });

  it("is refused where an array is missing, of another type or length, too many, or not of numbers", () => {
    const [plain] = results;
    const { sum, ...others } = plain.arrays;
    const nodes = sum.length;
    const cases: readonly (readonly [arrays: ShardResult["arrays"], problem: string])[] = [
      [others, `expected sum to be ${nodes} float64 numbers, got none`],
      [
        { ...others, sum: new Float32Array(nodes) },
        `expected sum to be ${nodes} float64 numbers, got ${nodes} float32 numbers`,
      ],
      [
        { ...others, sum: new Float64Array(nodes + 1) },
        `expected sum to be ${nodes} float64 numbers, got ${nodes + 1} float64 numbers`,
      ],
      [
        { ...plain.arrays, saturation: new Float64Array(nodes) },
        "expected no further arrays, got saturation",
      ],
      [
        { ...others, sum: Float64Array.from(sum, (value, n) => (n === 3 ? Number.NaN : value)) },
        "expected finite numbers in sum, got NaN at place 3",
      ],
      [
        { ...plain.arrays, base: Float64Array.of(1, Number.NEGATIVE_INFINITY) },
        "expected finite numbers in base, got -Infinity at place 1",
      ],
    ];
    for (const [arrays, problem] of cases) expect(problemOf({ ...plain, arrays }, sizes)).toBe(problem);
    expect(problemOf(results[5], { ...sizes, metrics: 3 })).toMatch(/^expected patched\.2 to be 6 float32/);
  });
});
