/**
 * @file Mean ablation: every patched activation becomes its mean over the source prompts of many pairs, position by position, over
 * those prompts that have as many tokens as the pair that is patched.
 */

import * as tf from "@tensorflow/tfjs-core";
import {
  bytesOfContext,
  bytesOfStream,
  DEFAULT_ACTIVATION_BUDGET_BYTES,
  restingBudget,
} from "../activation-budget.js";
import { InputError, RunError } from "../errors.js";
import { type BlockContext, disposeBlockContext, type Edit, makeBlockContext } from "../model/block.js";
import { StreamRun } from "../model/climb.js";
import type { ModelConfig } from "../model/config.js";
import { FINAL_NORM, isAllFinite } from "../model/first-non-finite.js";
import type { Model } from "../model/model.js";
import { isPerHead, type Site } from "../model/sites.js";
import { batchPairs, type PairBatch } from "../prompts/buckets.js";
import type { Direction } from "../prompts/direction.js";
import { embedRun } from "../prompts/embed-run.js";
import { beginsAt, firstOfRun } from "../prompts/not-finite.js";
import type { Pair } from "../prompts/pair.js";
import { nextBatch, type RunControl, StageProgress } from "../run-control.js";
import { runWave, type WaveControl, wavesWithin } from "../wave.js";
import { averagedPrompts, describeAveraged } from "./averaged.js";
import type { ActivationSource } from "./source.js";

export interface MeanOptions extends RunControl {
  /** Which prompt of each pair is averaged: the corrupted one when noising, the clean one when denoising. */
  readonly direction: Direction;
  /** The sites that will be asked for. */
  readonly sites: readonly Site[];
  readonly batchSize: number;
  /** The pairs that will be patched, if they are others than those that are averaged: only prompts of their lengths are run. */
  readonly studied?: readonly Pair[];
}

/**
 * The mean activations of a model over the source prompts of pairs: those under study, or others.
 *
 * Cost: one forward pass of each prompt of a length that is studied. Holds one value of each site per layer and position, for each
 * of these lengths.
 * @throws InputError for no pairs, or a studied pair of a length that none of them has
 * @throws RunError for a mean that is not finite, naming the prompt, and layer and site where that begins
 */
export async function meanSource(
  model: Model,
  pairs: readonly Pair[],
  { direction, sites, batchSize, studied = pairs, ...control }: MeanOptions,
): Promise<ActivationSource> {
  const averaged = averagedPrompts(pairs, studied);
  const sums = new Map<string, tf.Tensor>();
  const edit: Edit = (point, layer, value) => {
    if (point !== "pattern" && sites.includes(point)) {
      const T = value.shape[positionAxis(point)];
      addTo(sums, keyOf(point, layer, T), tf.sum(value, [0], true));
    }
    return value;
  };
  const progress = new StageProgress(control, "mean", averaged.pairs.length);
  try {
    for (const wave of wavesOfBatches(model.config, averaged.pairs, batchSize)) {
      await nextBatch(control.signal);
      await runBatches(model, wave, direction, edit, {
        to: model.config.layers,
        signal: control.signal,
        onShare: progress.share(wave.reduce((sum, batch) => sum + batch.pairs.length, 0)),
      });
    }
    if (![...sums.values()].every(isAllFinite)) await refuse(model, averaged.pairs, direction);
  } catch (error) {
    tf.dispose([...sums.values()]);
    throw error;
  }
  const means = new Map<string, tf.Tensor>();
  for (const { tokens, prompts } of averaged.lengths) {
    for (const site of sites) {
      for (let layer = 0; layer < model.config.layers; layer++) {
        const key = keyOf(site, layer, tokens);
        const sum = sums.get(key);
        if (sum) means.set(key, tf.div(sum, prompts));
        sum?.dispose();
      }
    }
  }
  return {
    description: describeAveraged(averaged.lengths),
    valuesAt(site, layer, like) {
      const T = like.shape[positionAxis(site)];
      const mean = means.get(keyOf(site, layer, T));
      if (!mean) {
        const lengths = averaged.lengths.map(({ tokens }) => tokens).join(", ");
        throw new InputError(
          `meanSource: expected a site among ${sites.join(", ")} and prompts of ${lengths} tokens, got ${site} and ${T} tokens`,
        );
      }
      return tf.tidy(() => tf.add(tf.zerosLike(like), mean));
    },
    dispose: () => tf.dispose([...means.values()]),
  };
}

/** Looks for the prompt whose activations are not finite. */
async function refuse(model: Model, pairs: readonly Pair[], direction: Direction): Promise<never> {
  for (const pair of pairs) {
    const first = await firstOfRun(model, pair, direction, "source");
    if (!first || first.place === FINAL_NORM) continue;
    throw new RunError(
      `meanSource: expected finite activations of every prompt that is averaged, got others of ${pair.origin}: ${beginsAt(first)}`,
    );
  }
  throw new RunError(
    "meanSource: expected means that are finite, got sums of finite activations that overflow float32",
  );
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

function keyOf(site: Site, layer: number, tokens: number): string {
  return `${tokens}.${layer}.${site}`;
}

function positionAxis(site: Site): number {
  return isPerHead(site) ? 2 : 1;
}

/** Adds to a running sum, which is kept across the tidies of the run. */
function addTo(sums: Map<string, tf.Tensor>, key: string, part: tf.Tensor): void {
  const before = sums.get(key);
  sums.set(key, tf.keep(before ? tf.add(before, part) : tf.clone(part)));
  before?.dispose();
}
