/**
 * @file What a job may ask of a machine that it does not know. A job from a queue may be anybody's: a worker looks at these numbers
 * before it plans, starts or allocates anything for it. What fits below them is for the memory plan to say, which counts every part.
 */

import { availableParallelism, totalmem } from "node:os";
import { METHODS } from "../atpstar/methods.js";
import { InputError } from "../errors.js";
import { LIMITS } from "../limits.js";
import type { Job, PortablePair } from "./job.js";
import type { ShardTask } from "./shard-task.js";

/** Beside the limits of options, which a job from a queue keeps to as well: each far above what has a use, and small enough for a worker to find out that the rest does not fit. */
export const JOB_LIMITS = {
  /** Of all prompts and answers together. */
  tokens: 2 ** 25,
  /** Of all pairs together. */
  roles: 2 ** 22,
  draws: LIMITS.noiseDraws.most,
  /** Pairs times draws. */
  runs: LIMITS.drawnPairs.most,
  /** What gets noise: positions and roles. */
  noised: 2 ** 12,
  /** Pairs times nodes of the largest shard. */
  patches: 2 ** 22,
  metrics: 256,
  /** Numbers in the directions of all metrics together. */
  directions: 2 ** 22,
  batchSize: LIMITS.batchSize.most,
  /** 8 TiB. */
  activationBytes: 2 ** 43,
} as const;

export interface Machine {
  readonly cores: number;
  readonly memoryBytes: number;
}

/** What this process can have: a container's limits count. */
export function thisMachine(): Machine {
  const limit = process.constrainedMemory() ?? 0;
  return { cores: availableParallelism(), memoryBytes: limit > 0 ? Math.min(limit, totalmem()) : totalmem() };
}

/**
 * A job that is refused here is refused by every worker with as many cores.
 * @param job of the shape of a job; see `parseJob`
 * @throws InputError for one that asks for more than the limits or the machine have
 */
export function checkJobLimits(job: Job, { cores }: Pick<Machine, "cores">): void {
  const { source, pairs, metrics, threads = 1, batchSize, activationBudgetBytes, workload } = job;
  const all = source.kind === "mean" && source.pairs ? [...pairs, ...source.pairs] : pairs;
  const total = (count: (pair: PortablePair) => number) => all.reduce((sum, pair) => sum + count(pair), 0);
  atMost(
    "tokens",
    total(
      ({ clean, corrupted, answers, wrong }) =>
        clean.length + (corrupted?.length ?? 0) + answers.length + wrong.length,
    ),
    JOB_LIMITS.tokens,
  );
  atMost(
    "roles",
    total(({ roles }) => roles.length),
    JOB_LIMITS.roles,
  );
  if (source.kind === "noise") {
    atMost("source.draws", source.draws, JOB_LIMITS.draws);
    atMost("pairs times source.draws", pairs.length * source.draws, JOB_LIMITS.runs);
    atMost("source.at", source.at.length, JOB_LIMITS.noised);
  }
  atMost("metrics", metrics.length, JOB_LIMITS.metrics);
  const directions = metrics.map((metric) =>
    "internal" in metric && "direction" in metric.internal.takes ? metric.internal.takes.direction.length : 0,
  );
  atMost(
    "metrics' directions",
    directions.reduce((sum, length) => sum + length, 0),
    JOB_LIMITS.directions,
  );
  atMost(
    "pairs times nodes of a shard",
    Math.min(workload.pairs, pairs.length) * workload.nodes,
    JOB_LIMITS.patches,
  );
  atMost("batchSize", batchSize, JOB_LIMITS.batchSize);
  atMost("activationBudgetBytes", activationBudgetBytes, JOB_LIMITS.activationBytes);
  atMost("threads", threads, cores, ", the cores of this machine");
}

/**
 * Memory is planned for the largest shard that the job announces: one that is larger is not made.
 * @throws InputError
 */
export function checkShardLimits(task: ShardTask, { workload }: Pick<Job, "workload">): void {
  if (task.kind === "sample") return;
  atMost("pairs of a shard", task.pairs.end - task.pairs.first, workload.pairs);
  if (task.kind === "verify") {
    atMost("nodes of a shard", task.nodes.length, workload.nodes);
    return;
  }
  const { method, byPair } = workload;
  // From the one that holds least to the one that holds most.
  const heavier = method === undefined || METHODS.indexOf(task.method) > METHODS.indexOf(method);
  if (heavier || (task.byPair && !byPair)) {
    throw new InputError(
      `checkLimits: expected a shard that the job announces, got ${task.method}${task.byPair ? " by pair" : ""}, for which no memory is planned`,
    );
  }
}

function atMost(what: string, got: number, most: number, why = ""): void {
  if (got <= most) return;
  throw new InputError(`checkLimits: ${what}: expected at most ${most}${why}, got ${got}`);
}
