/**
 * @file Tokens shown to people, in error texts: `" Paul" (123)` where there is a tokenizer, `123` where there is none.
 */

import type { Tokenizer } from "../model/model.js";
import { shown } from "../shown-text.js";

/** One token: its text in quotes (JSON escapes) and its id, or the id alone where no text is known. */
export function describeToken(id: number, tokenizer: Tokenizer | undefined): string {
  // A model's vocabulary may be padded beyond its tokenizer's: such ids have no text.
  if (tokenizer === undefined || id >= tokenizer.size) return String(id);
  return `${shown(tokenizer.tokenText(id))} (${id})`;
}

/** Several tokens on one line, separated by commas. */
export function describeTokens(ids: readonly number[], tokenizer: Tokenizer | undefined): string {
  return ids.map((id) => describeToken(id, tokenizer)).join(", ");
}

/**
 * Two prompts side by side, one token with its position per row. Rows pair up what the prompts begin with in common
 * and what they end with in common, so that the rows between them, marked `>`, are the words of different length.
 *
 * @returns lines joined by newlines, the first one a heading
 */
export function compareTokens(
  clean: readonly number[],
  corrupted: readonly number[],
  tokenizer: Tokenizer | undefined,
): string {
  const shorter = Math.min(clean.length, corrupted.length);
  let prefix = 0;
  while (prefix < shorter && clean[prefix] === corrupted[prefix]) prefix++;
  let suffix = 0;
  while (suffix < shorter - prefix && clean.at(-1 - suffix) === corrupted.at(-1 - suffix)) suffix++;

  const rows = Math.max(clean.length, corrupted.length);
  const left = cells("clean", clean, suffix, rows, tokenizer);
  const right = cells("corrupted", corrupted, suffix, rows, tokenizer);
  const width = Math.max(...left.map((cell) => cell.length));
  return left
    .map((cell, row) => {
      const differs = row > prefix && row <= rows - suffix; // row 0 is the heading
      return `${differs ? ">" : " "} ${cell.padEnd(width)}  ${right[row] ?? ""}`.trimEnd();
    })
    .join("\n");
}

/** A column: heading, tokens with their positions, and the shorter prompt's gap just before the common ending. */
function cells(
  heading: string,
  ids: readonly number[],
  suffix: number,
  rows: number,
  tokenizer: Tokenizer | undefined,
): string[] {
  const digits = String(rows - 1).length;
  const tokens = ids.map((id, at) => `${String(at).padStart(digits)} ${describeToken(id, tokenizer)}`);
  const gap = new Array<string>(rows - ids.length).fill("");
  const split = ids.length - suffix;
  return [heading, ...tokens.slice(0, split), ...gap, ...tokens.slice(split)];
}
