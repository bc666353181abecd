/**
 * @file Where the values that are patched in come from, when it is not the source prompt of the pair itself: zeros, or a
 * mean over many prompts (ablations, in other words), or a run on noised embeddings. Estimates and exact effects take them
 * alike.
 */

import type * as tf from "@tensorflow/tfjs-core";
import type { Site } from "../model/sites.js";
import type { NoiseSource } from "./noise.js";

/** What can be patched in, or run, in place of the pairs' other prompts. */
export type PatchSource = ActivationSource | NoiseSource;

export interface ActivationSource {
  /** What the values are, for summaries: "zero", "mean over 64 prompts of ioi.jsonl". */
  readonly description: string;
  /**
   * Values at a site of a layer for B prompts of T tokens, in the site's shape; owned by the caller.
   * @param like a value of the site, whose shape is taken
   * @throws InputError if there are no values for such a site
   */
  valuesAt(site: Site, layer: number, like: tf.Tensor): tf.Tensor;
  /** Frees what the source holds. */
  dispose(): void;
}
