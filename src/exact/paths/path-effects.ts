/**
 * @file Path patching: the effect of a sender on the metric through chosen receivers only.
 *
 *   Δ = what the sender adds to the residual stream in the source run − in the base run
 *   receiver's value := computed from (base stream + Δ);  effect = M(base run with those values) − M(base run)
 *
 * Between sender and receivers every other component keeps its base output; behind the receivers everything runs. Several
 * receivers are patched together, and each of them hears the sender only, not another receiver. The receiver `final` is
 * the direct effect on the logits. Method: Wang et al. 2022 (arXiv 2211.00593, path patching), Goldowsky-Dill et al. 2023
 * (arXiv 2304.05969).
 */

import { DEFAULT_ACTIVATION_BUDGET_BYTES } from "../../activation-budget.js";
import { InputError, RunError } from "../../errors.js";
import type { Model } from "../../model/model.js";
import { formatNodeId } from "../../nodes/node-id.js";
import { batchPairs } from "../../prompts/buckets.js";
import { isOutput, type Metric, type OutputMetric } from "../../prompts/metrics/metric.js";
import { checkPairsForMetric, prepareOnRuns } from "../../prompts/metrics/on-runs.js";
import { beginsAt, firstOfPair } from "../../prompts/not-finite.js";
import type { Pair } from "../../prompts/pair.js";
import { nextBatch, StageProgress } from "../../run-control.js";
import { type DrawnPairs, drawPairs, meanOverDraws } from "../../sources/draws.js";
import { runWave } from "../../wave.js";
import { partialRuns } from "../partial-runs.js";
import type { ExactOptions } from "../patch-sets.js";
import { wavesOfRuns } from "../plan.js";
import { checkEnds, checkTogether, type PathEnds } from "./ends.js";
import { runPathInputs } from "./inputs.js";
import { type Path, type PathRun, planPaths } from "./plan.js";
import { formatReceiver } from "./receivers.js";
import { PathChunk } from "./runs.js";

export interface PathOptions extends Omit<ExactOptions, "onStopped">, PathEnds {
  /**
   * Keep the scale 1/√(var x + ε) of the receivers' norms (the q/k norm of a head included) as it is in the base run;
   * default false, it is computed anew.
   */
  readonly freezeNorm?: boolean;
  /**
   * Called where the signal stops the runs, before the call rejects, with the effects so far on as many pairs as they were computed
   * on: NaN for a path that is not done on all of these. Not called where there are none.
   */
  readonly onInterrupted?: (soFar: PathEffects, pairs: readonly Pair[]) => Promise<void> | void;
}

export interface PathEffects {
  /**
   * [pairs, senders] row-major. NaN where a pair lacks a position or role, or where no receiver reads behind the sender
   * at a position of the sender's: no such path.
   */
  readonly effects: Float32Array;
  readonly baseMetric: Float64Array;
  readonly sourceMetric: Float64Array;
  /**
   * What it cost, in forward passes of one prompt. What receivers hear in a layer is counted as a whole layer, which it
   * costs less than.
   */
  readonly forwardEquivalents: number;
}

/** `PathEffects` of every sender through every single receiver. */
export interface DirectPaths extends Omit<PathEffects, "effects"> {
  /** Ids, in the order of the axes. */
  readonly senders: readonly string[];
  readonly receivers: readonly string[];
  /** [pairs, senders, receivers] row-major; NaN as in `PathEffects`. */
  readonly effects: Float32Array;
}

/**
 * Exact effects of every sender on every pair, through all of the receivers together.
 *
 * @throws InputError for no sender or receiver; one that is malformed, or that model or pairs do not have; a sender that
 *   does not write to the residual stream; `final` beside other receivers; an internal metric; no pairs, or pairs that
 *   lack the metric's tokens
 * @throws RunError if the metric of a run is not finite
 */
