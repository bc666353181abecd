/**
 * @file Sweeps: several metrics of every pair's run with each single node patched, without waste.
 *
 * A patched run is the base run but for the positions that its node has reached: in its own layer the node's position, in
 * the next one every position behind it, in the last one the position that the metric reads. Only these are computed. The
 * runs of a chunk go up through the layers together, each joining where its node is; in every layer the tokens of all runs,
 * of whatever node, position and pair, are multiplied as one list.
 *
 * Metrics that are read inside the model take the slower way of `patchSets`: they see what is patched in their own layer.
 *
 * Cost of a node in layer l at position p of T: about (1 − (l + 2)/L)·(1 − p/T) of a forward pass, and next to nothing in the
 * last two layers.
 */

import * as tf from "@tensorflow/tfjs-core";
import {
  bytesOfAttention,
  bytesOfRun,
  checkBudget,
  DEFAULT_ACTIVATION_BUDGET_BYTES,
} from "../../activation-budget.js";
import { disposeBlockContext, makeBlockContext } from "../../model/block.js";
import { forwardFlops } from "../../model/flops.js";
import type { Model } from "../../model/model.js";
import { readout } from "../../model/transformer.js";
import type { BlockWeights } from "../../model/weights.js";
import { formatNodeId } from "../../nodes/node-id.js";
import { type NodeGroup, type NodeSet, type NodeSpace, nodeAt } from "../../nodes/node-space.js";
import { batchPairs, type PairBatch } from "../../prompts/buckets.js";
import { isOutput, type OutputMetric } from "../../prompts/metrics/metric.js";
import { checkPairsForMetric, prepareAllOnRuns } from "../../prompts/metrics/on-runs.js";
import type { Pair } from "../../prompts/pair.js";
import { nextBatch } from "../../run-control.js";
import { type DrawnPairs, drawPairs } from "../../sources/draws.js";
import { averageDraws } from "../average-draws.js";
import { type PatchOptions, patchSets } from "../patch-sets.js";
import { MetricTable, type PatchedRuns } from "../patched-runs.js";
import { readMetrics } from "../read-metrics.js";
import { type Flight, joinFlights } from "./flight.js";
import { type ChunkContext, throughLayer } from "./layer-step.js";
import { chunksWithin, planSweep, type SweepRun, sweepRuns } from "./plan.js";
import { recordPairs } from "./recorded.js";
import { type Joint, jointOf, startOf } from "./starts.js";

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
  return averageDraws(await sweepDrawn(model, drawn, space, nodes, { ...options, metrics }), drawn.draws);
}

async function sweepDrawn(
  model: Model,
  { pairs, values: replacement }: DrawnPairs,
  space: NodeSpace,
  nodes: NodeSet,
  options: PatchOptions & { readonly metrics: readonly OutputMetric[] },
): Promise<PatchedRuns> {
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
  const table = new MetricTable(metrics, pairs.length, nodes.length);
  let done = 0;
  for (const plan of plans) {
    const { indices, pairs: ofBatch, length: T } = plan.batch;
    await nextBatch(options.signal);
    const recorded = await recordPairs(model, plan, options.direction, replacement);
    try {
      const finals = { base: recorded.baseFinal, source: recorded.sourceFinal };
      const prepared = await prepareAllOnRuns(model, metrics, ofBatch, options.direction, finals);
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
        const chunks = chunksWithin(sweepRuns(inputOf(plan.batch), idle), activationBudgetBytes, {
          ofRun: ({ span, metricPosition }) => bytesOfRun(model.config, metricPosition + 1 - span.first),
          ofEach: (first, end) => bytesOfAttention(model.config, end - first, end),
        });
        for (const runs of chunks) {
          const { order, final } = await finalOfChunk(model, chunk, runs, options.signal);
          const values = readMetrics(
            prepared,
            final,
            order.map(({ pairIndex }) => pairIndex),
            model.config.vocabulary,
            activationBudgetBytes,
          );
          final.dispose();
          order.forEach(({ patch, pairIndex }, r) => {
            table.set(
              indices[pairIndex],
              patch,
              values.map((ofMetric) => ofMetric[r]),
              () => `${formatNodeId(nodeAt(space, nodes[patch]))} on ${ofBatch[pairIndex].origin}`,
            );
          });
          done += runs.length;
          options.onProgress?.({ stage: "verify", done, total });
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
  return table.runs();
}

/**
 * Takes runs from where they leave the base run to the final norm.
 * @param runs in order of their layers
 * @param signal aborting it stops the runs before their next layer
 * @returns `final` where each run's metric is read, [R, D], owned by the caller; and the runs in the order of its rows
 */
async function finalOfChunk(
  model: Model,
  chunk: ChunkContext,
  runs: readonly SweepRun[],
  signal: AbortSignal | undefined,
): Promise<{ order: readonly SweepRun[]; final: tf.Tensor2D }> {
  const { layers } = model.config;
  let flight: Flight | undefined;
  try {
    for (let layer = runs[0].group.layer; layer < layers; layer++) {
      // A chunk of a gigabyte takes seconds: every layer is a chance to stop.
      await nextBatch(signal);
      const block = await model.weights.layer(layer);
      const setOut = byGroup(runs.filter(({ group }) => group.layer === layer));
      const next = inTidy(() => stepOf(chunk, block, layer, flight, setOut));
      model.weights.release(layer);
      flight?.stream.dispose();
      flight = next;
    }
  } catch (error) {
    flight?.stream.dispose();
    throw error;
  }
  if (!flight) throw new Error("finalOfChunk: expected at least one run, got none");
  const { runs: order, stream } = flight;
  const last: tf.Tensor3D = tf.reshape(stream, [order.length, 1, model.config.width]);
  const { final, saved } = await readout(
    model,
    last,
    order.map(() => 0),
  );
  tf.dispose([stream, last, saved]);
  return { order, final };
}

/** One layer: those that are under way, and those that set out in it. */
function stepOf(
  chunk: ChunkContext,
  block: BlockWeights,
  layer: number,
  underWay: Flight | undefined,
  setOut: readonly (readonly SweepRun[])[],
): Flight | undefined {
  const { parallelResidual } = chunk.block.config;
  const starts = setOut.map((runs) => ({
    joint: jointOf(runs[0].group.site, parallelResidual),
    flight: startOf(chunk, block, runs),
  }));
  const at = (joint: Joint) => starts.filter((start) => start.joint === joint).map(({ flight }) => flight);
  const entering = joinFlights([underWay, ...at("before")]);
  const through = throughLayer(chunk, block, layer, entering, joinFlights(at("middle")));
  return joinFlights([through, ...at("behind")]);
}

function byGroup(runs: readonly SweepRun[]): SweepRun[][] {
  const groups = new Map<NodeGroup, SweepRun[]>();
  for (const run of runs) {
    const same = groups.get(run.group);
    if (same) same.push(run);
    else groups.set(run.group, [run]);
  }
  return [...groups.values()];
}

/** A tidy around a flight. Its runs are kept from `tf.tidy`, which would search them for tensors. */
function inTidy(work: () => Flight | undefined): Flight | undefined {
  let flight: Flight | undefined;
  const stream = tf.tidy(() => {
    flight = work();
    return flight?.stream ?? [];
  });
  return flight && !Array.isArray(stream) ? { ...flight, stream } : undefined;
}
