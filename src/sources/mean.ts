/**
 * @file Mean ablation: every patched activation becomes its mean over the source prompts of many pairs; at the same position
 * where all prompts, averaged and patched, have one length, otherwise over all positions of all prompts.
 */

import * as tf from "@tensorflow/tfjs-core";
import {
  bytesOfContext,
  bytesOfStream,
  DEFAULT_ACTIVATION_BUDGET_BYTES,
  restingBudget,
} from "../activation-budget.js";
import { InputError } from "../errors.js";
import { type BlockContext, disposeBlockContext, type Edit, makeBlockContext } from "../model/block.js";
import { StreamRun } from "../model/climb.js";
import type { ModelConfig } from "../model/config.js";
import type { Model } from "../model/model.js";
import { isPerHead, type Site } from "../model/sites.js";
import { batchPairs, type PairBatch } from "../prompts/buckets.js";
import type { Direction } from "../prompts/direction.js";
import { embedRun } from "../prompts/embed-run.js";
import type { Pair } from "../prompts/pair.js";
import { nextBatch, type RunControl, StageProgress } from "../run-control.js";
import { runWave, type WaveControl, wavesWithin } from "../wave.js";
import type { ActivationSource } from "./source.js";

export interface MeanOptions extends RunControl {
  /** Which prompt of each pair is averaged: the corrupted one when noising, the clean one when denoising. */
  readonly direction: Direction;
  /** The sites that will be asked for. */
  readonly sites: readonly Site[];
  readonly batchSize: number;
  /** The pairs that will be patched, if they are others than those that are averaged. */
  readonly studied?: readonly Pair[];
}

/**
 * The mean activations of a model over the source prompts of pairs: those under study, or others.
 *
 * Cost: one forward pass of each prompt. Holds one value of each site per layer (times T where positions are kept apart).
 * @throws InputError for no pairs
 */
export async function meanSource(
  model: Model,
  pairs: readonly Pair[],
  { direction, sites, batchSize, studied = pairs, ...control }: MeanOptions,
): Promise<ActivationSource> {
  if (pairs.length === 0) throw new InputError("meanSource: expected at least one pair, got none");
  const lengths = new Set([...pairs, ...studied].map((pair) => pair.clean.length));
  const perPosition = lengths.size === 1;
  const sums = new Map<string, tf.Tensor>();
  const edit: Edit = (point, layer, value) => {
    if (point !== "pattern" && sites.includes(point))
      addTo(sums, keyOf(point, layer), summed(point, value, perPosition));
    return value;
  };
  let rows = 0;
  const progress = new StageProgress(control, "mean", pairs.length);
  try {
    for (const wave of wavesOfBatches(model.config, pairs, batchSize)) {
      await nextBatch(control.signal);
      await runBatches(model, wave, direction, edit, {
        to: model.config.layers,
        signal: control.signal,
        onShare: progress.share(wave.reduce((sum, batch) => sum + batch.pairs.length, 0)),
      });
      rows += wave.reduce((sum, batch) => sum + batch.pairs.length * (perPosition ? 1 : batch.length), 0);
    }
  } catch (error) {
    tf.dispose([...sums.values()]);
    throw error;
  }
  const means = new Map([...sums].map(([key, sum]) => [key, tf.div(sum, rows)]));
  tf.dispose([...sums.values()]);
  const [length = 0] = lengths;
  return {
    description: `mean over ${pairs.length} prompts, ${perPosition ? "position by position" : "over all positions"}`,
    valuesAt(site, layer, like) {
      const mean = means.get(keyOf(site, layer));
      const T = like.shape[positionAxis(site)];
      if (!mean || (perPosition && T !== length)) {
        throw new InputError(
          `meanSource: expected a site among ${sites.join(", ")} and prompts of ${perPosition ? length : "any number of"} tokens, got ${site} and ${T} tokens`,
        );
      }
      return tf.tidy(() => tf.add(tf.zerosLike(like), mean));
    },
    dispose: () => tf.dispose([...means.values()]),
  };
}

/** Batches that go up through the layers side by side. */
export function wavesOfBatches(
  config: ModelConfig,
  pairs: readonly Pair[],
  batchSize: number,
): Iterable<readonly PairBatch[]> {
  return wavesWithin(
    batchPairs(pairs, batchSize),
    restingBudget(DEFAULT_ACTIVATION_BUDGET_BYTES),
    ({ pairs: batch, length: T }) => bytesOfStream(config, batch.length * T) + bytesOfContext(config, T, T),
  );
}

/** Runs the source prompts of a wave of batches. */
async function runBatches(
  model: Model,
  wave: readonly PairBatch[],
  direction: Direction,
  edit: Edit,
  control: WaveControl<StreamRun>,
): Promise<void> {
  const contexts: BlockContext[] = [];
  const runs: StreamRun[] = [];
  try {
    for (const { pairs, length: T } of wave) {
      const context = makeBlockContext(model.config, T);
      contexts.push(context);
      const embedded = await embedRun(model, pairs, direction, "source");
      runs.push(new StreamRun(context, embedded, { editOf: () => edit }));
    }
    await runWave(model.weights, runs, control);
  } finally {
    for (const run of runs) run.dispose();
    for (const context of contexts) disposeBlockContext(context);
  }
}

function keyOf(site: Site, layer: number): string {
  return `${layer}.${site}`;
}

function positionAxis(site: Site): number {
  return isPerHead(site) ? 2 : 1;
}

/** Sum over prompts, and over positions unless they are kept apart; [1, …] in the site's order of axes. */
function summed(site: Site, value: tf.Tensor, perPosition: boolean): tf.Tensor {
  return tf.sum(value, perPosition ? [0] : [0, positionAxis(site)], true);
}

/** Adds to a running sum, which is kept across the tidies of the run. */
function addTo(sums: Map<string, tf.Tensor>, key: string, part: tf.Tensor): void {
  const before = sums.get(key);
  sums.set(key, tf.keep(before ? tf.add(before, part) : tf.clone(part)));
  before?.dispose();
}
