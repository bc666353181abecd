/** @file Threads that read weights and turn them into float32 while this one computes. */

import { availableParallelism } from "node:os";
import { sharesOf } from "./reading-shares.js";
import { ReadingThread, type ReadOrder } from "./reading-thread.js";

/** More of them do not read faster: four turn 16-bit floats into float32 as fast as the fastest disks deliver them. */
const MOST_THREADS = 4;

/** One core computes; at least one thread reads. */
function threadsHere(): number {
  return Math.max(1, Math.min(MOST_THREADS, availableParallelism() - 1));
}

/** Orders are done one after another, in their order, each by all threads together. */
export class ReadingThreads {
  readonly #threads: readonly ReadingThread[];
  /** The last order, done or not. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(count = threadsHere()) {
    this.#threads = Array.from({ length: count }, () => new ReadingThread());
  }

  /**
   * Fills a buffer, which is the threads' until then.
   * @throws RunError when a file ends early or cannot be read, or a thread ends before
   */
  read({ slices, buffer }: ReadOrder): Promise<void> {
    const shares = sharesOf(slices, this.#threads.length);
    const done = this.#last.then(() => this.#readShares(shares, buffer));
    this.#last = done.catch(() => {});
    return done;
  }

  /** Waits for all threads, also where one of them fails: none may write into a buffer that is filled anew. */
  async #readShares(shares: readonly ReadOrder["slices"][], buffer: SharedArrayBuffer): Promise<void> {
    const orders = this.#threads.map((thread, t) => thread.read({ slices: shares[t], buffer }));
    for (const outcome of await Promise.allSettled(orders)) {
      if (outcome.status === "rejected") throw outcome.reason;
    }
  }

  /** Ends the threads; orders that are not done fail. Files may be closed when it resolves. */
  async close(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.close()));
  }
}
