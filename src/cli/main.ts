/** @file The command line as a process: arguments, streams, signals, exit code. */

import { Console } from "node:console";
import { removeTemporaries } from "../atomic-file.js";
import { type CliContext, printNote } from "./context.js";
import { watchInterrupts } from "./interrupts.js";
import { outcomeOf } from "./outcome.js";
import { makeProgram } from "./program.js";

/** Runs the command line and sets the exit code. Never rejects. */
export async function main(args: readonly string[]): Promise<void> {
  // Engines and libraries print to the console; stdout is for results alone.
  globalThis.console = new Console(process.stderr, process.stderr);
  quietClosedPipes();
  const context: CliContext = { signal: watchInterrupts(), verbose: false };
  try {
    await makeProgram(context).parseAsync(args, { from: "user" });
  } catch (error) {
    const { exitCode, notes } = outcomeOf(error, context);
    for (const note of notes) printNote(note);
    process.exitCode = exitCode;
    if (context.abandoned) {
      removeTemporaries();
      process.exit();
    }
  }
}

/** `atp … | head` closes the pipe early: results that nobody reads any more are not an error. */
function quietClosedPipes(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
      if (stream === process.stdout) process.exit();
    });
  }
}
