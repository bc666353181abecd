/** @file The tokens of a tokenizer.json: text to id and back. */

import { InputError } from "../../errors.js";
import { shown } from "../../shown-text.js";
import { isPieces, type TokenizerJson } from "./tokenizer-json.js";

/** The texts of all tokens, and their ids. */
export class Tokens {
  readonly #ids = new Map<string, number>();
  readonly #texts = new Map<number, string>();
  #size = 0;

  /**
   * @param file names the tokenizer in errors
   * @throws InputError where two tokens have one id, or one has two: which of them a prompt has would depend on who reads the file
   */
  constructor({ added_tokens, model: { vocab } }: TokenizerJson, file: string) {
    if (isPieces(vocab)) for (const [id, [text]] of vocab.entries()) this.#set(text, id);
    else for (const text of Object.keys(vocab)) this.#set(text, vocab[text]);
    for (const [a, { content, id }] of added_tokens.entries()) {
      const other = this.#texts.get(id);
      if (other !== undefined && other !== content) {
        throw new InputError(
          `loadModel: ${file}: added_tokens[${a}].id: expected an id that no other token has, got ${id}, which is ${shown(other)}`,
        );
      }
      const before = this.#ids.get(content);
      if (before !== undefined && before !== id) {
        throw new InputError(
          `loadModel: ${file}: added_tokens[${a}].id: expected the id that ${shown(content)} has already, ${before}, got ${id}`,
        );
      }
      this.#set(content, id);
    }
  }

  /** Highest id + 1. */
  get size(): number {
    return this.#size;
  }

  idOf(text: string): number | undefined {
    return this.#ids.get(text);
  }

  textOf(id: number): string | undefined {
    return this.#texts.get(id);
  }

  /** Gives a text that is no token yet the next id. */
  add(text: string): number {
    const id = this.#size;
    this.#set(text, id);
    return id;
  }

  #set(text: string, id: number): void {
    this.#ids.set(text, id);
    this.#texts.set(id, text);
    this.#size = Math.max(this.#size, id + 1);
  }
}
