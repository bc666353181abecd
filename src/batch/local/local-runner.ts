/** @file Shards made by processes of this machine. */

import pLimit from "p-limit";
import { InputError } from "../../errors.js";
import type { FailedShard, ShardEvents, ShardRunner } from "../shard-runner.js";
import type { NamedTask } from "../shard-task.js";
import { ShardProcess, type ShardProcessOptions } from "./shard-process.js";

export interface LocalRunnerOptions extends ShardProcessOptions {
  /** How many processes; each holds an engine and the model. They are started when there is something to do. */
  readonly workers: number;
  /** How often a shard that failed is tried again. */
  readonly retries: number;
}

/** No process can be started, for whatever shard. */
class CannotStart extends Error {}

export class LocalRunner implements ShardRunner {
  /** Started, without a shard in hand. */
  readonly #idle: ShardProcess[] = [];
  readonly #limit: ReturnType<typeof pLimit>;

  constructor(readonly options: LocalRunnerOptions) {
    this.#limit = pLimit(options.workers);
  }

  /** @throws InputError where no process can be started: no such engine, or a model that cannot be loaded */
  async run(
    tasks: readonly NamedTask[],
    { onDone, onRetry }: ShardEvents,
    signal?: AbortSignal,
  ): Promise<FailedShard[]> {
    const failed: FailedShard[] = [];
    const stop = new AbortController();
    const stops = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
    const make = async (named: NamedTask): Promise<void> => {
      for (let tries = 1; !stops.aborted; tries++) {
        try {
          if (await this.#make(named, stops)) onDone(named.name);
          return;
        } catch (error) {
          if (error instanceof CannotStart) {
            stop.abort(error.cause);
            return;
          }
          const message = error instanceof Error ? error.message : String(error);
          const failure = { name: named.name, tries, error: message };
          // What is wrong with the input would be wrong again.
          if (error instanceof InputError || tries > this.options.retries) {
            failed.push(failure);
            return;
          }
          onRetry?.(failure);
        }
      }
    };
    await Promise.all(tasks.map((named) => this.#limit(make, named)));
    stops.throwIfAborted();
    return failed;
  }

  async close(): Promise<void> {
    await Promise.all(this.#idle.splice(0).map((worker) => worker.close()));
  }

  /** @returns whether there was still time to: a process may take long to start */
  async #make(named: NamedTask, stops: AbortSignal): Promise<boolean> {
    const worker = await this.#take();
    try {
      if (stops.aborted) return false;
      await worker.compute(named);
      return true;
    } finally {
      // One that died is left, and another one started in its place when there is need.
      if (worker.alive) this.#idle.push(worker);
    }
  }

  async #take(): Promise<ShardProcess> {
    for (let worker = this.#idle.pop(); worker; worker = this.#idle.pop()) if (worker.alive) return worker;
    const started = new ShardProcess(this.options);
    try {
      await started.start();
      return started;
    } catch (error) {
      await started.close();
      if (error instanceof InputError) throw new CannotStart(error.message, { cause: error });
      throw error;
    }
  }
}