export async function pathEffects(
  model: Model,
  pairs: readonly Pair[],
  options: PathOptions,
): Promise<PathEffects> {
  const { senders, receivers } = checkEnds(model.config, pairs, options);
  checkTogether(receivers);
  const paths = senders.map((sender) => ({ sender, receivers }));
  return await effectsOfPaths(model, pairs, paths, options);
}

/**
 * Exact effects of every sender through every receiver by itself, as one batched sweep.
 *
 * @throws as `pathEffects` does; `final` may stand beside others here
 */
export async function directPaths(
  model: Model,
  pairs: readonly Pair[],
  options: PathOptions,
): Promise<DirectPaths> {
  const { senders, receivers } = checkEnds(model.config, pairs, options);
  const paths = senders.flatMap((sender) => receivers.map((receiver) => ({ sender, receivers: [receiver] })));
  const result = await effectsOfPaths(model, pairs, paths, options);
  return { ...result, senders: senders.map(formatNodeId), receivers: receivers.map(formatReceiver) };
}

/**
 * The metric, if paths can end at it.
 * @throws InputError for an internal metric: what receivers change reaches it through the layers between, not by a path
 */
export function checkPathMetric(metric: Metric): OutputMetric {
  if (isOutput(metric)) return metric;
  throw new InputError(
    `pathEffects: expected a metric of the logits, where paths end, got ${metric.name}: use it with patched runs and estimates`,
  );
}

async function effectsOfPaths(
  model: Model,
  pairs: readonly Pair[],
  paths: readonly Path[],
  options: PathOptions,
): Promise<PathEffects> {
  const metric = checkPathMetric(options.metric);
  checkPairsForMetric(pairs, metric);
  const drawn = drawPairs(pairs, options.source);
  const plans = batchPairs(drawn.pairs, options.batchSize).map((batch) =>
    planPaths(model.config, batch, paths),
  );
  const result = {
    effects: new Float32Array(drawn.pairs.length * paths.length).fill(Number.NaN),
    baseMetric: new Float64Array(drawn.pairs.length),
    sourceMetric: new Float64Array(drawn.pairs.length),
    forwardEquivalents: 0,
  };
  try {
    await effectsOfDrawn(model, drawn, plans, paths.length, result, { ...options, metric });
  } catch (error) {
    if (options.signal?.aborted) {
      const soFar = partOf(averaged(result, drawn.draws, paths.length), plans, drawn.draws, paths.length);
      if (soFar) {
        await options.onInterrupted?.(
          soFar.effects,
          soFar.pairs.map((pair) => pairs[pair]),
        );
      }
    }
    throw error;
  }
  return averaged(result, drawn.draws, paths.length);
}

function averaged(result: PathEffects, draws: number, paths: number): PathEffects {
  if (draws === 1) return result;
  return {
    effects: new Float32Array(meanOverDraws(result.effects, draws, paths)),
    baseMetric: meanOverDraws(result.baseMetric, draws),
    sourceMetric: meanOverDraws(result.sourceMetric, draws),
    forwardEquivalents: result.forwardEquivalents,
  };
}

/** What is done on the same pairs, of effects that were stopped. */
function partOf(
  { effects, baseMetric, sourceMetric, forwardEquivalents }: PathEffects,
  plans: readonly ReturnType<typeof planPaths>[],
  draws: number,
  paths: number,
): { readonly effects: PathEffects; readonly pairs: readonly number[] } | undefined {
  const asked = new Uint8Array(effects.length);
  for (const { batch, runs, idle } of plans) {
    for (const { pairIndex, path } of [...runs, ...idle]) {
      asked[Math.floor(batch.indices[pairIndex] / draws) * paths + path] = 1;
    }
  }
  const metric = { name: "", patched: effects, base: baseMetric, source: sourceMetric };
  const partial = partialRuns(
    { metrics: [metric], forwardEquivalents },
    paths,
    (pair, path) => asked[pair * paths + path] === 1,
  );
  if (!partial) return undefined;
  const { pairs, patches } = partial;
  const kept = new Float32Array(pairs.length * paths).fill(Number.NaN);
  pairs.forEach((_, p) => {
    patches.forEach((path, at) => {
      kept[p * paths + path] = partial.metrics[0].patched[p * patches.length + at];
    });
  });
  const [{ base, source }] = partial.metrics;
  return { effects: { effects: kept, baseMetric: base, sourceMetric: source, forwardEquivalents }, pairs };
}

