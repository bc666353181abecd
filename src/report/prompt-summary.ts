/**
 * @file The prompts of a run as far as a reader of its results needs them: what stands at a position, which positions differ
 * between the two runs, and where the roles are.
 */

import type { Tokenizer } from "../model/model.js";
import { differsAt, type Pair } from "../prompts/pair.js";

/** Of pairs that all have the same number of tokens: elsewhere a position means something else in each pair. */
export interface PromptSummary {
  /** Tokens of either prompt. */
  readonly length: number;
  /** The tokens of the first pair's prompts, as text; as ids where no tokenizer is known. */
  readonly clean: readonly string[];
  readonly corrupted: readonly string[];
  /** Positions at which the runs of at least one pair begin with different embeddings. */
  readonly differing: readonly number[];
  /** The positions of roles in the first pair that names them. */
  readonly roles: Readonly<Record<string, number>>;
  /** The roles at whose positions the runs of at least one pair begin with different embeddings. */
  readonly differingRoles: readonly string[];
}

/**
 * What to say of the prompts; undefined where they are of different lengths.
 * @param pairs at least one
 * @param noised positions of a pair that get noise, where there is noise
 */
export function summarizePrompts(
  pairs: readonly Pair[],
  tokenizer: Tokenizer | undefined,
  noised: (pair: Pair) => readonly number[] = () => [],
): PromptSummary | undefined {
  const [first] = pairs;
  const length = first.clean.length;
  if (pairs.some((pair) => pair.clean.length !== length)) return undefined;
  const differing = new Set<number>();
  const roles = new Map<string, number>();
  const differingRoles = new Set<string>();
  for (const pair of pairs) {
    const withNoise = new Set(noised(pair));
    const differs = (position: number) => withNoise.has(position) || differsAt(pair, position);
    for (let position = 0; position < length; position++) if (differs(position)) differing.add(position);
    for (const [role, position] of pair.roles) {
      if (!roles.has(role)) roles.set(role, position);
      if (differs(position)) differingRoles.add(role);
    }
  }
  // A model's vocabulary may be padded beyond its tokenizer's: such ids have no text.
  const text = (id: number) =>
    tokenizer === undefined || id >= tokenizer.size ? String(id) : tokenizer.tokenText(id);
  return {
    length,
    clean: first.clean.map(text),
    corrupted: first.corrupted.map(text),
    differing: [...differing].sort((a, b) => a - b),
    roles: Object.fromEntries(roles),
    differingRoles: [...differingRoles],
  };
}
