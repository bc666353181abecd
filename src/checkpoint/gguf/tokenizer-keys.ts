/** @file The keys of a GGUF file that speak of its tokenizer: which are known, and reading them one by one. */

import { InputError } from "../../errors.js";
import { shown, shownName } from "../../shown-text.js";

const PREFIX = "tokenizer.";

/** Read below. */
const USED = new Set(
  [
    ...["model", "pre", "tokens", "token_type", "scores", "merges", "add_bos_token", "add_eos_token"],
    ...["bos_token_id", "eos_token_id", "unknown_token_id", "add_space_prefix"],
  ].map((name) => `tokenizer.ggml.${name}`),
);

/** Would change how text is read; false says that nothing is done. */
const MUST_BE_FALSE = [
  "tokenizer.ggml.remove_extra_whitespaces",
  "tokenizer.ggml.normalizer.lowercase",
  "tokenizer.ggml.normalizer.strip_accents",
];

/** A table that replaces characters, of tokenizers of the kind "t5". An empty one does nothing. */
const CHARACTER_TABLE = "tokenizer.ggml.precompiled_charsmap";

/** Say nothing about how one text becomes tokens: roles of tokens, chat, generation, pairs of texts, other programs. */
const NOT_USED = new Set([
  ...["padding", "mask", "cls", "seperator", "eot", "eom", "prefix", "suffix", "middle"].map(tokenIdKey),
  ...["fim_pre", "fim_suf", "fim_mid", "fim_pad", "fim_rep", "fim_sep"].map(tokenIdKey),
  // What stands between two texts that are read together.
  "tokenizer.ggml.add_sep_token",
  "tokenizer.ggml.token_type_count",
  "tokenizer.ggml.suppress_tokens",
  "tokenizer.huggingface.json",
  "tokenizer.chat_template",
  "tokenizer.chat_templates",
]);

const CHAT_TEMPLATE_PREFIX = "tokenizer.chat_template.";

/** "bos" to tokenizer.ggml.bos_token_id */
export function tokenIdKey(role: string): string {
  return `tokenizer.ggml.${role}_token_id`;
}

export const isText = (value: unknown): value is string => typeof value === "string";

export const isNumber = (value: unknown): value is number =>
  typeof value === "number" && !Number.isNaN(value);

/** Reads the keys of one file with errors that name the file and the key. */
export class TokenizerKeys {
  constructor(
    private readonly metadata: ReadonlyMap<string, unknown>,
    private readonly file: string,
  ) {}

  /** @throws InputError when there is a key that may change how text is read and is not known here */
  checkNames(): void {
    for (const key of MUST_BE_FALSE) if (this.flag(key)) throw this.error(key, "false");
    const table = this.metadata.get(CHARACTER_TABLE);
    if (table !== undefined && !(Array.isArray(table) && table.length === 0)) {
      throw this.error(CHARACTER_TABLE, "left out");
    }
    const known = new Set([...USED, ...MUST_BE_FALSE, CHARACTER_TABLE, ...NOT_USED]);
    for (const key of this.metadata.keys()) {
      if (!key.startsWith(PREFIX) || known.has(key) || key.startsWith(CHAT_TEMPLATE_PREFIX)) continue;
      throw new InputError(
        `loadModel: expected ${this.file} to say nothing about its tokenizer that is not known here, got ${shownName(key)}`,
      );
    }
  }

  text(key: string): string | undefined {
    return this.#read(key, isText, "text");
  }

  flag(key: string): boolean | undefined {
    return this.#read(key, (value): value is boolean => typeof value === "boolean", "true or false");
  }

  /** @param size number of tokens */
  tokenId(key: string, size: number): number | undefined {
    const value = this.metadata.get(key);
    if (value === undefined) return undefined;
    const id = typeof value === "bigint" ? Number(value) : value;
    if (typeof id === "number" && Number.isInteger(id) && id >= 0 && id < size) return id;
    throw this.error(key, `a token id less than ${size}`);
  }

  /** @param length of the list, where it has to have one */
  list<T>(
    key: string,
    isItem: (value: unknown) => value is T,
    items: string,
    length?: number,
  ): readonly T[] | undefined {
    const value = this.metadata.get(key);
    if (value === undefined) return undefined;
    const expected =
      length === undefined ? `an array of ${items}` : `an array of ${length} ${items}, one for each token`;
    if (!Array.isArray(value) || (length !== undefined && value.length !== length)) {
      throw this.error(key, expected);
    }
    const list: readonly unknown[] = value;
    if (list.every(isItem)) return list;
    const wrong = list.findIndex((item) => !isItem(item));
    throw this.error(key, expected, `${shown(list[wrong])} at ${wrong}`);
  }

  /** The error for a key whose value cannot be used. */
  error(key: string, expected: string, found = valueText(this.metadata.get(key))): InputError {
    return new InputError(`loadModel: expected ${key} of ${this.file} to be ${expected}, got ${found}`);
  }

  #read<T>(key: string, is: (value: unknown) => value is T, expected: string): T | undefined {
    const value = this.metadata.get(key);
    if (value === undefined || is(value)) return value;
    throw this.error(key, expected);
  }
}

/** Arrays have as many items as there are tokens. */
function valueText(value: unknown): string {
  if (value === undefined) return "no such key";
  if (Array.isArray(value)) return `an array of ${value.length}`;
  return shown(value);
}
