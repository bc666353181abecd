/** @file How a caller follows and stops a long run. */

import { setImmediate } from "node:timers/promises";

export interface Progress {
  readonly stage: string;
  /** Units of work finished, of `total`. */
  readonly done: number;
  readonly total: number;
}

export interface RunControl {
  readonly onProgress?: (progress: Progress) => void;
  /** Aborting it stops the run before its next batch, with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** Reports how much of a stage is done, wherever that is more than before. */
export function reporterOf({ onProgress }: RunControl, stage: string, total: number): (done: number) => void {
  let reported = 0;
  return (done) => {
    if (done > reported) onProgress?.({ stage, done, total });
    reported = Math.max(reported, done);
  };
}

/**
 * To be called before each batch. A run of a model in memory waits for nothing, so without this turn of the event loop no
 * timer, and no Ctrl-C, would be noticed before its end.
 * @throws the signal's reason once it is aborted
 */
export async function nextBatch(signal: AbortSignal | undefined): Promise<void> {
  await setImmediate();
  signal?.throwIfAborted();
}
