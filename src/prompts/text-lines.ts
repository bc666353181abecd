/**
 * @file The lines of a UTF-8 text file, read as a stream.
 *
 * Not node:readline, for two reasons: from Node 24 on it also breaks lines at U+2028 and U+2029, which may stand
 * unescaped inside a JSON string, and it turns bytes that are not UTF-8 into replacement characters without a word.
 */

import { codeOf, InputError } from "../errors.js";
import { openPlainFile } from "../text-file.js";

const NEWLINE = 0x0a; // never part of a longer UTF-8 sequence, so bytes can be split before they are decoded

/** More text than any model takes. */
const MAX_LINE_BYTES = 2 ** 24;

export interface TextLine {
  /** Counts from 1. */
  readonly number: number;
  /** Without its `\n` and without a byte order mark. The `\r` of a `\r\n` stays: to JSON it is white space. */
  readonly text: string;
}

/**
 * Yields the lines of a file in order, blank ones included.
 *
 * @param file path, named as given in error texts
 * @throws InputError for a file that does not exist, is a folder, cannot be read, or is not UTF-8 (with the line)
 */
export async function* textLines(file: string): AsyncGenerator<TextLine> {
  let number = 0;
  let pieces: Buffer[] = []; // of the line that is not complete yet
  let bytes = 0;
  for await (const chunk of fileChunks(file)) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      pieces.push(chunk.subarray(start, end));
      number++;
      yield { number, text: decode(pieces, file, number) };
      pieces = [];
      bytes = 0;
      start = end + 1;
    }
    pieces.push(chunk.subarray(start));
    bytes += chunk.length - start;
    if (bytes > MAX_LINE_BYTES) {
      const line = number + 1;
      throw new InputError(`${file}:${line}: expected a line of at most ${MAX_LINE_BYTES} bytes, got more`);
    }
  }
  number++;
  yield { number, text: decode(pieces, file, number) };
}

async function* fileChunks(file: string): AsyncGenerator<Buffer> {
  try {
    const handle = await openPlainFile(file);
    const chunks: AsyncIterable<Buffer> = handle.createReadStream();
    yield* chunks;
  } catch (error) {
    if (error instanceof InputError) throw error;
    const code = codeOf(error);
    if (code === "ENOENT") throw new InputError(`${file}: expected a file, got nothing at this path`);
    throw new InputError(`${file}: expected a readable file, got: ${String(error)}`);
  }
}

function decode(pieces: readonly Buffer[], file: string, number: number): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(pieces));
  } catch {
    throw new InputError(`${file}:${number}: expected UTF-8 text, got bytes that are not UTF-8`);
  }
}
