/**
 * @file The two ways a call can fail, told apart by type so that a command line can tell them apart by exit code; and how errors
 * of the system are told apart.
 */

import { shownMessage } from "./shown-text.js";

/**
 * The caller gave something unusable: a malformed file, an unknown node, a prompt that does not fit. Messages name
 * the file, the line or field, what was expected and what was found. The command line exits with 2.
 */
export class InputError extends Error {
  override readonly name = "InputError";

  constructor(message: string, options?: ErrorOptions) {
    super(shownMessage(message), options);
  }
}

/** A tokenizer that cannot be run on a text: its file is to blame, and not the one that the text stands in. */
export class TokenizerError extends InputError {}

/** The input was fine and the work failed: a download broke off, a metric is not a number. Exit code 1. */
export class RunError extends Error {
  override readonly name = "RunError";

  constructor(message: string, options?: ErrorOptions) {
    super(shownMessage(message), options);
  }
}

/** The code of an error of the file system or a socket, such as `ENOENT`; undefined for what has none. */
export function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}

/** What was thrown, as an error. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
