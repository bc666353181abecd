/** @file Who computes the shards of a job: processes of this machine, or workers behind a queue. */

import type { NamedTask } from "./shard-task.js";

/** A shard that was given up, after every try. */
export interface FailedShard {
  readonly name: string;
  readonly tries: number;
  /** Of the last try. */
  readonly error: string;
}

export interface ShardEvents {
  /** The shard is in the store, whole. */
  readonly onDone: (name: string) => void;
  /** A try failed; there may be others. */
  readonly onRetry?: (failed: FailedShard) => void;
}

export interface ShardRunner {
  /**
   * Sees to it that every shard gets into the job's store.
   *
   * @param tasks those that are not there yet
   * @param signal aborting it finishes the shards in hand and begins no other; the call rejects with the signal's reason then
   * @returns those that could not be made, once all others are done
   */
  run(tasks: readonly NamedTask[], events: ShardEvents, signal?: AbortSignal): Promise<FailedShard[]>;
  /** Ends workers that this runner has started. */
  close(): Promise<void>;
}
