import { availableParallelism } from "node:os";
import { describe, expect, it } from "vitest";
import type { Job, PortableMetric } from "../../src/batch/job.js";
import { checkJobLimits, checkShardLimits, JOB_LIMITS, thisMachine } from "../../src/batch/limits.js";
import type { ShardTask } from "../../src/batch/shard-task.js";
import { InputError } from "../../src/errors.js";
import { projection } from "../../src/prompts/metrics/internal.js";
import { JOB_PAIRS, jobByHand } from "../support/job-by-hand.js";

const FOUR_CORES = { cores: 4 };
const [PAIR] = JOB_PAIRS;

function noise(draws: number, at: readonly number[] = [0]): Job["source"] {
  return { kind: "noise", at, multiple: 3, draws, seed: 0 };
}

function along(length: number): PortableMetric {
  const direction = Array.from({ length }, () => 1);
  return {
    internal: projection({
      layer: 0,
      site: "residPost",
      position: "end",
      direction,
      directionName: "long",
    }),
  };
}

/** Pairs that share their prompts' memory. */
function pairsOf(count: number, tokens: number): Job["pairs"] {
  const clean = new Array<number>(tokens).fill(1);
  return new Array(count).fill({ ...PAIR, clean, corrupted: [], answers: [], wrong: [] });
}

describe("what a job may ask for", () => {
  it("every job of people", () => {
    expect(() => checkJobLimits(jobByHand(), FOUR_CORES)).not.toThrow();
    const large = jobByHand({
      threads: 4,
      batchSize: 4096,
      activationBudgetBytes: 2 ** 40,
      source: noise(500),
      pairs: pairsOf(4000, 1000),
    });
    expect(() => checkJobLimits(large, FOUR_CORES)).not.toThrow();
  });

  const cases: readonly (readonly [
    what: string,
    most: number | string,
    got: number,
    changes: Partial<Job>,
  ])[] = [
    ["source.draws", JOB_LIMITS.draws, 10 ** 8, { source: noise(10 ** 8) }],
    ["source.draws", JOB_LIMITS.draws, 2 ** 53 - 1, { source: noise(2 ** 53 - 1) }],
    [
      "pairs times source.draws",
      JOB_LIMITS.runs,
      1000 * 10_000,
      { source: noise(10_000), pairs: pairsOf(1000, 2) },
    ],
    [
      "source.at",
      JOB_LIMITS.noised,
      JOB_LIMITS.noised + 1,
      {
        source: noise(
          1,
          Array.from({ length: JOB_LIMITS.noised + 1 }, (_, p) => p),
        ),
      },
    ],
    ["tokens", JOB_LIMITS.tokens, 2 ** 25 + 1, { pairs: [...pairsOf(32, 2 ** 20), ...pairsOf(1, 1)] }],
    [
      "tokens",
      JOB_LIMITS.tokens,
      JOB_PAIRS.reduce((sum, pair) => sum + 2 * pair.clean.length + 3, 2 ** 25),
      { source: { kind: "mean", pairs: pairsOf(32, 2 ** 20) } },
    ],
    [
      "roles",
      JOB_LIMITS.roles,
      2 ** 22 + 2 ** 12,
      {
        pairs: new Array((2 ** 22 + 2 ** 12) / 2 ** 12).fill({
          ...PAIR,
          roles: new Array(2 ** 12).fill(["end", 0]),
        }),
      },
    ],
    ["metrics", JOB_LIMITS.metrics, 257, { metrics: new Array(257).fill({ output: "logit-diff" }) }],
    [
      "metrics' directions",
      JOB_LIMITS.directions,
      2 ** 22 + 2,
      { metrics: [along(2 ** 21 + 1), along(2 ** 21 + 1)] },
    ],
    ["batchSize", JOB_LIMITS.batchSize, 2 ** 53 - 1, { batchSize: 2 ** 53 - 1 }],
    [
      "activationBudgetBytes",
      JOB_LIMITS.activationBytes,
      2 ** 53 - 1,
      { activationBudgetBytes: 2 ** 53 - 1 },
    ],
    ["threads", "4, the cores of this machine", 10 ** 6, { threads: 10 ** 6 }],
  ];
  it.each(cases)("%s: no more than %s, not %s", (what, most, got, changes) => {
    const check = () => checkJobLimits(jobByHand(changes), FOUR_CORES);
    expect(check).toThrow(InputError);
    expect(check).toThrow(`checkLimits: ${what}: expected at most ${most}, got ${got}`);
  });

  it("a machine has cores, and memory", () => {
    const { cores, memoryBytes } = thisMachine();
    expect(cores).toBe(availableParallelism());
    expect(memoryBytes).toBeGreaterThan(2 ** 28);
    expect(memoryBytes).toBeLessThan(2 ** 50);
  });
});

describe("what a shard may ask for: no more than its job has announced", () => {
  const workload = { method: "atp+graddrop", byPair: false, pairs: 2, nodes: 3 } as const;
  const pairs = (end: number) => ({ first: 0, end });
  const estimate = { kind: "estimate", pairs: pairs(2), method: "atp+graddrop", byPair: false } as const;
  const verify = { kind: "verify", pairs: pairs(2), nodes: [0, 1, 2] } as const;

  it.each<ShardTask>([
    estimate,
    { ...estimate, method: "atp" },
    verify,
    { kind: "sample", excluded: [], probability: 0.5, seed: 0, samples: pairs(4) },
  ])("$kind $method", (task) => {
    expect(() => checkShardLimits(task, { workload })).not.toThrow();
  });

  it.each<readonly [ShardTask, string]>([
    [{ ...estimate, pairs: pairs(3) }, "pairs of a shard: expected at most 2, got 3"],
    [{ ...verify, pairs: pairs(5) }, "pairs of a shard: expected at most 2, got 5"],
    [{ ...verify, nodes: [0, 1, 2, 3] }, "nodes of a shard: expected at most 3, got 4"],
    [{ ...estimate, method: "atp*" }, "expected a shard that the job announces, got atp*, for which"],
    [{ ...estimate, byPair: true }, "expected a shard that the job announces, got atp+graddrop by pair, for"],
  ])("not %j", (task, text) => {
    const check = () => checkShardLimits(task, { workload });
    expect(check).toThrow(InputError);
    expect(check).toThrow(`checkLimits: ${text}`);
  });

  it("a job that patches every node has no estimates", () => {
    const { method: _, ...exact } = workload;
    expect(() => checkShardLimits({ ...estimate, method: "atp" }, { workload: exact })).toThrow(InputError);
  });
});
