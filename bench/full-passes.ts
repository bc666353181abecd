/**
 * @file AtP* with one full backward pass for each dropped layer, beside the plain one: what GradDrop says, taken
 * literally, with one gradient at a time. It takes L(L + 1) layer-backwards where the streams of `src/atpstar` take
 * L(L + 1)/2. It is there to be timed, and as a second way to the same numbers.
 *
 * Everything else is as cheap as there: runs are recorded once, attention rows are recomputed once, since they do not
 * depend on the gradient, and absolute estimates are summed on the engine and leave it once.
 */

import * as tf from "@tensorflow/tfjs-core";
import {
  type EstimateOptions,
  type Estimates,
  estimateInBatches,
  type SweepInput,
} from "../src/atp/batches.js";
import { firstOrder, wantedBy } from "../src/atp/first-order.js";
import { estimateRows } from "../src/atp/fold.js";
import type { LayerRecord } from "../src/atp/runs.js";
import { sweepBack } from "../src/atp/sweep.js";
import {
  type FixedAttention,
  fixAttention,
  fixedEstimates,
  type QkEstimates,
} from "../src/atpstar/qk-fix.js";
import type { Visit } from "../src/model/block.js";
import type { Model } from "../src/model/model.js";
import type { Site } from "../src/model/sites.js";
import type { NodeGroup } from "../src/nodes/node-space.js";
import { addSigned, addToColumn, type FlagSums } from "../src/nodes/score-table.js";
import type { Pair } from "../src/prompts/pair.js";

/** The estimates of `estimateBy("atp*", …)`, of nodes at single positions only. */
export function estimateByFullPasses(
  model: Model,
  pairs: readonly Pair[],
  options: EstimateOptions,
): Promise<Estimates> {
  return estimateInBatches(model, pairs, options, sweepEveryPass, { saturation: true, cancellation: true });
}

/** What outlives a pass. Owns tensors. */
interface Sums {
  /** Recomputed rows by layer. */
  readonly attention: Map<number, FixedAttention>;
  /** Σ_d |Î_d| of each group, with the QK fix. */
  readonly fixed: Map<NodeGroup, tf.Tensor>;
  /** The same without it, of queries and keys. */
  readonly plain: Map<NodeGroup, tf.Tensor>;
}

/** One backward pass: the plain one, or the one that holds a layer's contribution to the residual stream constant. */
type Pass = "plain" | { readonly dropped: number };

async function sweepEveryPass(input: SweepInput): Promise<number> {
  const { model, runs, from, gradient, seed, below } = input;
  const sums: Sums = { attention: new Map(), fixed: new Map(), plain: new Map() };
  const passes: Pass[] = ["plain", ...Array.from({ length: below }, (_, dropped) => ({ dropped }))];
  let layerBackwards = 0;
  for (const pass of passes) {
    const isDropped = (layer: number) => pass !== "plain" && pass.dropped === layer;
    layerBackwards += await sweepBack(
      model,
      runs,
      { from, gradient: tf.clone(gradient), ...(seed && { seed }) },
      {
        visitLayer: (layer, record, dResidPost) =>
          visitOf(input, pass, layer, record, sums, isDropped(layer) ? dResidPost : undefined),
        onward: (layer, dResidPost, dResidPre) => (isDropped(layer) ? tf.clone(dResidPost) : dResidPre),
      },
    );
  }
  addContributions(input, sums);
  const { attention, fixed, plain } = sums;
  tf.dispose([gradient, ...attention.values(), ...fixed.values(), ...plain.values()]);
  return layerBackwards;
}

/**
 * @param held in the layer that the pass drops: the gradient at residPost, which passes through the layer as it is. Only
 *   nodes of the residual stream have an estimate there.
 */
