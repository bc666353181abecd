/** @file From a folder or hub id to a model that is ready to run, in one step or in two. */

import type { ModelConfig } from "../model/config.js";
import type { Model, Tokenizer } from "../model/model.js";
import { type Checkpoint, openCheckpoint } from "./checkpoint.js";
import { type ResolveCheckpointOptions, resolveCheckpoint } from "./hub.js";
import { type LoadWeightsOptions, loadWeights } from "./provider.js";
import { loadTokenizer } from "./tokenizer.js";

export interface LoadModelOptions extends LoadWeightsOptions {
  /** Revision, progress and cancelling of a download; of no effect for a folder. */
  readonly hub?: ResolveCheckpointOptions;
}

/** A model whose config, headers and tokenizer are checked, and whose weights are still on disk. */
export interface OpenedModel {
  /** As the caller wrote it. */
  readonly name: string;
  readonly folder: string;
  readonly config: ModelConfig;
  readonly tokenizer?: Tokenizer;
  readonly checkpoint: Checkpoint;
  /** Reads the weights into the engine, which must have been started. */
  load(options?: LoadWeightsOptions): Promise<Model>;
  /** Closes the files. Loaded models do not need them. */
  close(): Promise<void>;
}

/**
 * Finds or downloads a checkpoint and checks all of it that can be checked without reading weights. Prompt pairs can be
 * read against the result before anything takes long.
 *
 * @param folderOrHubId a folder with config.json and safetensors, or a model's name on the Hugging Face hub
 * @throws InputError when the checkpoint is missing, broken or not supported; RunError when a download breaks off
 */
export async function openModel(folderOrHubId: string, hub?: ResolveCheckpointOptions): Promise<OpenedModel> {
  const folder = await resolveCheckpoint(folderOrHubId, hub);
  const checkpoint = await openCheckpoint(folder);
  try {
    const { config } = checkpoint;
    const tokenizer = await loadTokenizer(folder, config.vocabulary);
    const parts = { name: folderOrHubId, config, ...(tokenizer && { tokenizer }) };
    return {
      ...parts,
      folder,
      checkpoint,
      async load(options = {}) {
        const weights = await loadWeights(checkpoint, options);
        return { ...parts, weights, dispose: () => weights.dispose() };
      },
      close: () => checkpoint.close(),
    };
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
}

/**
 * Loads a decoder language model into the memory of the TensorFlow.js engine, which must have been started.
 * @param folderOrHubId a folder with config.json and safetensors, or a model's name on the Hugging Face hub
 * @throws InputError when the checkpoint is missing, broken or not supported, before any weight is read;
 *   RunError when a download or a read breaks off
 */
export async function loadModel(folderOrHubId: string, options: LoadModelOptions = {}): Promise<Model> {
  const opened = await openModel(folderOrHubId, options.hub);
  try {
    return await opened.load(options);
  } finally {
    await opened.close();
  }
}
