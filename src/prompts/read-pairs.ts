/**
 * @file Pairs files: JSON Lines, one pair per line, blank lines skipped. Bad lines are collected, so that one run shows
 * a user more than one of them.
 */

import { InputError, TokenizerError } from "../errors.js";
import { resolveAveraged } from "./averaged-pair.js";
import type { Direction } from "./direction.js";
import { type Pair, type PairNeeds, resolveWritten } from "./pair.js";
import { checkPairInput } from "./pair-input.js";
import type { PairContext } from "./pair-tokens.js";
import { textLines } from "./text-lines.js";
import { TokenDoubts } from "./token-doubts.js";

/** Enough to see a pattern; a file that is wrong throughout should not fill the screen. */
const MAX_BAD_LINES = 5;

export interface ReadPairsOptions {
  /**
   * Called with a sentence for the user, once for each file and kind, where tokens are hardly what was meant: a prompt that begins
   * with the start token twice, an answer without the space that its token usually has, a prompt that ends in the space.
   */
  readonly onNotice?: (text: string) => void;
}

/**
 * Reads, checks and resolves the pairs of one or more files, in the order of the files and of their lines.
 *
 * @param files paths of JSON Lines files; each must hold at least one pair
 * @param context the model, for its tokenizer and its limits
 * @param needs what the metric and the run need
 * @throws InputError with `file:line` for the first bad lines (what can be bad about a pair is listed at `makePair`),
 *   or for a file that cannot be read or holds no pairs; for a tokenizer that cannot be run on a text
 */
export async function readPairs(
  files: string | readonly string[],
  context: PairContext,
  needs: PairNeeds,
  options: ReadPairsOptions = {},
): Promise<Pair[]> {
  return await readLines(files, (file) => {
    const doubts = new TokenDoubts(context.tokenizer);
    return {
      resolve(input, origin, line) {
        const written = checkPairInput(input, needs.corrupted ?? true);
        const pair = resolveWritten(written, context, needs, origin);
        doubts.see(written, pair, line);
        return pair;
      },
      end() {
        for (const notice of doubts.notices(file)) options.onNotice?.(notice);
      },
    };
  });
}

/**
 * Reads pairs that are only averaged over (`meanSource`): of each line one prompt, the corrupted one when noising and the clean one
 * when denoising, or the only one that it has. Answers, roles and the like are passed over.
 *
 * @param files as of `readPairs`
 * @throws InputError as `readPairs` does, for what is wrong with the prompts
 */
export async function readAveragedPairs(
  files: string | readonly string[],
  context: PairContext,
  direction: Direction,
): Promise<Pair[]> {
  return await readLines(files, () => ({
    resolve: (input, origin) => resolveAveraged(input, context, direction, origin),
  }));
}

interface FileReader {
  /** Makes a pair of the JSON of a line. */
  resolve(input: unknown, origin: string, line: number): Pair;
  /** Called when all lines of the file are good. */
  end?(): void;
}

async function readLines(
  files: string | readonly string[],
  readerOf: (file: string) => FileReader,
): Promise<Pair[]> {
  const paths = typeof files === "string" ? [files] : files;
  if (paths.length === 0) throw new InputError("readPairs: expected at least 1 file, got none");
  const pairs: Pair[] = [];
  const bad: string[] = [];
  try {
    for (const file of paths) {
      const reader = readerOf(file);
      await readFile(file, reader, pairs, bad);
      if (bad.length === 0) reader.end?.();
    }
  } catch (error) {
    if (error instanceof InputError && !(error instanceof TokenizerError)) {
      throw new InputError(`readPairs: ${error.message}`);
    }
    throw error;
  }
  if (bad.length === 1) throw new InputError(`readPairs: ${bad[0]}`);
  if (bad.length > 1) {
    const count = bad.length < MAX_BAD_LINES ? `${bad.length}` : `the first ${bad.length}`;
    throw new InputError(`readPairs: ${count} bad lines:\n${bad.map((text) => `  ${text}`).join("\n")}`);
  }
  return pairs;
}

/** Appends the file's pairs to `pairs` and the texts of its bad lines to `bad`, up to the most that are shown. */
async function readFile(file: string, { resolve }: FileReader, pairs: Pair[], bad: string[]): Promise<void> {
  let empty = true;
  for await (const { number, text } of textLines(file)) {
    if (bad.length === MAX_BAD_LINES) return;
    if (text.trim() === "") continue;
    empty = false;
    const origin = `${file}:${number}`;
    try {
      pairs.push(resolve(parseJson(text), origin, number));
    } catch (error) {
      if (!(error instanceof InputError) || error instanceof TokenizerError) throw error;
      bad.push(`${origin}: ${error.message}`);
    }
  }
  if (empty) throw new InputError(`${file}: expected at least 1 pair, got an empty file`);
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    // The parser counts lines within the text it was given, which is always line 1 here.
    const where = message.replace(
      / at position (\d+)( \(line 1 column \d+\))?$/,
      (_, position: string) => ` at column ${Number(position) + 1}`,
    );
    throw new InputError(`expected one JSON object per line: ${where}`);
  }
}
