/** @file How much memory the activations of one pass may take, and how many tokens that is. */

import { InputError } from "./errors.js";
import type { ModelConfig } from "./model/config.js";

/**
 * What the activations of a pass may take where nothing else is asked for: room for 8 pairs of 64 tokens of a
 * GPT-2-small-sized model twice over, and a quarter of the embedded engine's 4 GiB heap.
 */
export const DEFAULT_ACTIVATION_BUDGET_BYTES = 2 ** 30;

const FLOAT_BYTES = 4;

/**
 * What a run of a sweep takes.
 * @param tokens positions at which it is computed
 * @param T token length of its prompt
 */
export function bytesOfRun(
  { width, heads, kvHeads, headWidth, mlpWidth, gated }: ModelConfig,
  tokens: number,
  T: number,
): number {
  // Per token the residual stream, both norms, queries and head outputs, the activation with its terms, and the pattern;
  // and the keys and values of the whole prompt, as rows and by head.
  const perToken = 10 * width + 6 * heads * headWidth + (gated ? 8 : 6) * mlpWidth + 4 * heads * T;
  return FLOAT_BYTES * (tokens * perToken + T * 4 * kvHeads * headWidth);
}

/**
 * How many tokens of patched runs go through a block together: as many as fit, at least one.
 * @param T the most keys that a token looks at
 * @throws InputError for a budget that is not a positive number
 */
export function tokensWithin(
  budgetBytes: number,
  { width, heads, headWidth, mlpWidth, gated }: ModelConfig,
  T: number,
): number {
  if (!(budgetBytes > 0)) {
    throw new InputError(`tokensWithin: expected a positive activationBudgetBytes, got ${budgetBytes}`);
  }
  // Live at the worst moment of a block: the residual stream, both norms, queries, keys and values with those of the
  // positions before, the pattern and its scores, and the activation with its terms.
  const floats = 10 * width + 8 * heads * headWidth + 4 * heads * T + (gated ? 8 : 6) * mlpWidth;
  return Math.max(1, Math.floor(budgetBytes / (FLOAT_BYTES * floats)));
}
