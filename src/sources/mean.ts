/**
 * @file Mean ablation: every patched activation becomes its mean over the source prompts of many pairs; at the same position
 * where all prompts, averaged and patched, have one length, otherwise over all positions of all prompts.
 */

import * as tf from "@tensorflow/tfjs-core";
import { InputError } from "../errors.js";
import { disposeBlockContext, makeBlockContext } from "../model/block.js";
import type { Model } from "../model/model.js";
import { isPerHead, type Site } from "../model/sites.js";
import { runBlocks } from "../model/transformer.js";
import { batchPairs } from "../prompts/buckets.js";
import type { Direction } from "../prompts/direction.js";
import { embedRun } from "../prompts/embed-run.js";
import type { Pair } from "../prompts/pair.js";
import { nextBatch, type RunControl } from "../run-control.js";
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
  { direction, sites, batchSize, studied = pairs, onProgress, signal }: MeanOptions,
): Promise<ActivationSource> {
  if (pairs.length === 0) throw new InputError("meanSource: expected at least one pair, got none");
  const lengths = new Set([...pairs, ...studied].map((pair) => pair.clean.length));
  const perPosition = lengths.size === 1;
  const sums = new Map<string, tf.Tensor>();
  let done = 0;
  let rows = 0;
  for (const { pairs: batch, length: T } of batchPairs(pairs, batchSize)) {
    await nextBatch(signal).catch((error: unknown) => {
      tf.dispose([...sums.values()]);
      throw error;
    });
    const context = makeBlockContext(model.config, T);
    const embedded = await embedRun(model, batch, direction, "source");
    const last = await runBlocks(model, context, embedded, {
      edit(point, layer, value) {
        if (point !== "pattern" && sites.includes(point))
          addTo(sums, keyOf(point, layer), summed(point, value, perPosition));
        return value;
      },
    });
    tf.dispose([embedded, last]);
    disposeBlockContext(context);
    rows += perPosition ? batch.length : batch.length * T;
    done += batch.length;
    onProgress?.({ stage: "mean", done, total: pairs.length });
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
