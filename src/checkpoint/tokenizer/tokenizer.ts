/** @file The tokenizer of a checkpoint: tokenizer.json, and what the files beside it change. */

import { stat } from "node:fs/promises";
import { join } from "node:path";
import { formatBytes } from "../../byte-size.js";
import { InputError } from "../../errors.js";
import type { Tokenizer } from "../../model/model.js";
import { shown } from "../../shown-text.js";
import { parseJson, readText } from "../json-file.js";
import { followClass } from "./follow-class.js";
import { followSettings } from "./follow-settings.js";
import { strangePattern } from "./known-patterns.js";
import { libraryTokenizer, type RunningTokenizer } from "./library-tokenizer.js";
import { readTokenizerSettings } from "./settings.js";
import { readTemplate, type Template, withTemplate } from "./template.js";
import { checkTokenizerJson, type TokenizerJson } from "./tokenizer-json.js";
import { TokenizerThread } from "./tokenizer-thread.js";
import { Tokens } from "./tokens.js";

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
  const source = await readTokenizerFile(file);
  if (source === undefined) return undefined;
  const written = checkTokenizerJson(parseJson(source, file), file);
  const settings = await readTokenizerSettings(folder);
  const tell = (notice: string) => onNotice(`${folder}: ${notice}`);
  const tokens = new Tokens(written, file);
  const json = followSettings(written, settings, tokens, tell);
  const template = followClass(readTemplate(json, tokens, file), settings, tokens, modelType, tell);
  checkTemplate(template, tokens, file, vocabulary);
  return { size: tokens.size, ...template, ...(await running(withTemplate(json, template, tokens), file)) };
}

/** Of a file: the largest published tokenizers take forty million. */
const MOST_BYTES = 2 ** 28;

async function readTokenizerFile(file: string): Promise<string | undefined> {
  const size = await stat(file).then(
    (found) => found.size,
    () => 0,
  );
  if (size <= MOST_BYTES) return await readText(file);
  throw new InputError(
    `loadModel: expected ${file} to have at most ${formatBytes(MOST_BYTES)}, got ${formatBytes(size)}`,
  );
}

/** In a thread of its own, where it may not come to an end. Texts of tokens can be had either way, also after the thread's end. */
async function running(
  json: TokenizerJson,
  file: string,
): Promise<RunningTokenizer & Pick<Tokenizer, "close">> {
  const shows = strangePattern(json, ["decoder"]);
  if (shows !== undefined) {
    throw new InputError(
      `loadModel: ${file}: decoder: expected patterns of published tokenizers, and no replacements by longer texts, got ${shown(shows)}`,
    );
  }
  const pattern = strangePattern(json, ["normalizer", "pre_tokenizer"]);
  if (pattern === undefined) return libraryTokenizer(json, file);
  const here = libraryTokenizer({ ...json, normalizer: null, pre_tokenizer: null }, file);
  const thread = await TokenizerThread.start(json, file, pattern);
  return {
    ...here,
    encode: (text, special) => thread.encode(text, special),
    close: () => thread.close(),
  };
}

/**
 * A tokenizer that was made of what stands elsewhere, with patterns that are known.
 * @param file names it in errors
 * @param vocabulary as for `loadTokenizer`
 * @throws InputError as `loadTokenizer`
 */
export function tokenizerFromJson(json: TokenizerJson, file: string, vocabulary: number): Tokenizer {
  const tokens = new Tokens(json, file);
  const template = readTemplate(json, tokens, file);
  checkTemplate(template, tokens, file, vocabulary);
  return { size: tokens.size, ...template, ...libraryTokenizer(withTemplate(json, template, tokens), file) };
}

function checkTemplate(template: Template, tokens: Tokens, file: string, vocabulary: number): void {
  const without = [...template.before, ...template.after].find((id) => id >= vocabulary);
  if (without === undefined) return;
  throw new InputError(
    `loadModel: expected ${file} to put tokens around a text that the model has embeddings for (ids less than ${vocabulary}), ` +
      `got ${shown(tokens.textOf(without))} (${without}): the tokenizer belongs to another model`,
  );
}
