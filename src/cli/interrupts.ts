/**
 * @file Ctrl-C and SIGTERM. The first one asks the run to stop at its next batch, to tidy up and to say what it has
 * saved; one that comes after it ends the process at once.
 */

import { removeTemporaries } from "../atomic-file.js";
import type { CliContext } from "./context.js";

/** 128 + the signal's number, as shells report it. */
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

type SignalName = keyof typeof EXIT_CODES;

/** npm, npx and tsx pass a signal on that the terminal has sent to this process too: two of them are one Ctrl-C. */
const SAME_KEYPRESS_MS = 1000;

/** The reason with which a run is aborted. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
  readonly exitCode: number;

  constructor(readonly signalName: SignalName) {
    super(`interrupted by ${signalName}`);
    this.exitCode = EXIT_CODES[signalName];
  }
}

/** How long work that can be left at any point may take to end by itself: a download then says that it will be continued. */
const GRACE_MS = 1000;

/**
 * Waits for work that leaves nothing half done wherever it is left, such as reading: an interrupt ends it though it looks at no
 * signal.
 * @throws what the work throws; the signal's reason, and the work is left, or has ended after the signal
 */
export async function abandonable<Result>(
  context: Pick<CliContext, "signal" | "abandoned">,
  work: Promise<Result>,
): Promise<Result> {
  const { signal } = context;
  let timer: NodeJS.Timeout | undefined;
  let onAbort = () => {};
  const left = new Promise<never>((_, reject) => {
    onAbort = () => {
      timer = setTimeout(() => {
        context.abandoned = true;
        reject(signal.reason);
      }, GRACE_MS);
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort);
  });
  try {
    const result = await Promise.race([work, left]);
    signal.throwIfAborted();
    return result;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
  }
}

/** A signal that the first interrupt aborts. Call once per process. */
export function watchInterrupts(): AbortSignal {
  const controller = new AbortController();
  let again = false;
  const onSignal = (name: SignalName) => {
    if (!controller.signal.aborted) {
      controller.abort(new Interrupted(name));
      // A block of a model keeps signals waiting for seconds. Those that waited are told before `setImmediate`.
      setTimeout(() => setImmediate(() => (again = true)), SAME_KEYPRESS_MS).unref();
    } else if (again) {
      removeTemporaries();
      process.exit(EXIT_CODES[name]);
    }
  };
  process.on("SIGINT", () => onSignal("SIGINT"));
  process.on("SIGTERM", () => onSignal("SIGTERM"));
  return controller.signal;
}
