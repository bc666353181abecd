/**
 * @file The tokenizer of a checkpoint, run by @huggingface/tokenizers from tokenizer.json alone. tokenizer_config.json
 * is left aside: what it says about splitting text was written into tokenizer.json by whoever saved it.
 *
 * Known difference from the Python library: in GPT-2's and GPT-NeoX's split pattern, U+FEFF counts as white space and
 * U+0085 does not, as in every JavaScript regular expression.
 */

import { join } from "node:path";
import { Tokenizer as TokenizerOfLibrary } from "@huggingface/tokenizers";
import { z } from "zod";
import { InputError } from "../errors.js";
import type { Tokenizer } from "../model/model.js";
import { shown } from "../shown-text.js";
import { parseJson, readText } from "./json-file.js";

const TOKENIZER_FILE = "tokenizer.json";

/** What is used of the library's tokenizer. Its own declarations do not resolve under NodeNext and come out as `any`. */
interface LibraryTokenizer {
  readonly model: { readonly unk_token_id?: number } | null;
  readonly decoder: object | null;
  /** An id is undefined where there is neither a token for the text nor an unknown token. */
  encode(
    text: string,
    options: { add_special_tokens: boolean },
  ): { ids: (number | undefined)[]; tokens: string[] };
  decode(ids: number[], options: { clean_up_tokenization_spaces: boolean }): string;
  id_to_token(id: number): string | undefined;
  get_added_tokens_decoder(): ReadonlyMap<number, object>;
  /** Ids that no token has are under the key undefined. */
  get_vocab(): ReadonlyMap<string | undefined, number>;
}

/** Only what is read here; the library checks the rest. */
const tokenizerSchema = z.looseObject({
  model: z.looseObject({ unk_token: z.string().nullish() }),
});

/**
 * The tokenizer of a checkpoint folder; undefined when it has no tokenizer.json.
 * @param vocabulary rows of the model's embedding. A smaller tokenizer is fine: embeddings are often padded
 * @throws InputError when the file is broken, needs something that the library lacks, or has tokens that the model
 *   has no embedding for
 */
export async function loadTokenizer(folder: string, vocabulary: number): Promise<Tokenizer | undefined> {
  const file = join(folder, TOKENIZER_FILE);
  const text = await readText(file);
  if (text === undefined) return undefined;
  const parsed = tokenizerSchema.safeParse(parseJson(text, file));
  if (!parsed.success) {
    throw new InputError(
      `loadModel: expected ${file} to describe a tokenizer with a model, got something else`,
    );
  }
  // The library looks for the unknown token of a WordLevel model in the config, where transformers.js puts it.
  const config = { unk_token: parsed.data.model.unk_token ?? undefined };
  return tokenizerFromJson(parsed.data, config, file, vocabulary);
}

/**
 * A tokenizer from what stands in a tokenizer.json, wherever it comes from.
 * @param config what the library takes from tokenizer_config.json
 * @param file names it in errors
 * @param vocabulary rows of the model's embedding. A smaller tokenizer is fine: embeddings are often padded
 * @throws InputError when it needs something that the library lacks, or has tokens that the model has no embedding for
 */
export function tokenizerFromJson(json: object, config: object, file: string, vocabulary: number): Tokenizer {
  const library = makeTokenizer(json, config, file);
  let last = "";
  let lastId = -1;
  for (const [token, id] of library.get_vocab()) {
    if (token !== undefined && id > lastId) [last, lastId] = [token, id];
  }
  if (lastId >= vocabulary) {
    throw new InputError(
      `loadModel: expected every token id of ${file} to be less than the model's vocabulary size ${vocabulary}, ` +
        `got ${lastId} for "${last}": the tokenizer belongs to another model`,
    );
  }
  return wrap(library, lastId + 1);
}

function makeTokenizer(json: object, config: object, file: string): LibraryTokenizer {
  try {
    return new TokenizerOfLibrary(json, config);
  } catch (error) {
    throw new InputError(`loadModel: expected ${file} to be a tokenizer that can be run here, got ${error}`);
  }
}

function wrap(library: LibraryTokenizer, size: number): Tokenizer {
  const addedTokens = library.get_added_tokens_decoder();
  return {
    size,
    unknownId: library.model?.unk_token_id,
    encode(text, special) {
      const { ids, tokens } = library.encode(text, { add_special_tokens: special });
      const known = ids.filter((id) => id !== undefined);
      if (known.length < ids.length) {
        const unknown = tokens[ids.indexOf(undefined)];
        throw new InputError(
          `encode: expected text that the tokenizer has tokens for, got ${shown(unknown)} in ${shown(text)}`,
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
      return decode([id, id]).slice(decode([id]).length);
    },
  };
}
