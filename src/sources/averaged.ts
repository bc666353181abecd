/**
 * @file Which prompts a mean is taken over: for a pair those that have as many tokens as its own, position by position. So it says
 * the same of a pair whatever prompts of other lengths are in the file, and a token that all prompts share has no effect. The
 * convention is that of mean ablation in Wang et al. 2022 (arXiv 2211.00593), over prompts of one template.
 */

import { InputError } from "../errors.js";
import type { Pair } from "../prompts/pair.js";

/** Prompts of one length. */
export interface AveragedLength {
  readonly tokens: number;
  readonly prompts: number;
}

/** What is averaged. */
export interface AveragedPrompts {
  /** The pairs whose source prompts are averaged, in their order: those of a length that is studied. */
  readonly pairs: readonly Pair[];
  /** By increasing length. */
  readonly lengths: readonly AveragedLength[];
}

/**
 * The prompts that are averaged for the pairs under study; others are not run.
 * @throws InputError for no pairs, or a studied pair of a length that no averaged prompt has
 */
export function averagedPrompts(averaged: readonly Pair[], studied: readonly Pair[]): AveragedPrompts {
  if (averaged.length === 0) throw new InputError("meanSource: expected at least one pair, got none");
  const counts = new Map<number, number>();
  for (const { clean } of averaged) counts.set(clean.length, (counts.get(clean.length) ?? 0) + 1);
  const lacking = studied.find(({ clean }) => !counts.has(clean.length));
  if (lacking) {
    throw new InputError(
      `meanSource: expected a prompt of ${lacking.clean.length} tokens to average over, as many as ${lacking.origin} has, got none among ${averaged.length}: means are taken position by position, over prompts of one length`,
    );
  }
  const wanted = new Set(studied.map(({ clean }) => clean.length));
  return {
    pairs: averaged.filter(({ clean }) => wanted.has(clean.length)),
    lengths: [...counts]
      .filter(([tokens]) => wanted.has(tokens))
      .map(([tokens, prompts]) => ({ tokens, prompts }))
      .sort((a, b) => a.tokens - b.tokens),
  };
}

/** More lengths are summed up. */
const NAMED_LENGTHS = 4;

/** For people: "mean over 40 prompts of 15 tokens and 1 of 18, position by position". */
export function describeAveraged(lengths: readonly AveragedLength[]): string {
  const prompts = (count: number) => `${count} ${count === 1 ? "prompt" : "prompts"}`;
  return `mean over ${overWhat()}, position by position`;

  function overWhat(): string {
    if (lengths.length <= NAMED_LENGTHS) {
      const parts = lengths.map(
        ({ tokens, prompts: count }, at) => `${at === 0 ? prompts(count) : count} of ${tokens} tokens`,
      );
      return parts.length > 1 ? `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}` : parts.join();
    }
    const counts = lengths.map(({ prompts: count }) => count);
    const total = counts.reduce((sum, count) => sum + count, 0);
    return `${prompts(total)} of ${lengths.length} lengths, ${Math.min(...counts)} to ${Math.max(...counts)} of each`;
  }
}

/** What a user should know before it is run: what is averaged, and lengths that one prompt alone has. */
export function notesOn({ lengths }: Pick<AveragedPrompts, "lengths">): string[] {
  const lone = lengths.filter(({ prompts }) => prompts === 1).map(({ tokens }) => tokens);
  const named = lone.slice(0, NAMED_LENGTHS).join(", ");
  const more = lone.length > NAMED_LENGTHS ? `, … (${lone.length} lengths)` : "";
  return [
    `source: ${describeAveraged(lengths)}`,
    ...(lone.length === 0
      ? []
      : [
          `warning: only 1 prompt of ${named}${more} tokens is averaged: for pairs of that length the mean is this prompt itself`,
        ]),
  ];
}
