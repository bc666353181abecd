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

/** How much of a stage is done, which is reported wherever it is more than before. */
export class StageProgress {
  #done = 0;
  #reported = 0;

  constructor(
    private readonly control: RunControl,
    private readonly stage: string,
    private readonly total: number,
  ) {}

  /** Units that need no work. */
  add(units: number): void {
    this.#done += units;
    this.#report(this.#done);
  }

  /** Units that are worked at together: the function is told which share of them is done, 1 at the end. Later units come behind them. */
  share(units: number): (share: number) => void {
    const before = this.#done;
    this.#done += units;
    return (share) => this.#report(before + Math.floor(share * units));
  }

  #report(done: number): void {
    if (done <= this.#reported) return;
    this.#reported = done;
    this.control.onProgress?.({ stage: this.stage, done, total: this.total });
  }
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
