/**
 * @file Sweeps: several metrics of every pair's run with each single node patched, without waste.
 *
 * A patched run is the base run but for the positions that its node has reached: in its own layer the node's position, in
 * the next one every position behind it, in the last one the position that the metric reads. Only these are computed. The
 * runs of a chunk go up through the layers together, each joining where its node is; in every layer the tokens of all runs,
 * of whatever node, position and pair, are multiplied as one list. Several chunks go up side by side.
 *
 * Metrics that are read inside the model take the slower way of `patchSets`: they see what is patched in their own layer.
 *
 * Cost of a node in layer l at position p of T: about (1 − (l + 2)/L)·(1 − p/T) of a forward pass, and next to nothing in the
 * last two layers.
 */

import { checkBudget, DEFAULT_ACTIVATION_BUDGET_BYTES } from "../../activation-budget.js";
import { disposeBlockContext, makeBlockContext } from "../../model/block.js";
import { forwardFlops } from "../../model/flops.js";
import type { Model } from "../../model/model.js";
import { formatNodeId } from "../../nodes/node-id.js";
import { type NodeSet, type NodeSpace, nodeAt } from "../../nodes/node-space.js";
import { batchPairs, type PairBatch } from "../../prompts/buckets.js";
import { isOutput, type OutputMetric } from "../../prompts/metrics/metric.js";
import { checkPairsForMetric, prepareAllOnRuns } from "../../prompts/metrics/on-runs.js";
import type { Pair } from "../../prompts/pair.js";
import { nextBatch, StageProgress } from "../../run-control.js";
import { type DrawnPairs, drawPairs } from "../../sources/draws.js";
import { runWave } from "../../wave.js";
import { averageDraws } from "../average-draws.js";
import { checkPatched } from "../not-finite.js";
import { type PatchOptions, patchSets } from "../patch-sets.js";
import { MetricTable, type PatchedRuns } from "../patched-runs.js";
import type { ChunkContext } from "./layer-step.js";
import { planSweep, type SweepRun } from "./plan.js";
import { recordPairs } from "./recorded.js";
import { SweepChunk } from "./sweep-chunk.js";
import { wavesOfSweep } from "./waves.js";

/**
 * Metrics of every pair's run with each node patched by itself.
 *
 * @param nodes patched one by one
 * @returns the patched values lie in [pairs, nodes]
 * @throws InputError for no pairs, or pairs that lack a metric's tokens or that a noise source cannot noise
 * @throws RunError if a metric of a run is not finite
 */
export async function sweepNodes(
  model: Model,
  pairs: readonly Pair[],
  space: NodeSpace,
  nodes: NodeSet,
  options: PatchOptions,
): Promise<PatchedRuns> {
  const metrics = options.metrics.filter(isOutput);
  if (metrics.length < options.metrics.length) {
    const sets = { length: nodes.length, at: (patch: number) => nodes.subarray(patch, patch + 1) };
    return await patchSets(model, pairs, space, sets, options);
  }
  for (const metric of metrics) checkPairsForMetric(pairs, metric);
  const drawn = drawPairs(pairs, options.source);
  const table = new MetricTable(metrics, drawn.pairs.length, nodes.length);
  const results = () => averageDraws(table.runs(), drawn.draws);
  try {
    await sweepDrawn(model, drawn, space, nodes, table, { ...options, metrics });
  } catch (error) {
    if (options.signal?.aborted) await options.onStopped?.(results());
    throw error;
  }
  return results();
}

async function sweepDrawn(
  model: Model,
  { pairs, values: replacement }: DrawnPairs,
  space: NodeSpace,
  nodes: NodeSet,
  table: MetricTable,
  options: PatchOptions & { readonly metrics: readonly OutputMetric[] },
): Promise<void> {
  const { metrics, batchSize, activationBudgetBytes = DEFAULT_ACTIVATION_BUDGET_BYTES } = options;
  checkBudget(activationBudgetBytes);
  const inputOf = (batch: PairBatch) => ({
    config: model.config,
    space,
    batch,
    nodes,
    fromPrompt: replacement === undefined,
  });
  const plans = batchPairs(pairs, batchSize).map((batch) => planSweep(inputOf(batch)));
  const total = plans.reduce((sum, { count }) => sum + count, 0);
  const progress = new StageProgress(options, "verify", total);
  for (const plan of plans) {
    const { indices, pairs: ofBatch, length: T } = plan.batch;
    await nextBatch(options.signal);
    const recorded = await recordPairs(model, plan, options.direction, replacement);
    try {
      const finals = { base: recorded.baseFinal, source: recorded.sourceFinal };
      const { direction } = options;
      const input = { model, pairs: ofBatch, direction, finals, budgetBytes: activationBudgetBytes };
      const prepared = await prepareAllOnRuns(metrics, input);
      table.setUnpatched(indices, prepared);
      const work = { flops: 0 };
      const chunk: ChunkContext = {
        block: makeBlockContext(model.config, T),
        recorded,
        T,
        B: ofBatch.length,
        count: (flops) => {
          work.flops += flops;
        },
      };
      try {
        const idle = (pairIndex: number, patch: number) => table.setUnchanged(indices[pairIndex], patch);
        const refuse = async ({ patch, pairIndex }: SweepRun, values: readonly number[]) => {
          const node = nodes.subarray(patch, patch + 1);
          const suspect = { pair: ofBatch[pairIndex], direction, space, nodes: node, replacement };
          await checkPatched(model, metrics, values, formatNodeId(nodeAt(space, nodes[patch])), suspect);
        };
        for (const wave of wavesOfSweep(inputOf(plan.batch), activationBudgetBytes, idle)) {
          const chunks = wave.map((runs) => new SweepChunk(chunk, runs));
          await runWave(model.weights, chunks, {
            to: model.config.layers,
            signal: options.signal,
            onShare: progress.share(wave.flat().length),
            async finish(runs) {
              const { order, final } = await runs.final(model);
              try {
                const pairOfRow = order.map(({ pairIndex }) => pairIndex);
                const values = prepared.map(({ metric }) => metric.read(final, pairOfRow));
                for (const [r, run] of order.entries()) {
                  const ofRun = values.map((ofMetric) => ofMetric[r]);
                  if (!ofRun.every(Number.isFinite)) await refuse(run, ofRun);
                  table.set(indices[run.pairIndex], run.patch, ofRun);
                }
              } finally {
                final.dispose();
              }
            },
          });
        }
      } finally {
        for (const { metric } of prepared) metric.dispose();
        disposeBlockContext(chunk.block);
      }
      table.addCost(work.flops / forwardFlops(model.config, T));
    } finally {
      recorded.dispose();
    }
  }
}
