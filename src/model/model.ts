/** @file A loaded model: its config, its weights, and how its text is tokenized. */

import type { ModelConfig } from "./config.js";
import type { WeightsProvider } from "./weights.js";

/** Text to token ids and back, as the checkpoint's tokenizer.json says. */
export interface Tokenizer {
  /**
   * Token ids of a text.
   * @param special whether the post-processor's special tokens (such as a leading <bos>) are added. Special tokens
   *   written out in the text are recognized either way.
   */
  encode(text: string, special: boolean): number[];
  /** The token's own text, for showing to people: " Paul", "<|endoftext|>". */
  tokenText(id: number): string;
  /** Highest id + 1, added tokens included. It may be more than the model has embeddings for. */
  readonly size: number;
  /** Ids that `encode` with `special` puts before a text. */
  readonly before: readonly number[];
  /** Ids that it puts behind it. */
  readonly after: readonly number[];
  /** The id that stands for text the tokenizer does not know, if it has one. */
  readonly unknownId?: number;
  /** Ends the thread that `encode` runs in, where it has one; no text can be encoded afterwards. */
  close?(): void;
}

export interface Model {
  /** The folder, file or hub id it was loaded from, as the caller wrote it. */
  readonly name: string;
  readonly config: ModelConfig;
  readonly weights: WeightsProvider;
  /** Absent when the checkpoint has no tokenizer.json: prompts are then token ids. */
  readonly tokenizer?: Tokenizer;
  /** Frees all weights. Texts cannot be tokenized afterwards where the tokenizer runs in a thread of its own. */
  dispose(): void;
}
