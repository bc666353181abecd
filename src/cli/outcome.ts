/** @file What an error means for whoever ran the command: a message and an exit code. */

import { CommanderError } from "commander";
import { withoutTrap } from "../engine/heap-error.js";
import { InputError, RunError } from "../errors.js";
import type { CliContext } from "./context.js";
import { Interrupted } from "./interrupts.js";

const FAILED = 1;
const BAD_INPUT = 2;

export interface Outcome {
  readonly exitCode: number;
  /** For stderr. */
  readonly notes: readonly string[];
}

/** 1 for a run that failed, 2 for wrong input or usage, 130 and 143 for an interrupted run. */
export function outcomeOf(thrown: unknown, { signal, verbose, saved }: CliContext): Outcome {
  const error = withoutTrap(thrown);
  const message = error instanceof Error ? error.message : String(error);
  if (signal.aborted && signal.reason instanceof Interrupted) {
    // A download that was stopped says that it will be continued.
    const detail = error instanceof RunError ? ` (${message})` : "";
    const notes = [`${signal.reason.message}${detail}; ${saved ?? "nothing was saved"}`];
    return { exitCode: signal.reason.exitCode, notes };
  }
  if (error instanceof CommanderError) {
    // Commander has printed its message. Help that was asked for is no error; help for want of a command is.
    return { exitCode: error.exitCode === 0 ? 0 : BAD_INPUT, notes: [] };
  }
  if (error instanceof InputError) return { exitCode: BAD_INPUT, notes: [`error: ${message}`] };
  if (error instanceof RunError) return { exitCode: FAILED, notes: [`error: ${message}`] };
  if (!verbose) {
    return { exitCode: FAILED, notes: [`error: ${message} (unexpected; --verbose shows where)`] };
  }
  const stack = error instanceof Error && error.stack ? [error.stack] : [];
  return { exitCode: FAILED, notes: [`error: ${message}`, ...stack] };
}
