/**
 * @file A tokenizer run by @huggingface/tokenizers from what stands in a tokenizer.json.
 *
 * Known difference from the Python library: in GPT-2's and GPT-NeoX's split pattern, U+FEFF counts as white space and
 * U+0085 does not, as in every JavaScript regular expression.
 */

import { Tokenizer as TokenizerOfLibrary } from "@huggingface/tokenizers";
import { InputError, TokenizerError } from "../../errors.js";
import type { Tokenizer } from "../../model/model.js";
import { shown } from "../../shown-text.js";
import { stepsForLibrary } from "./library-steps.js";
import type { TokenizerJson } from "./tokenizer-json.js";

/** What is used of the library's tokenizer. Its own declarations do not resolve under NodeNext and come out as `any`. */
interface LibraryTokenizer {
  readonly model: { readonly unk_token_id?: number; unk_token?: string | null | undefined } | null;
  readonly decoder: object | null;
  /** There is no id where there is neither a token for the text nor an unknown token. */
  encode(
    text: string,
    options: { add_special_tokens: boolean },
  ): { ids: (number | undefined | null)[]; tokens: string[] };
  decode(ids: number[], options: { clean_up_tokenization_spaces: boolean }): string;
  id_to_token(id: number): string | undefined;
  get_added_tokens_decoder(): ReadonlyMap<number, object>;
}

/** What is done with the tokenizer itself; what stands in its file is known without it. */
export type RunningTokenizer = Pick<Tokenizer, "encode" | "tokenText" | "unknownId">;

/**
 * @param file names the tokenizer in errors
 * @throws InputError when it needs something that the library lacks
 */
export function libraryTokenizer(json: TokenizerJson, file: string): RunningTokenizer {
  const library = makeTokenizer(json, file);
  const addedTokens = library.get_added_tokens_decoder();
  return {
    ...(library.model?.unk_token_id != null && { unknownId: library.model.unk_token_id }),
    encode(text, special) {
      const { ids, tokens } = attempt(file, () => library.encode(text, { add_special_tokens: special }));
      const known = ids.filter((id) => id != null);
      if (known.length < ids.length) {
        const unknown = tokens[ids.findIndex((id) => id == null)];
        throw new InputError(
          `encode: expected text that the tokenizer has tokens for, got ${unknown === UNKNOWN ? "characters without one" : shown(unknown)} in ${shown(text)}`,
        );
      }
      return known;
    },
    tokenText(id) {
      const token = library.id_to_token(id);
      if (token === undefined) return `[unused ${id}]`;
      if (addedTokens.has(id) || library.decoder === null) return token;
      // Some decoders drop the space in front of the first token: what the second of two adds is the token's own text.
      const decode = (ids: number[]) => library.decode(ids, { clean_up_tokenization_spaces: false });
      return attempt(file, () => decode([id, id]).slice(decode([id]).length));
    },
  };
}

function makeTokenizer(json: TokenizerJson, file: string): LibraryTokenizer {
  // The library looks for the unknown token of a WordLevel model in the config, where transformers.js puts it.
  const config = { unk_token: json.model.unk_token ?? undefined };
  const library: LibraryTokenizer = attempt(
    file,
    () => new TokenizerOfLibrary({ ...json, pre_tokenizer: stepsForLibrary(json.pre_tokenizer) }, config),
  );
  // A BPE model without an unknown token would leave out what it has no token for: it is to say so instead.
  if (library.model && library.model.unk_token == null) library.model.unk_token = UNKNOWN;
  return library;
}

/** Stands for text that there is no token for, and is none itself. */
const UNKNOWN = "\0unknown";

function attempt<Result>(file: string, body: () => Result): Result {
  try {
    return body();
  } catch (error) {
    throw new TokenizerError(
      `loadModel: expected ${file} to be a tokenizer that can be run here, got ${error}`,
    );
  }
}
