/** @file A thread that reads weights and turns them into float32 while this one computes. */

import type { Worker } from "node:worker_threads";
import { RunError } from "../errors.js";
import { startThread } from "../node-entry.js";
import type { StoredSlice } from "./stored-slice.js";

/** What the thread is sent. */
export interface ReadOrder {
  readonly slices: readonly StoredSlice[];
  readonly buffer: SharedArrayBuffer;
}

/** What it answers: nothing where all is read, otherwise why not. */
export interface ReadAnswer {
  readonly error?: string;
}

interface Waiting {
  resolve(): void;
  reject(error: Error): void;
}

/** Orders are done one after another, in their order. It keeps the process alive only while it has something to do. */
export class ReadingThread {
  readonly #worker: Worker;
  readonly #waiting: Waiting[] = [];
  #ended: string | undefined;

  constructor() {
    this.#worker = startThread(new URL("./reading-thread-main.js", import.meta.url));
    this.#worker.on("message", ({ error }: ReadAnswer) => {
      const first = this.#waiting.shift();
      if (this.#waiting.length === 0) this.#worker.unref();
      if (error === undefined) first?.resolve();
      else first?.reject(new RunError(error));
    });
    this.#worker.on("error", (error) => this.#end(`the thread that reads weights broke: ${error.message}`));
    this.#worker.on("exit", () => this.#end("the thread that reads weights has ended"));
    this.#worker.unref();
  }

  /**
   * Fills a buffer, which is the thread's until then.
   * @throws RunError when a file ends early or cannot be read, or the thread ends before
   */
  read(order: ReadOrder): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) {
        reject(endOfThread(this.#ended));
        return;
      }
      this.#waiting.push({ resolve, reject });
      this.#worker.ref();
      this.#worker.postMessage(order);
    });
  }

  /** Ends the thread; orders that are not done fail. Files may be closed when it resolves. */
  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  #end(reason: string): void {
    this.#ended ??= reason;
    for (const { reject } of this.#waiting.splice(0)) reject(endOfThread(this.#ended));
  }
}

function endOfThread(reason: string): RunError {
  return new RunError(`loadModel: expected weights to be read, got an end: ${reason}`);
}