/** Of a run between two layers: the residual stream, and what the senders change in it. */
const STREAMS = 2;

async function effectsOfDrawn(
  model: Model,
  { values: replacement }: DrawnPairs,
  plans: readonly ReturnType<typeof planPaths>[],
  paths: number,
  result: { -readonly [Field in keyof PathEffects]: PathEffects[Field] },
  {
    metric,
    direction,
    activationBudgetBytes = DEFAULT_ACTIVATION_BUDGET_BYTES,
    freezeNorm = false,
    ...control
  }: PathOptions & { readonly metric: OutputMetric },
): Promise<void> {
  const total = plans.reduce((sum, plan) => sum + plan.runs.length, 0);
  const progress = new StageProgress(control, "patch", total);
  for (const plan of plans) {
    const { indices, length: T, pairs: ofBatch } = plan.batch;
    await nextBatch(control.signal);
    const inputs = await runPathInputs(model, direction, plan, replacement);
    const finals = { base: inputs.baseFinal, source: inputs.sourceFinal };
    try {
      const input = { model, pairs: ofBatch, direction, finals, budgetBytes: activationBudgetBytes };
      const prepared = await prepareOnRuns(metric, input);
      try {
        indices.forEach((index, b) => {
          result.baseMetric[index] = prepared.base[b];
          result.sourceMetric[index] = prepared.source[b];
        });
        result.forwardEquivalents += 2 * indices.length;
        const put = ({ pairIndex, path }: PathRun, effect: number) => {
          result.effects[indices[pairIndex] * paths + path] = effect;
        };
        const refuse = async ({ pair, sender }: PathRun, value: number) => {
          const first = await firstOfPair(model, pair, direction);
          const begin =
            first === undefined ? "the unpatched runs are finite, the patched one is not" : beginsAt(first);
          throw new RunError(
            `pathEffects: expected a finite ${metric.name} of every patched run, got ${value} for sender ${formatNodeId(sender)} on ${pair.origin}: ${begin}`,
          );
        };
        for (const run of plan.idle) put(run, 0);
        const shared = { config: model.config, T, inputs, freezeNorm };
        for (const wave of wavesOfRuns(model.config, plan.runs, T, activationBudgetBytes, STREAMS)) {
          const chunks = wave.map((rows) => new PathChunk(shared, rows));
          await runWave(model.weights, chunks, {
            to: model.config.layers,
            signal: control.signal,
            onShare: progress.share(wave.flat().length),
            async finish(chunk) {
              const { rows } = chunk;
              const final = await chunk.final(model);
              let values: Float32Array;
              try {
                values = prepared.metric.read(
                  final,
                  rows.map(({ pairIndex }) => pairIndex),
                );
              } finally {
                final.dispose();
              }
              for (const [r, run] of rows.entries()) {
                if (!Number.isFinite(values[r])) await refuse(run, values[r]);
                put(run, values[r] - prepared.base[run.pairIndex]);
              }
              result.forwardEquivalents += costOf(model.config.layers, rows, T);
            },
          });
        }
      } finally {
        prepared.metric.dispose();
      }
    } finally {
      inputs.dispose();
    }
  }
}

/** Forward passes of one prompt: the layers that runs go through, and those whose receivers compute once more. */
function costOf(layers: number, rows: readonly PathRun[], T: number): number {
  return rows.reduce((sum, { layer, position, hearings }) => {
    const again = new Set(
      hearings.flatMap(({ receiver }) =>
        receiver !== "final" && receiver.layer >= layer ? [receiver.layer] : [],
      ),
    );
    return sum + ((layers - layer + again.size) / layers) * (1 - position / T);
  }, 0);
}
