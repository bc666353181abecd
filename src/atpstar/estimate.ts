/**
 * @file AtP*: attribution patching with the QK fix and GradDrop, each of them optional.
 *
 *   c(n) = mean over pairs of 1/(L − 1) · Σ_d |Î_d(n)|
 *
 * Î_d is the estimate with the gradient of dropped pass d (see `streams.ts`), QK-fixed for queries and keys (see
 * `qk-fix.ts`); for a node of the residual stream the divisor is L. For a metric that is read inside the model, L is the
 * number of layers wholly below it; the layer that it reads within is never dropped. The absolute value is taken per pair,
 * before the mean. Beside the contribution the scores keep the signed estimate of the plain pass, and two flags that say where plain
 * AtP is wrong and why. Source: Kramár et al. 2024, "AtP*", section 3.
 */

import * as tf from "@tensorflow/tfjs-core";
import { type EstimateOptions, type Estimates, estimateInBatches, type SweepInput } from "../atp/batches.js";
import { estimateAtp } from "../atp/estimate.js";
import { firstOrder, numbersOf, type SiteEstimates, wantedBy } from "../atp/first-order.js";
import { estimateRows, keepByPair } from "../atp/fold.js";
import { averageEstimates } from "../atp/over-draws.js";
import type { LayerRecord } from "../atp/runs.js";
import { layersBelow } from "../atp/start.js";
import { sweepBack } from "../atp/sweep.js";
import { InputError } from "../errors.js";
import type { Visit } from "../model/block.js";
import type { Model } from "../model/model.js";
import { groupsOfLayer, type NodeGroup } from "../nodes/node-space.js";
import { addSigned, addToColumn } from "../nodes/score-table.js";
import { checkModelForMetric } from "../prompts/metrics/internal.js";
import type { Metric } from "../prompts/metrics/metric.js";
import type { Pair } from "../prompts/pair.js";
import { dropContribution, firstStream, forksAbove, mapEstimates, streamWeights } from "./combine.js";
import { type Method, type MethodParts, partsOf } from "./methods.js";
import { fixAttention, fixedEstimates, type QkEstimates } from "./qk-fix.js";
import { mainStream, planStreams, streamsWithin } from "./streams.js";

/** What the gradients of one layer may take, all streams together: the same again as the activations. */
export const DEFAULT_STREAM_BUDGET_BYTES = 2 ** 30;

export interface MethodOptions extends EstimateOptions {
  /** What the gradient streams may take, in bytes; default 1 GiB. Beyond it they run in several sweeps. */
  readonly streamBudgetBytes?: number;
}

/**
 * Estimates of every node of the space by one of the gradient methods, over all pairs.
 *
 * @throws InputError as `estimateAtp` does, and for GradDrop with no other layers to drop
 * @throws RunError if the metric of a run is not finite
 */
export async function estimateBy(
  method: Method,
  model: Model,
  pairs: readonly Pair[],
  options: MethodOptions,
): Promise<Estimates> {
  const parts = partsOf(method);
  if (!parts.qkFix && !parts.gradDrop) return estimateAtp(model, pairs, options);
  checkModelForMetric(model.config, options.metric);
  checkMethod(method, model.config.layers, options.metric);
  const flags = { saturation: parts.qkFix, cancellation: parts.gradDrop };
  const budget = options.streamBudgetBytes ?? DEFAULT_STREAM_BUDGET_BYTES;
  return estimateInBatches(model, pairs, options, (input) => sweepAll(input, parts, budget), flags);
}

/** @throws InputError for GradDrop on a model of one layer, or with fewer than two layers below the metric */
export function checkMethod(method: Method, layers: number, metric?: Metric): void {
  if (!partsOf(method).gradDrop) return;
  const why = "GradDrop averages over the other layers, and there are none; use atp or atp+qkfix";
  if (layers < 2) {
    throw new InputError(
      `estimateBy: expected a model of at least 2 layers for method ${method}, got ${layers}: ${why}`,
    );
  }
  const below = metric ? layersBelow(metric, layers) : layers;
  if (metric && below < 2) {
    throw new InputError(
      `estimateBy: expected a metric with at least 2 layers below it for method ${method}, got ${metric.name} with ${below}: ${why}`,
    );
  }
}

