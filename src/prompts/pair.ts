/**
 * @file A prompt pair: one clean prompt, one corrupted prompt of as many tokens, answer and wrong-answer tokens.
 * Everything about a pair that can be wrong is found here, before any model runs.
 */

import { InputError } from "../errors.js";
import { compareTokens, describeTokens } from "./describe-tokens.js";
import type { EmbeddingNoise } from "./embedding-noise.js";
import { checkPairInput, type PairInput } from "./pair-input.js";
import { resolveMetricPosition, resolveRoles } from "./pair-positions.js";
import { answerTokens, type PairContext, promptTokens } from "./pair-tokens.js";

/** A checked pair. Positions count from 0; T is the length of either prompt. */
export interface Pair {
  readonly name?: string;
  /** [T] token ids */
  readonly clean: readonly number[];
  /** [T] token ids; the array `clean` where the pair has no corrupted prompt. */
  readonly corrupted: readonly number[];
  /** Token ids, each once; may be empty where the metric needs none. */
  readonly answers: readonly number[];
  /** Token ids, each once, none of them in `answers`; may be empty where the metric needs none. */
  readonly wrong: readonly number[];
  /** Role name -> position in 0 … T−1. */
  readonly roles: ReadonlyMap<string, number>;
  /** Where the metric reads its logits, in 0 … T−1. */
  readonly metricPosition: number;
  /** Where the pair comes from (`ioi.jsonl:3`), for error texts. */
  readonly origin: string;
  /** Added to the embeddings of the corrupted prompt, which then is the clean one; absent for a prompt as it is. */
  readonly noise?: EmbeddingNoise;
}

/** Whether the two runs of a pair begin with different embeddings at a position. */
export function differsAt(
  { clean, corrupted, noise }: Pick<Pair, "clean" | "corrupted" | "noise">,
  position: number,
): boolean {
  return clean[position] !== corrupted[position] || (noise?.positions.includes(position) ?? false);
}

/** The first position at which they do; T if there is none. */
export function firstDifference(pair: Pick<Pair, "clean" | "corrupted" | "noise">): number {
  const first = pair.clean.findIndex((_, position) => differsAt(pair, position));
  return first < 0 ? pair.clean.length : first;
}

/** Which token sets a metric, and which prompts a run, cannot do without. */
export interface PairNeeds {
  readonly answers: boolean;
  readonly wrong: boolean;
  /** Default true; false for runs with noise on the clean prompt. */
  readonly corrupted?: boolean;
}

/**
 * Checks and resolves one pair built in code.
 *
 * @param needs what the metric and the run need
 * @param origin how error texts name the pair
 * @throws InputError for a field that is missing, unknown or of the wrong type; text the tokenizer does not know or text
 *   without a tokenizer; prompts that are empty, too long, of different lengths, or that do not differ up to where the
 *   metric is read; answers that are not one token, duplicate, or both right and wrong; a position outside the prompt
 */
export function makePair(input: PairInput, context: PairContext, needs: PairNeeds, origin: string): Pair {
  try {
    return resolvePair(input, context, needs, origin);
  } catch (error) {
    if (error instanceof InputError) throw new InputError(`makePair: ${origin}: ${error.message}`);
    throw error;
  }
}

/**
 * `makePair` for input of unchecked shape, with error texts that begin at the field: whoever reads several pairs adds
 * where each one stands.
 */
export function resolvePair(input: unknown, context: PairContext, needs: PairNeeds, origin: string): Pair {
  return resolveWritten(checkPairInput(input, needs.corrupted ?? true), context, needs, origin);
}

/** `resolvePair` for input whose shape is checked. */
export function resolveWritten(
  written: PairInput,
  context: PairContext,
  needs: PairNeeds,
  origin: string,
): Pair {
  const clean = promptTokens(written.clean, "clean", context);
  const corrupted =
    written.corrupted === undefined ? clean : promptTokens(written.corrupted, "corrupted", context);
  checkSameLength(clean, corrupted, context);
  const answers = answerTokens(written.answers ?? [], "answers", context);
  const wrong = answerTokens(written.wrong ?? [], "wrong", context);
  checkDisjoint(answers, wrong, context);
  checkNeeds(answers, wrong, needs);
  const roles = resolveRoles(written.roles ?? {}, clean.length);
  const metricPosition = resolveMetricPosition(written.position, roles, clean.length);
  if (written.corrupted !== undefined) checkDifferent(clean, corrupted, metricPosition);
  const { name } = written;
  return {
    ...(name !== undefined && { name }),
    clean,
    corrupted,
    answers,
    wrong,
    roles,
    metricPosition,
    origin,
  };
}

function checkSameLength(clean: readonly number[], corrupted: readonly number[], context: PairContext): void {
  if (clean.length === corrupted.length) return;
  const table = compareTokens(clean, corrupted, context.tokenizer).replaceAll(/^/gm, "    ");
  throw new InputError(
    `clean and corrupted: expected as many tokens in both, got ${clean.length} and ${corrupted.length}; they differ in the rows marked ">":\n${table}`,
  );
}

/** A prediction sees nothing behind it, so prompts that differ only there give the same metric whatever is patched. */
function checkDifferent(
  clean: readonly number[],
  corrupted: readonly number[],
  metricPosition: number,
): void {
  const first = clean.findIndex((id, position) => id !== corrupted[position]);
  if (first < 0) {
    throw new InputError(
      "clean and corrupted: expected different prompts, got the same tokens twice: there is nothing to patch",
    );
  }
  if (first > metricPosition) {
    throw new InputError(
      `position: expected a position from ${first} on, where the prompts first differ, got ${metricPosition}: there is nothing to patch before it`,
    );
  }
}

function checkDisjoint(answers: readonly number[], wrong: readonly number[], context: PairContext): void {
  const both = answers.filter((id) => wrong.includes(id));
  if (both.length > 0) {
    const shown = describeTokens(both, context.tokenizer);
    throw new InputError(`answers and wrong: expected different tokens, got ${shown} in both`);
  }
}

function checkNeeds(answers: readonly number[], wrong: readonly number[], needs: PairNeeds): void {
  const missing = [
    ...(needs.answers && answers.length === 0 ? ["answers"] : []),
    ...(needs.wrong && wrong.length === 0 ? ["wrong"] : []),
  ];
  if (missing.length > 0) {
    const fields = missing.map((field) => `\`${field}\``).join(" and ");
    throw new InputError(`${missing.join(" and ")}: this metric needs ${fields}, got no tokens`);
  }
}
