/** @file The tokenizer of a checkpoint: tokenizer.json, and what the files beside it change. */

import { join } from "node:path";
import { InputError } from "../../errors.js";
import type { Tokenizer } from "../../model/model.js";
import { shown } from "../../shown-text.js";
import { readText } from "../json-file.js";
import { followClass } from "./follow-class.js";
import { followSettings } from "./follow-settings.js";
import { libraryTokenizer } from "./library-tokenizer.js";
import { readTokenizerSettings } from "./settings.js";
import { readTemplate, type Template, Tokens, withTemplate } from "./template.js";
import { parseTokenizerJson, type TokenizerJson } from "./tokenizer-json.js";

export interface TokenizerOptions {
  /** Of config.json: what a tokenizer without a class is read as. */
  readonly modelType?: string;
  /** Called with a sentence for the user where files disagree, with what is done. */
  readonly onNotice?: ((text: string) => void) | undefined;
}

/**
 * The tokenizer of a checkpoint folder; undefined when it has no tokenizer.json.
 * @param vocabulary rows of the model's embedding. Tokens may be fewer, as embeddings are often padded, or more: see `Tokenizer.size`
 * @throws InputError when a file is broken, needs something that the library lacks, or puts a token around every text that
 *   the model has no embedding for
 */
export async function loadTokenizer(
  folder: string,
  vocabulary: number,
  { modelType = "", onNotice = () => {} }: TokenizerOptions = {},
): Promise<Tokenizer | undefined> {
  const file = join(folder, "tokenizer.json");
  const source = await readText(file);
  if (source === undefined) return undefined;
  const written = parseTokenizerJson(source, file);
  const settings = await readTokenizerSettings(folder);
  const tell = (notice: string) => onNotice(`${folder}: ${notice}`);
  const tokens = new Tokens(written);
  const json = followSettings(written, settings, tokens, tell);
  const template = followClass(readTemplate(json, tokens, file), settings, tokens, modelType, tell);
  return runTokenizer(json, template, tokens, file, vocabulary);
}

/**
 * A tokenizer from what stands in a tokenizer.json, wherever it comes from.
 * @param file names it in errors
 * @param vocabulary as for `loadTokenizer`
 * @throws InputError as `loadTokenizer`
 */
export function tokenizerFromJson(json: TokenizerJson, file: string, vocabulary: number): Tokenizer {
  const tokens = new Tokens(json);
  return runTokenizer(json, readTemplate(json, tokens, file), tokens, file, vocabulary);
}

function runTokenizer(
  json: TokenizerJson,
  template: Template,
  tokens: Tokens,
  file: string,
  vocabulary: number,
): Tokenizer {
  const without = [...template.before, ...template.after].find((id) => id >= vocabulary);
  if (without !== undefined) {
    throw new InputError(
      `loadModel: expected ${file} to put tokens around a text that the model has embeddings for (ids less than ${vocabulary}), ` +
        `got ${shown(tokens.textOf(without))} (${without}): the tokenizer belongs to another model`,
    );
  }
  return { size: tokens.size, ...template, ...libraryTokenizer(withTemplate(json, template, tokens), file) };
}