function visitOf(
  input: SweepInput,
  pass: Pass,
  layer: number,
  record: LayerRecord,
  sums: Sums,
  held: tf.Tensor | undefined,
): Visit {
  const { space, model } = input;
  const wanted = wantedBy(space);
  const groups = new Map(
    space.groups.filter((group) => group.layer === layer).map((group) => [group.site, group]),
  );
  let qk: QkEstimates = {};
  return (point, _layer, siteGradient) => {
    if (point === "pattern") {
      if (held) return;
      qk = fixedEstimates(
        attentionOf(input, layer, record, sums),
        siteGradient,
        model.config.kvHeads,
        wanted,
      );
      return;
    }
    const group = groups.get(point);
    const difference = record.differences[point];
    if (!group || !difference || (held && !isResidual(point))) return;
    const { each: plain } = firstOrder(point, held ?? siteGradient, difference, wanted);
    const best = (point === "q" || point === "k" ? qk[point]?.each : undefined) ?? plain;
    if (!plain || !best) throw new Error("visitOf: expected nodes at single positions, got none");
    if (pass === "plain") {
      addPlainPass(input, group, plain, best);
    } else {
      addSize(sums.fixed, group, best);
      if (best !== plain) addSize(sums.plain, group, plain);
    }
  };
}

function isResidual(site: Site): boolean {
  return site === "residPre" || site === "residMid" || site === "residPost";
}

/** A layer's recomputed rows, from the sums or put there. */
function attentionOf(
  { runs, space }: SweepInput,
  layer: number,
  { saved, differences: { q, k } }: LayerRecord,
  { attention }: Sums,
): FixedAttention {
  const known = attention.get(layer);
  if (known) return known;
  const made = fixAttention(
    saved.attention,
    { ...(q && { q }), ...(k && { k }) },
    runs.context.mask,
    wantedBy(space),
  );
  for (const tensor of tf.tensor_util.getTensorsInContainer(made)) tf.keep(tensor);
  attention.set(layer, made);
  return made;
}

function addSize(sums: Map<NodeGroup, tf.Tensor>, group: NodeGroup, estimates: tf.Tensor): void {
  const before = sums.get(group);
  const size = tf.abs(estimates);
  sums.set(group, tf.keep(before ? tf.add(before, size) : size));
  before?.dispose();
}

/** The signed estimates and what the flags take from the plain pass. */
function addPlainPass(
  { scores, space, pairs, T }: SweepInput,
  group: NodeGroup,
  plain: tf.Tensor,
  best: tf.Tensor,
): void {
  const { saturation, cancellation } = flagsOf(scores);
  const signed = numbersOf(best);
  const size = numbersOf(tf.abs(plain));
  const gap = best === plain ? undefined : numbersOf(tf.abs(tf.sub(best, plain)));
  for (const row of estimateRows(space, group, pairs, T)) {
    addSigned(scores, row, signed);
    addToColumn(cancellation.plain, row, size);
    if (gap) addToColumn(saturation, row, gap);
  }
}

/** The contributions: sums over the dropped passes, over the number of those that do not hold the node constant. */
function addContributions({ scores, space, pairs, T, below }: SweepInput, sums: Sums): void {
  const { cancellation } = flagsOf(scores);
  for (const [group, sum] of sums.fixed) {
    // A layer that the metric reads within is never dropped.
    const divisor = isResidual(group.site) || group.layer >= below ? below : below - 1;
    const fixed = meanOf(sum, divisor);
    const plainSum = sums.plain.get(group);
    const plain = plainSum ? meanOf(plainSum, divisor) : fixed;
    for (const row of estimateRows(space, group, pairs, T)) {
      addToColumn(scores.sumAbs, row, fixed);
      addToColumn(cancellation.dropped, row, plain);
    }
  }
}

function meanOf(sum: tf.Tensor, divisor: number): Float32Array {
  const mean = tf.div(sum, divisor);
  const numbers = numbersOf(mean);
  mean.dispose();
  return numbers;
}

function flagsOf({ flags }: SweepInput["scores"]): Required<FlagSums> {
  if (!flags?.saturation || !flags.cancellation) {
    throw new Error("flagsOf: expected sums for both flags, got none");
  }
  return { saturation: flags.saturation, cancellation: flags.cancellation };
}

/** Values of one stream [1, ...]. */
function numbersOf(tensor: tf.Tensor): Float32Array {
  return tensor.dataSync() as Float32Array;
}
