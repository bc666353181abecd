/**
 * @file Token ids of a pair's prompts and answers, from text or from ids, with every way a token can silently be not
 * what its author meant turned into an error: an unknown word, an answer of several tokens, an id of another model.
 */

import { InputError } from "../errors.js";
import type { ModelConfig } from "../model/config.js";
import type { Tokenizer } from "../model/model.js";
import { shown } from "../shown-text.js";
import { describeToken, describeTokens } from "./describe-tokens.js";

/** What a pair is checked against; a `Model` is one. */
export interface PairContext {
  readonly config: Pick<ModelConfig, "vocabulary" | "maxPositions" | "maxPositionsReason">;
  /** Absent: prompts and answers are token ids. */
  readonly tokenizer?: Tokenizer;
}

/**
 * Token ids of a prompt: text is tokenized with the special tokens that tokenizer.json adds, ids are taken as they are.
 *
 * @param field name of the field the prompt stands in, for error texts
 * @throws InputError for unknown words, ids outside the vocabulary, an empty prompt, a prompt longer than the model
 */
export function promptTokens(
  prompt: string | readonly number[],
  field: string,
  context: PairContext,
): readonly number[] {
  const { maxPositions, maxPositionsReason } = context.config;
  const ids = typeof prompt === "string" ? tokenize(prompt, true, field, context) : prompt;
  ids.forEach((id, position) => {
    checkId(id, `${field}[${position}]`, context);
  });
  if (ids.length === 0) throw new InputError(`${field}: expected at least 1 token, got an empty prompt`);
  if (ids.length > maxPositions) {
    throw new InputError(
      `${field}: expected at most ${maxPositions} tokens, got ${ids.length} (${maxPositionsReason})`,
    );
  }
  return ids;
}

/**
 * Token ids of `answers` or `wrong`. A text must be exactly one token when tokenized without added special tokens.
 *
 * @param field name of the field the tokens stand in, for error texts
 * @throws InputError for a text of no or several tokens, an unknown word, an id outside the vocabulary, a duplicate
 */
export function answerTokens(
  tokens: readonly (string | number)[],
  field: string,
  context: PairContext,
): readonly number[] {
  const ids = tokens.map((token, i) => {
    const name = `${field}[${i}]`;
    const id = typeof token === "string" ? singleToken(token, name, context) : token;
    checkId(id, name, context);
    return id;
  });
  ids.forEach((id, i) => {
    const first = ids.indexOf(id);
    if (first < i) {
      const token = describeToken(id, context.tokenizer);
      throw new InputError(
        `${field}: expected each token once, got ${token} at ${field}[${first}] and at ${field}[${i}]`,
      );
    }
  });
  return ids;
}

function singleToken(text: string, field: string, context: PairContext): number {
  const ids = tokenize(text, false, field, context);
  const [id] = ids;
  if (id !== undefined && ids.length === 1) return id;
  const tokens = ids.length === 0 ? "" : `: ${describeTokens(ids, context.tokenizer)}`;
  const hint = context.tokenizer === undefined ? "" : spaceHint(text, context.tokenizer);
  throw new InputError(
    `${field}: expected exactly 1 token, got ${ids.length} for ${shown(text)}${tokens}${hint}`,
  );
}

/** In most vocabularies " Paul" and "Paul" are different token sequences, and only one of them is a single token. */
function spaceHint(text: string, tokenizer: Tokenizer): string {
  const spaced = text.startsWith(" ");
  const other = spaced ? text.trimStart() : ` ${text}`;
  const ids = other.trim() === "" ? [] : tokenizer.encode(other, false);
  if (ids.length !== 1) return "";
  return `; ${shown(other)} ${spaced ? "without" : "with"} a leading space is 1 token`;
}

function tokenize(text: string, special: boolean, field: string, { tokenizer }: PairContext): number[] {
  if (tokenizer === undefined) {
    throw new InputError(
      `${field}: expected token ids, got the text ${shown(text)}, and this model has no tokenizer.json`,
    );
  }
  const unknown = unknownWords(text, tokenizer);
  if (unknown.length > 0) {
    const words = unknown.map((word) => shown(word)).join(", ");
    const standIn = describeTokens([tokenizer.unknownId ?? 0], tokenizer);
    throw new InputError(
      `${field}: expected text the tokenizer knows, got ${words}, which it would read as ${standIn}`,
    );
  }
  return tokenizer.encode(text, special);
}

/**
 * The words of a text that become the unknown token, each once. The unknown token written out on purpose (GPT-2 style
 * tokenizers use `<|endoftext|>` for both) is no such word, so the text is looked at between those.
 */
function unknownWords(text: string, tokenizer: Tokenizer): string[] {
  const { unknownId } = tokenizer;
  if (unknownId === undefined) return [];
  const unknowns = tokenizer.encode(text, false).filter((id) => id === unknownId).length;
  if (unknowns === 0) return [];
  const between = text.split(tokenizer.tokenText(unknownId));
  const words = between
    .flatMap((part) => part.split(/\s+/))
    .filter((word) => word !== "" && tokenizer.encode(word, false).includes(unknownId));
  if (words.length > 0) return [...new Set(words)];
  // No single word is to blame (whitespace itself may be unknown): more unknown tokens than were written out.
  return unknowns > between.length - 1 ? [text] : [];
}

function checkId(id: number, field: string, { config, tokenizer }: PairContext): void {
  if (Number.isInteger(id) && id >= 0 && id < config.vocabulary) return;
  const shown = Number.isInteger(id) && id >= 0 ? describeToken(id, tokenizer) : String(id);
  throw new InputError(
    `${field}: expected a token id of the model's vocabulary, an integer from 0 to ${config.vocabulary - 1}, got ${shown}`,
  );
}
