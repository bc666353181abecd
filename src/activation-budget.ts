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
 * What the chunks of a wave may take while they rest between two blocks, as a part of what the one that runs may take. A
 * chunk at rest is a thirtieth to a fiftieth of one in a block, so that a wave of a quarter is some ten chunks and the
 * weights of a model on disk are read ten times less often. Reading then takes less time than computing; more would take
 * memory, and the wasm heap never shrinks.
 */
const RESTING_SHARE = 1 / 4;

/** What the chunks of a wave may take while they rest, in bytes. */
export function restingBudget(activationBudgetBytes: number): number {
  return RESTING_SHARE * activationBudgetBytes;
}

/** What the residual stream takes at so many tokens. */
export function bytesOfStream({ width }: ModelConfig, tokens: number): number {
  return FLOAT_BYTES * tokens * width;
}

/**
 * What mask and rotary tables take.
 * @param positions that runs cover
 * @param keys positions that they look at
 */
export function bytesOfContext({ headWidth }: ModelConfig, positions: number, keys: number): number {
  return FLOAT_BYTES * positions * (keys + 2 * headWidth);
}

/** @throws InputError for a budget that is not a positive number */
export function checkBudget(budgetBytes: number): void {
  if (budgetBytes > 0) return;
  throw new InputError(`checkBudget: expected a positive activationBudgetBytes, got ${budgetBytes}`);
}

/**
 * What a run of a sweep takes outside of its attention.
 * @param tokens positions at which it is computed
 */
export function bytesOfRun(
  { width, heads, headWidth, mlpWidth, gated }: ModelConfig,
  tokens: number,
): number {
  // The residual stream, both norms, queries and head outputs, and the activation with its terms.
  return FLOAT_BYTES * tokens * (10 * width + 4 * heads * headWidth + (gated ? 8 : 6) * mlpWidth);
}

/**
 * What the attention of each run takes beside others: all of them ask at the positions at which one does.
 * @param positions from the first to the last of any run
 * @param keys positions that are looked at
 */
export function bytesOfAttention(
  { heads, kvHeads, headWidth }: ModelConfig,
  positions: number,
  keys: number,
): number {
  // Scores, masked scores and pattern; queries and head outputs; keys and values, as rows and by head.
  const floats =
    3 * positions * heads * keys + 4 * positions * heads * headWidth + 4 * keys * kvHeads * headWidth;
  return FLOAT_BYTES * floats;
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
  checkBudget(budgetBytes);
  // Live at the worst moment of a block: the residual stream, both norms, queries, keys and values with those of the
  // positions before, the pattern and its scores, and the activation with its terms.
  const floats = 10 * width + 8 * heads * headWidth + 4 * heads * T + (gated ? 8 : 6) * mlpWidth;
  return Math.max(1, Math.floor(budgetBytes / (FLOAT_BYTES * floats)));
}
