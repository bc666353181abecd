/** @file Shards made by processes of this machine. */

import pLimit from "p-limit";
import { ModelChanged } from "../../checkpoint/model-hash.js";
import { asError, InputError, RunError } from "../../errors.js";
import { checkLimit, LIMITS } from "../../limits.js";
import type { FailedShard, ShardEvents, ShardRunner } from "../shard-runner.js";
import type { NamedTask } from "../shard-task.js";
import { ShardProcess, type ShardProcessOptions } from "./shard-process.js";

export interface LocalRunnerOptions extends ShardProcessOptions {
  /** How many processes; each holds an engine and the model. They are started when there is something to do. */
  readonly workers: number;
  /** How often a shard that failed is tried again. */
  readonly retries: number;
}

/** No shard can be made any more, whichever it is. */
class CannotGoOn extends Error {}

export class LocalRunner implements ShardRunner {
  /** Started, without a shard in hand. */
  readonly #idle: ShardProcess[] = [];
  readonly #limit: ReturnType<typeof pLimit>;
  /** Processes that died before they were ready, since the last one that was. */
  #failedStarts = 0;

  /** @throws InputError for more workers or retries than there may be */
  constructor(readonly options: LocalRunnerOptions) {
    checkLimit("LocalRunner", "workers", options.workers, LIMITS.workers);
    checkLimit("LocalRunner", "retries", options.retries, LIMITS.retries);
    this.#limit = pLimit(options.workers);
  }

  /**
   * @throws InputError where no process can be started: no such engine, or a model that cannot be loaded; and where the model has
   *   changed since the job was prepared
   * @throws RunError where one process after the other dies before it is ready; what the events throw
   */
  async run(
    tasks: readonly NamedTask[],
    { onDone, onRetry }: ShardEvents,
    signal?: AbortSignal,
  ): Promise<FailedShard[]> {
    this.#failedStarts = 0;
    const failed: FailedShard[] = [];
    const stop = new AbortController();
    const stops = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
    const make = async (named: NamedTask): Promise<void> => {
      for (let tries = 1; !stops.aborted; tries++) {
        const outcome = await this.#try(named, stops);
        if (outcome === "stopped") return;
        if (outcome === "made") {
          onDone(named.name);
          return;
        }
        const failure = { name: named.name, tries, error: outcome.message };
        // What is wrong with the input would be wrong again.
        if (outcome instanceof InputError || tries > this.options.retries) {
          failed.push(failure);
          return;
        }
        onRetry?.(failure);
      }
    };
    const made = tasks.map((named) =>
      this.#limit(make, named).catch((error: unknown) => {
        // The other processes finish what they have in hand.
        stop.abort(error instanceof CannotGoOn ? error.cause : error);
      }),
    );
    await Promise.all(made);
    stops.throwIfAborted();
    return failed;
  }

  async close(): Promise<void> {
    await Promise.all(this.#idle.splice(0).map((worker) => worker.close()));
  }

  /**
   * @returns an error that concerns this shard; "stopped" where there was no time to begin it: a process may take long to start
   * @throws CannotGoOn
   */
  async #try(named: NamedTask, stops: AbortSignal): Promise<"made" | "stopped" | Error> {
    let worker: ShardProcess | undefined;
    try {
      worker = await this.#take();
      if (stops.aborted) return "stopped";
      await worker.compute(named);
      return "made";
    } catch (error) {
      if (error instanceof CannotGoOn) throw error;
      if (error instanceof ModelChanged) throw new CannotGoOn(error.message, { cause: error });
      return asError(error);
    } finally {
      // One that died is left, and another one started in its place when there is need.
      if (worker?.alive) this.#idle.push(worker);
    }
  }

  async #take(): Promise<ShardProcess> {
    for (let worker = this.#idle.pop(); worker; worker = this.#idle.pop()) if (worker.alive) return worker;
    const started = new ShardProcess(this.options);
    try {
      await started.start();
      this.#failedStarts = 0;
      return started;
    } catch (error) {
      await started.close();
      if (error instanceof InputError) throw new CannotGoOn(error.message, { cause: error });
      this.#failedStarts++;
      if (this.#failedStarts <= this.options.retries) throw error;
      throw new CannotGoOn("no process starts", { cause: noneStarts(this.#failedStarts, error) });
    }
  }
}

function noneStarts(times: number, last: unknown): RunError {
  const text = last instanceof Error ? last.message : String(last);
  return new RunError(
    `LocalRunner: expected worker processes to start, got ${times} one after the other that did not; the last one: ${text}`,
    { cause: last },
  );
}
