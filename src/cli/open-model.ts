/** @file A model opened for a command: its config and tokenizer at once, its weights when they are asked for. */

import { type Checkpoint, openCheckpoint } from "../checkpoint/checkpoint.js";
import { resolveCheckpoint } from "../checkpoint/hub.js";
import { loadWeights } from "../checkpoint/provider.js";
import { loadTokenizer } from "../checkpoint/tokenizer.js";
import type { Model, Tokenizer } from "../model/model.js";
import { type CliContext, printNote } from "./context.js";
import type { ProgressDisplay } from "./progress.js";

export interface OpenedModel {
  /** As the user wrote it. */
  readonly name: string;
  readonly folder: string;
  readonly checkpoint: Checkpoint;
  readonly tokenizer?: Tokenizer;
}

/** Finds or downloads a checkpoint and reads its config, headers and tokenizer. The caller closes `checkpoint`. */
export async function openModel(
  name: string,
  { signal }: CliContext,
  progress: ProgressDisplay,
): Promise<OpenedModel> {
  const folder = await resolveCheckpoint(name, {
    signal,
    onProgress: progress.download,
    onNotice: printNote,
  });
  progress.finish();
  const checkpoint = await openCheckpoint(folder);
  try {
    const tokenizer = await loadTokenizer(folder, checkpoint.config.vocabulary);
    return { name, folder, checkpoint, ...(tokenizer && { tokenizer }) };
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
}

/** Reads the weights into the engine, which must have been started. */
export async function loadOpened(
  { name, checkpoint, tokenizer }: OpenedModel,
  { signal }: CliContext,
  progress: ProgressDisplay,
): Promise<Model> {
  const weights = await loadWeights(checkpoint, {
    onProgress: (done, total) => {
      progress.stage({ stage: "load", done, total });
      signal.throwIfAborted();
    },
  });
  return {
    name,
    config: checkpoint.config,
    weights,
    ...(tokenizer && { tokenizer }),
    dispose: () => weights.dispose(),
  };
}
