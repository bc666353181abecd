/** @file What a command gets from the process it runs in. */

import { shownLines, shownMessage } from "../shown-text.js";

export interface CliContext {
  /** Aborted by Ctrl-C or SIGTERM, with an `Interrupted` as the reason. */
  readonly signal: AbortSignal;
  /** Set before a command runs: whether an unexpected error shows where it came from. */
  verbose: boolean;
  /** Set by the commands: what an interrupted run leaves on the disk, for the message about it. */
  saved?: string;
  /** Set where work was left that looks at no signal: the process has to end by itself. */
  abandoned?: true;
}

/** A result: the only thing that goes to stdout, so that it can be piped. */
export function printResult(text: string): void {
  process.stdout.write(`${shownLines(text)}\n`);
}

/** Everything else. */
export function printNote(text: string): void {
  process.stderr.write(`atp: ${shownMessage(text)}\n`);
}
