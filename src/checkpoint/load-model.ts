/** @file From a folder or hub id to a model that is ready to run, in one step or in two. */

import * as tf from "@tensorflow/tfjs-core";
import type { Backend } from "../engine/start-engine.js";
import { InputError } from "../errors.js";
import type { ModelConfig } from "../model/config.js";
import type { Model, Tokenizer } from "../model/model.js";
import type { WeightsProvider } from "../model/weights.js";
import { type Checkpoint, openCheckpoint } from "./checkpoint.js";
import {
  bytesInMemory,
  bytesStreamed,
  packedCopies,
  residentLayersWithin,
  type WeightsFootprint,
  weightsFootprint,
} from "./footprint.js";
import { type ResolveCheckpointOptions, resolveCheckpoint } from "./hub.js";
import { type LoadWeightsOptions, loadWeights } from "./provider.js";
import { type StreamingOptions, streamWeights } from "./streaming.js";

export interface LoadModelOptions extends LoadWeightsOptions {
  /**
   * Revision, progress and cancelling of a download, of no effect for a folder; and what the user is told: that cached files are
   * used, or what was decided where files disagree.
   */
  readonly hub?: ResolveCheckpointOptions;
  /**
   * What the weights may take, in bytes: as float32, with the packed copies that the embedded engine makes of them. Where they
   * take more, as many layers as fit stay in memory and the others are read again whenever they are needed. Left out, all of
   * them stay.
   */
  readonly memoryBudget?: number;
}

export interface LoadOptions extends LoadWeightsOptions {
  /** Reads layers when they are needed instead of all of them at once. Left out, all are in memory. */
  readonly streaming?: StreamingOptions;
}

/** A model whose config, headers and tokenizer are checked, and whose weights are still on disk. */
export interface OpenedModel {
  /** As the caller wrote it. */
  readonly name: string;
  /** Where it is on this machine: a folder with config.json and safetensors, or a GGUF file. */
  readonly folder: string;
  readonly config: ModelConfig;
  readonly tokenizer?: Tokenizer;
  readonly checkpoint: Checkpoint;
  /** Reads the weights into the engine, which must have been started. */
  load(options?: LoadOptions): Promise<Model>;
  /** Closes the files, as soon as no loaded model streams its weights from them. */
  close(): Promise<void>;
}

/**
 * Finds or downloads a checkpoint and checks all of it that can be checked without reading weights. Prompt pairs can be
 * read against the result before anything takes long.
 *
 * @param folderOrHubId a folder with config.json and safetensors, a GGUF file, or a model's name on the Hugging Face hub
 * @param hub `onNotice` is also told where the files decide otherwise than the config, or hold something that is not used
 * @throws InputError when the checkpoint is missing, broken or not supported; RunError when a download breaks off
 */
export async function openModel(folderOrHubId: string, hub?: ResolveCheckpointOptions): Promise<OpenedModel> {
  const folder = await resolveCheckpoint(folderOrHubId, hub);
  const checkpoint = await openCheckpoint(folder);
  try {
    const { config, notices } = checkpoint;
    for (const notice of notices) hub?.onNotice?.(notice);
    const tokenizer = await checkpoint.readTokenizer(hub?.onNotice);
    const parts = { name: folderOrHubId, config, ...(tokenizer && { tokenizer }) };
    const files = new Shared(() => checkpoint.close());
    const closed = files.use();
    const reading = new Shared(async () => tokenizer?.close?.());
    const unread = reading.use();
    return {
      ...parts,
      folder,
      checkpoint,
      async load(options = {}) {
        const weights = options.streaming
          ? await streamed(checkpoint, options.streaming, files)
          : await loadWeights(checkpoint, options);
        const done = reading.use();
        return {
          ...parts,
          weights,
          dispose() {
            weights.dispose();
            void done();
          },
        };
      },
      async close() {
        await Promise.all([closed(), unread()]);
      },
    };
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
}

/** Closes something when all who use it are done. */
class Shared {
  #users = 0;

  constructor(private readonly close: () => Promise<void>) {}

  /** Returns what the user calls when it is done; calling it again does nothing. */
  use(): () => Promise<void> {
    this.#users++;
    let using = true;
    return async () => {
      if (!using) return;
      using = false;
      this.#users--;
      if (this.#users === 0) await this.close();
    };
  }
}

async function streamed(
  checkpoint: Checkpoint,
  streaming: StreamingOptions,
  files: Shared,
): Promise<WeightsProvider> {
  const done = files.use();
  try {
    return await streamWeights(checkpoint, streaming, done);
  } catch (error) {
    await done();
    throw error;
  }
}

/**
 * Loads a decoder language model into the memory of the TensorFlow.js engine, which must have been started.
 * @param folderOrHubId a folder with config.json and safetensors, a GGUF file, or a model's name on the Hugging Face hub
 * @throws InputError when the checkpoint is missing, broken or not supported, or `memoryBudget` too small for it, before any
 *   weight is read; RunError when a download or a read breaks off
 */
export async function loadModel(folderOrHubId: string, options: LoadModelOptions = {}): Promise<Model> {
  const opened = await openModel(folderOrHubId, options.hub);
  try {
    const { memoryBudget } = options;
    const streaming = memoryBudget === undefined ? {} : streamingWithin(opened.checkpoint, memoryBudget);
    return await opened.load({ ...options, ...streaming });
  } finally {
    await opened.close();
  }
}

/** How to stay within a budget: nothing to do where all weights fit. */
function streamingWithin(checkpoint: Checkpoint, memoryBudget: number): Pick<LoadOptions, "streaming"> {
  const footprint = weightsFootprint(checkpoint);
  const engine = tf.getBackend() === "wasm" ? "wasm" : "tensorflow";
  // Where the budget has no room for the whole unembedding, metrics that read a few rows of it can still be used.
  const residentLayers =
    residentLayersWithin(footprint, memoryBudget, { engine }) ??
    (memoryBudget >= bytesStreamed(footprint, 0, { engine, wholeUnembedding: false }) ? 0 : undefined);
  if (residentLayers === undefined) throw budgetTooSmall(footprint, memoryBudget, engine);
  return residentLayers === footprint.layers ? {} : { streaming: { residentLayers } };
}

function budgetTooSmall(footprint: WeightsFootprint, memoryBudget: number, engine: Backend): InputError {
  const { layerBytes, smallBytes } = footprint;
  const all = bytesInMemory(footprint, { engine });
  const streamed = bytesStreamed(footprint, 0, { engine, wholeUnembedding: false });
  const packed = packedCopies(footprint, { engine }).layerBytes;
  const ofPacked = packed === 0 ? "" : `, ${packed} for the engine's packed copy of the one in use`;
  return new InputError(
    all <= streamed
      ? `loadModel: expected memoryBudget of at least ${all} bytes (all weights at once), got ${memoryBudget}`
      : `loadModel: expected memoryBudget of at least ${streamed} bytes (two layers of ${layerBytes}, one in use and one ` +
          `being read${ofPacked}, and ${smallBytes} for the final norm and positions), got ${memoryBudget}`,
  );
}