async function sweepAll(input: SweepInput, parts: MethodParts, streamBudget: number): Promise<number> {
  const { model, runs, pairs, draws, T, below } = input;
  const { width: D, mlpWidth: F, heads: H } = model.config;
  const perSweep = streamsWithin(streamBudget, { B: pairs.length * draws, T, D, F, H });
  const [first = [], ...later] = parts.gradDrop ? planStreams(below, perSweep) : [];
  const forks = new Map<number, tf.Tensor4D>();
  const keep = new Set(later.flat());

  const startsAt = (sweep: readonly number[] | undefined) => sweep && sweep[0] - 1;
  try {
    let layerBackwards = await sweepBack(
      model,
      runs,
      input,
      {
        visitLayer: (layer, record, dResidPost) => {
          const fork = parts.gradDrop && layer < below ? mainStream(dResidPost) : undefined;
          return visitOf(input, parts, layer, record, true, fork);
        },
        onward(layer, dResidPost, dResidPre) {
          if (keep.has(layer)) forks.set(layer, tf.keep(mainStream(dResidPost)));
          return first.includes(layer) ? tf.concat([dResidPre, mainStream(dResidPost)], 0) : dResidPre;
        },
      },
      startsAt(later[0]),
    );
    const forkAt = (layer: number): tf.Tensor4D => {
      const fork = forks.get(layer);
      if (!fork) throw new Error(`sweepAll: expected the gradient that forks at layer ${layer}, got none`);
      return fork;
    };
    for (const [place, dropped] of later.entries()) {
      const [top] = dropped;
      layerBackwards += await sweepBack(
        model,
        runs,
        { from: top - 1, gradient: tf.clone(forkAt(top)) },
        {
          visitLayer: (layer, record) => visitOf(input, parts, layer, record, false),
          onward: (layer, _dResidPost, dResidPre) =>
            dropped.includes(layer) ? tf.concat([dResidPre, forkAt(layer)], 0) : dResidPre,
        },
        startsAt(later[place + 1]),
      );
    }
    return layerBackwards;
  } finally {
    tf.dispose([...forks.values()]);
  }
}

/**
 * The visit that adds a layer's estimates to the scores.
 * @param hasMain whether stream 0 is the main one: its sweep also adds the signed estimates
 * @param fork with GradDrop in the main sweep: the gradient that the pass dropping this layer has above and below it
 */
function visitOf(
  input: SweepInput,
  parts: MethodParts,
  layer: number,
  { saved, differences }: LayerRecord,
  hasMain: boolean,
  fork?: tf.Tensor4D,
): Visit {
  const { space, model, runs, draws } = input;
  const wanted = wantedBy(space);
  const groups = groupsOfLayer(space, layer);
  const ofQk = { ...(groups.has("q") && { q: differences.q }), ...(groups.has("k") && { k: differences.k }) };
  let fixed: QkEstimates = {};
  return (point, _layer, gradient) => {
    if (point === "pattern") {
      if (!parts.qkFix || (!ofQk.q && !ofQk.k)) return;
      const attention = fixAttention(saved.attention, ofQk, runs.context.mask, wanted);
      const { q, k } = fixedEstimates(attention, gradient, model.config.kvHeads, wanted);
      fixed = { ...(q && { q: averageEstimates(q, draws) }), ...(k && { k: averageEstimates(k, draws) }) };
      return;
    }
    const group = groups.get(point);
    const difference = differences[point];
    if (!group || !difference) return;
    const plain = averageEstimates(firstOrder(point, gradient, difference, wanted), draws);
    const forked =
      fork && forksAbove(point) ? averageEstimates(firstOrder(point, fork, difference, wanted), draws) : {};
    const best = point === "q" || point === "k" ? (fixed[point] ?? plain) : plain;
    addSite(input, parts, group, { plain, best, forked }, hasMain);
  };
}

/** Adds the estimates of one site in one layer, from the streams of one sweep. */
function addSite(
  input: SweepInput,
  { gradDrop }: MethodParts,
  group: NodeGroup,
  { plain, best, forked }: { plain: SiteEstimates; best: SiteEstimates; forked: SiteEstimates },
  hasMain: boolean,
): void {
  const { space, scores, pairs, T, below } = input;
  const weights = streamWeights(group.site, group.layer, below, hasMain);
  const contributionOf = (estimates: SiteEstimates): SiteEstimates =>
    mapEstimates(estimates, (tensor, kind) =>
      gradDrop ? dropContribution(tensor, weights, forked[kind]) : tf.abs(firstStream(tensor)),
    );
  const contribution = contributionOf(best);
  const columns: [Float64Array, SiteEstimates][] = [[scores.sumAbs, contribution]];
  const { saturation, cancellation } = scores.flags ?? {};
  if (cancellation) {
    columns.push([cancellation.dropped, best === plain ? contribution : contributionOf(plain)]);
  }
  if (hasMain && cancellation) {
    columns.push([cancellation.plain, mapEstimates(plain, (tensor) => tf.abs(firstStream(tensor)))]);
  }
  if (hasMain && saturation && best !== plain) {
    const gap = mapEstimates(best, (tensor, kind) =>
      tf.abs(tf.sub(firstStream(tensor), firstStream(plain[kind] ?? tensor))),
    );
    columns.push([saturation, gap]);
  }
  const added = columns.map(([column, estimates]) => [column, numbersOf(estimates)] as const);
  const signed = hasMain ? numbersOf(mapEstimates(best, firstStream)) : undefined;
  for (const row of estimateRows(space, group, pairs, T)) {
    const kind = row.everywhere ? "everywhere" : "each";
    if (signed) {
      addSigned(scores, row, signed[kind]);
      keepByPair(input, row, signed[kind]);
    }
    for (const [column, numbers] of added) addToColumn(column, row, numbers[kind]);
  }
}
