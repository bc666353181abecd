/** @file Where every run of a pair begins: the embeddings of one of its two prompts, with the pair's noise on the corrupted one. */

import type * as tf from "@tensorflow/tfjs-core";
import type { Model } from "../model/model.js";
import { embed } from "../model/transformer.js";
import { basePrompt, type Direction, sourcePrompt } from "./direction.js";
import { addNoise } from "./embedding-noise.js";
import type { Pair } from "./pair.js";

/** The run that is patched into, or the one that activations are taken from. */
export type PairRun = "base" | "source";

/**
 * @param pairs B pairs of one token length
 * @returns residPre of layer 0, [B, T, D], owned by the caller
 */
export async function embedRun(
  model: Model,
  pairs: readonly Pair[],
  direction: Direction,
  run: PairRun,
): Promise<tf.Tensor3D> {
  const promptOf = run === "base" ? basePrompt : sourcePrompt;
  const embedded = await embed(
    model,
    pairs.map((pair) => promptOf(pair, direction)),
  );
  const corruptedRun: PairRun = direction === "noising" ? "source" : "base";
  if (run !== corruptedRun || !pairs.some(({ noise }) => noise)) return embedded;
  const noised = addNoise(embedded, pairs);
  embedded.dispose();
  return noised;
}
