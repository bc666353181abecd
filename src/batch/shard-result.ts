/**
 * @file What a shard has computed, as arrays that are stored as they are. Whoever reads a result asks for what its task makes; a
 * result that has not what it should have is told of, never completed.
 */

import type { Estimates } from "../atp/batches.js";
import type { SampleEffects } from "../bounds/observe.js";
import { RunError } from "../errors.js";
import type { PatchedRuns } from "../exact/patched-runs.js";
import type { EstimateTask, Range, SampleTask, ShardTask, VerifyTask } from "./shard-task.js";

export type ShardArray = Float64Array | Float32Array | Uint32Array;

export interface ShardResult<Task extends ShardTask = ShardTask> {
  /** Hash of the job. */
  readonly job: string;
  readonly task: Task;
  readonly forwardEquivalents: number;
  /** That computing it took. */
  readonly seconds: number;
  /** What computed it, for people. */
  readonly device: string;
  readonly arrays: Readonly<Record<string, ShardArray>>;
}

/** How a result came about. */
export type ShardFacts = Pick<ShardResult, "job" | "seconds" | "device">;

/** @param estimates of the task's pairs */
export function estimateResult(
  task: EstimateTask,
  { scores, baseMetric, sourceMetric, byPair = [], forwardEquivalents }: Estimates,
  facts: ShardFacts,
): ShardResult<EstimateTask> {
  const { sumAbs, sum, sumSquares, count, flags } = scores;
  const arrays = {
    base: baseMetric,
    source: sourceMetric,
    sumAbs,
    sum,
    sumSquares,
    count,
    ...(flags?.saturation && { saturation: flags.saturation }),
    ...(flags?.cancellation && { plain: flags.cancellation.plain, dropped: flags.cancellation.dropped }),
    ...Object.fromEntries(byPair.map((estimates, pair) => [`pair.${pair}`, estimates])),
  };
  return { ...facts, task, forwardEquivalents, arrays };
}

/** @param runs of the task's pairs and nodes, [pairs, nodes] */
export function verifyResult(
  task: VerifyTask,
  { metrics, forwardEquivalents }: PatchedRuns,
  facts: ShardFacts,
): ShardResult<VerifyTask> {
  const arrays = Object.fromEntries(
    metrics.flatMap(({ patched, base, source }, m) => [
      [`patched.${m}`, patched],
      [`base.${m}`, base],
      [`source.${m}`, source],
    ]),
  );
  return { ...facts, task, forwardEquivalents, arrays };
}

/** @param sampled effects of the task's samples */
export function sampleResult(
  task: SampleTask,
  { effects, forwardEquivalents }: SampleEffects,
  facts: ShardFacts,
): ShardResult<SampleTask> {
  return { ...facts, task, forwardEquivalents, arrays: { effects } };
}

/** @throws RunError where it is not the result of an estimate, or not a whole one */
export function estimatesOf(result: ShardResult): Estimates {
  const { task, arrays, forwardEquivalents } = result;
  if (task.kind !== "estimate") throw wrongKind("estimate", task);
  const pairs = sizeOf(task.pairs);
  const size = arrays.sum?.length ?? 0;
  const sums = (name: string) => float64(result, name, size);
  const { saturation, plain } = arrays;
  return {
    scores: {
      size,
      sumAbs: sums("sumAbs"),
      sum: sums("sum"),
      sumSquares: sums("sumSquares"),
      count: uint32(result, "count", size),
      ...((saturation || plain) && {
        flags: {
          ...(saturation && { saturation: sums("saturation") }),
          ...(plain && { cancellation: { plain: sums("plain"), dropped: sums("dropped") } }),
        },
      }),
    },
    baseMetric: float64(result, "base", pairs),
    sourceMetric: float64(result, "source", pairs),
    ...(arrays["pair.0"] && {
      byPair: Array.from({ length: pairs }, (_, pair) => float32(result, `pair.${pair}`, size)),
    }),
    forwardEquivalents,
  };
}

/**
 * @param metrics names, in the job's order
 * @throws RunError where it is not the result of patching nodes one by one, or not a whole one
 */
export function runsOf(result: ShardResult, metrics: readonly string[]): PatchedRuns {
  const { task, forwardEquivalents } = result;
  if (task.kind !== "verify") throw wrongKind("verify", task);
  const pairs = sizeOf(task.pairs);
  return {
    metrics: metrics.map((name, m) => ({
      name,
      patched: float32(result, `patched.${m}`, pairs * task.nodes.length),
      base: float64(result, `base.${m}`, pairs),
      source: float64(result, `source.${m}`, pairs),
    })),
    forwardEquivalents,
  };
}

/** @throws RunError where it is not the result of samples, or not a whole one */
export function effectsOf(result: ShardResult): SampleEffects {
  const { task, forwardEquivalents } = result;
  if (task.kind !== "sample") throw wrongKind("sample", task);
  return { effects: float64(result, "effects", sizeOf(task.samples)), forwardEquivalents };
}

function sizeOf({ first, end }: Range): number {
  return end - first;
}

function wrongKind(expected: ShardTask["kind"], { kind }: ShardTask): RunError {
  return new RunError(`ShardResult: expected one of kind ${expected}, got ${kind}`);
}

function float64(result: ShardResult, name: string, length: number): Float64Array {
  const array = result.arrays[name];
  if (array instanceof Float64Array && array.length === length) return array;
  throw lacking(name, `${length} float64 numbers`, array);
}

function float32(result: ShardResult, name: string, length: number): Float32Array {
  const array = result.arrays[name];
  if (array instanceof Float32Array && array.length === length) return array;
  throw lacking(name, `${length} float32 numbers`, array);
}

function uint32(result: ShardResult, name: string, length: number): Uint32Array {
  const array = result.arrays[name];
  if (array instanceof Uint32Array && array.length === length) return array;
  throw lacking(name, `${length} uint32 numbers`, array);
}

function lacking(name: string, expected: string, got: ShardArray | undefined): RunError {
  const found = got ? `${got.constructor.name} of ${got.length}` : "none";
  return new RunError(`ShardResult: expected ${name} to be ${expected}, got ${found}`);
}
