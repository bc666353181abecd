/**
 * @file Tokens of a pair that are what was written and hardly what was meant: a start token too many, a space that is left out or
 * is there twice. None of it is an error, as each of it can be wanted; all of it changes results a great deal.
 */

import type { Tokenizer } from "../model/model.js";
import { describeToken, describeTokens } from "./describe-tokens.js";
import type { Pair } from "./pair.js";
import type { PairInput } from "./pair-input.js";

/** Behind one of these a word begins with a space, in the scripts that have spaces between words. */
const ENDS_WORD = /[\p{L}\p{N}.,;:!?)\]}%…’]$/u;
const BEGINS_WORD = /^[\p{L}\p{N}]/u;
const WITHOUT_SPACES =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u;

/** An answer that is one token as written and another one with a space in front. */
interface Unspaced {
  readonly text: string;
  readonly id: number;
  readonly spacedId: number;
}

/** Doubts about the pairs of one file, each told once. */
export class TokenDoubts {
  /** In the order in which they are told. */
  readonly #found = new Map<string, { count: number; line: number; about: string }>();
  readonly #spacedIds = new Map<string, number | undefined>();
  #pairs = 0;

  constructor(private readonly tokenizer: Tokenizer | undefined) {}

  /** @param line of the pair in its file */
  see(written: PairInput, pair: Pair, line: number): void {
    this.#pairs++;
    const { tokenizer } = this;
    if (tokenizer === undefined) return;
    this.#seeStart(pair, line, tokenizer);
    const end = tokenizer.tokenText(pair.clean[pair.metricPosition]);
    const unspaced = this.#unspaced(written, pair, tokenizer);
    const spaced = [...pair.answers, ...pair.wrong].filter((id) => tokenizer.tokenText(id).startsWith(" "));
    const [first] = unspaced;
    if (end.endsWith(" ")) {
      const [id = first?.spacedId] = spaced;
      if (id !== undefined) {
        this.#add(
          "space twice",
          line,
          `the metric is read behind a space, and ${describeToken(id, tokenizer)} has a space of its own; leave out the one at the end of the prompt`,
        );
      }
    } else if (first !== undefined && spaced[0] !== undefined) {
      this.#add(
        "spelled in two ways",
        line,
        `${describeToken(spaced[0], tokenizer)} is spelled with a space and ${describeToken(first.id, tokenizer)} without, ` +
          `and ${describeToken(first.spacedId, tokenizer)} is one token as well; spell all answers in the same way`,
      );
    } else if (first !== undefined && needsSpace(end, first.text)) {
      this.#add(
        "space left out",
        line,
        `${describeToken(first.id, tokenizer)} follows ${describeToken(pair.clean[pair.metricPosition], tokenizer)} without a space, ` +
          `and ${describeToken(first.spacedId, tokenizer)} is one token as well, which a model is far more likely to mean`,
      );
    }
  }

  /** A sentence for each doubt: how many pairs it is about, and the first of them. */
  notices(file: string): string[] {
    return [...this.#found.values()].map(({ count, line, about }) => {
      const which =
        this.#pairs === 1 ? `line ${line}` : `${count} of ${this.#pairs} pairs, the first in line ${line}`;
      return `warning: ${file}: ${which}: ${about}`;
    });
  }

  #seeStart({ clean, corrupted }: Pair, line: number, tokenizer: Tokenizer): void {
    const { before } = tokenizer;
    const beginsTwice = (ids: readonly number[]) =>
      before.length > 0 && [...before, ...before].every((id, i) => ids[i] === id);
    if (!beginsTwice(clean) && !beginsTwice(corrupted)) return;
    this.#add(
      "start twice",
      line,
      `a prompt begins with ${describeTokens(before, tokenizer)} twice; the tokenizer puts it before every text, so leave it out of the text`,
    );
  }

  #unspaced({ answers = [], wrong = [] }: PairInput, pair: Pair, tokenizer: Tokenizer): Unspaced[] {
    const listed = new Set([...pair.answers, ...pair.wrong]);
    const texts = [
      ...answers.map((text, a) => [text, pair.answers[a]] as const),
      ...wrong.map((text, w) => [text, pair.wrong[w]] as const),
    ];
    return texts.flatMap(([text, id]) => {
      if (typeof text !== "string" || id === undefined || !BEGINS_WORD.test(text)) return [];
      const spacedId = this.#idOf(` ${text}`, tokenizer);
      // Where both spellings are listed, both are meant.
      return spacedId === undefined || listed.has(spacedId) ? [] : [{ text, id, spacedId }];
    });
  }

  /** Of a text that is one token the tokenizer knows. The same few answers stand in most pairs of a file. */
  #idOf(text: string, tokenizer: Tokenizer): number | undefined {
    if (!this.#spacedIds.has(text)) {
      const ids = tokenizer.encode(text, false);
      const [id] = ids;
      const isOne = ids.length === 1 && id !== tokenizer.unknownId;
      this.#spacedIds.set(text, isOne ? id : undefined);
    }
    return this.#spacedIds.get(text);
  }

  #add(kind: string, line: number, about: string): void {
    const found = this.#found.get(kind);
    if (found === undefined) this.#found.set(kind, { count: 1, line, about });
    else found.count++;
  }
}

/** Between two words, or a word and a number; digits that follow digits are the rest of a number. */
function needsSpace(end: string, text: string): boolean {
  if (!ENDS_WORD.test(end) || WITHOUT_SPACES.test(end.slice(-2)) || WITHOUT_SPACES.test(text[0] ?? "")) {
    return false;
  }
  return !(/\p{N}$/u.test(end) && /^\p{N}/u.test(text));
}
