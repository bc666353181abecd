/** @file From a folder or hub id to a model that is ready to run. */

import type { Model } from "../model/model.js";
import { openCheckpoint } from "./checkpoint.js";
import { type ResolveCheckpointOptions, resolveCheckpoint } from "./hub.js";
import { loadWeights } from "./provider.js";
import { loadTokenizer } from "./tokenizer.js";

export interface LoadModelOptions {
  /** Revision, progress and cancelling of a download; of no effect for a folder. */
  readonly hub?: ResolveCheckpointOptions;
  /** Called with the number of layers that are in memory, after each one. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Loads a decoder language model into the memory of the TensorFlow.js engine, which must have been started.
 * @param folderOrHubId a folder with config.json and safetensors, or a model's name on the Hugging Face hub
 * @throws InputError when the checkpoint is missing, broken or not supported, before any weight is read;
 *   RunError when a download or a read breaks off
 */
export async function loadModel(folderOrHubId: string, options: LoadModelOptions = {}): Promise<Model> {
  const folder = await resolveCheckpoint(folderOrHubId, options.hub);
  const checkpoint = await openCheckpoint(folder);
  try {
    const tokenizer = await loadTokenizer(folder, checkpoint.config.vocabulary);
    const weights = await loadWeights(checkpoint, { onProgress: options.onProgress });
    return {
      name: folderOrHubId,
      config: checkpoint.config,
      weights,
      ...(tokenizer && { tokenizer }),
      dispose: () => weights.dispose(),
    };
  } finally {
    await checkpoint.close();
  }
}
