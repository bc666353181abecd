/**
 * @file Where the stages of a job get their shards: those that are in the store are taken, the others are made by the runner.
 */

import { RunError } from "../errors.js";
import { formatNodeId } from "../nodes/node-id.js";
import { type NodeSpace, nodeAt } from "../nodes/node-space.js";
import type { Pair } from "../prompts/pair.js";
import type { Progress } from "../run-control.js";
import { type JobHashes, nameTask } from "./identity.js";
import type { ShardResult } from "./shard-result.js";
import type { FailedShard, ShardRunner } from "./shard-runner.js";
import type { NamedTask, Range, ShardTask } from "./shard-task.js";
import type { JobStage, ShardFailure, StatusFile } from "./status.js";
import type { ShardStore } from "./store.js";

/** Failures that the message of an incomplete job names; the status has all. */
const NAMED_FAILURES = 5;

/** Some shards could not be made; all others of the stage are in the store. */
export class IncompleteJob extends RunError {
  constructor(
    readonly failures: readonly ShardFailure[],
    total: number,
    statusFile: string,
  ) {
    const named = failures
      .slice(0, NAMED_FAILURES)
      .map(({ what, tries, error }) => `${what}: ${error} (${times(tries)})`);
    const more = failures.length - named.length;
    const rest = more > 0 ? `; and ${more} more, see ${statusFile}` : "";
    super(
      `runJob: stage ${failures[0].stage}: ${failures.length} of ${total} shards are missing: ${named.join("; ")}${rest}; run it again to try these alone`,
    );
  }
}

function times(tries: number): string {
  return tries === 1 ? "tried once" : `tried ${tries} times`;
}

export interface ShardSourceOptions {
  readonly jobHashes: JobHashes;
  readonly store: ShardStore;
  readonly runner: ShardRunner;
  readonly status: StatusFile;
  readonly space: NodeSpace;
  readonly pairs: readonly Pair[];
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
  readonly onNotice?: (text: string) => void;
}

/** What the shards of one kind have taken, whenever and by whom they were made. */
export interface KindEffort {
  readonly shards: number;
  /** Of workers, added up: not by the clock on the wall. */
  readonly seconds: number;
  readonly forwardEquivalents: number;
}

export interface Effort {
  readonly times: Readonly<Record<ShardTask["kind"], KindEffort>>;
  /** What has computed them, for people. */
  readonly devices: readonly string[];
}

const NO_EFFORT: KindEffort = { shards: 0, seconds: 0, forwardEquivalents: 0 };

export class ShardSource {
  readonly #times = { estimate: NO_EFFORT, verify: NO_EFFORT, sample: NO_EFFORT };
  readonly #read = new Set<string>();
  readonly #devices = new Set<string>();

  constructor(readonly options: ShardSourceOptions) {}

  /** Of all shards that were read. */
  get effort(): Effort {
    return { times: { ...this.#times }, devices: [...this.#devices].sort() };
  }

  /**
   * Sees to it that the shards of some tasks are in the store.
   * @returns the tasks under their names, in their order
   * @throws IncompleteJob where some could not be made; the signal's reason
   */
  async make(stage: JobStage, tasks: readonly ShardTask[]): Promise<readonly NamedTask[]> {
    const { jobHashes, store, status, signal, onNotice } = this.options;
    const named = tasks.map((task) => nameTask(jobHashes, task));
    const missing: NamedTask[] = [];
    for (const shard of named) {
      signal?.throwIfAborted();
      if (!(await store.has(shard.name))) missing.push(shard);
    }
    const there = named.length - missing.length;
    status.begin(stage, named.length, there);
    if (there > 0) onNotice?.(`${stage}: ${there} of ${named.length} shards are there already`);
    await this.#run(stage, named, missing);
    return named;
  }

  /**
   * The results of shards that were made, one at a time, in their order. One that was damaged since is made again.
   * @throws as `make` does
   */
  async *results(stage: JobStage, shards: readonly NamedTask[]): AsyncGenerator<ShardResult> {
    for (const shard of shards) {
      const result = await this.#readOrMake(stage, shard);
      this.#count(shard.name, result);
      yield result;
    }
  }

  async #readOrMake(stage: JobStage, shard: NamedTask): Promise<ShardResult> {
    const { store, status } = this.options;
    try {
      return await store.read(shard.name);
    } catch (error) {
      if (!(error instanceof RunError)) throw error;
    }
    status.again();
    await this.#run(stage, [shard], [shard]);
    return await store.read(shard.name);
  }

  async #run(stage: JobStage, all: readonly NamedTask[], missing: readonly NamedTask[]): Promise<void> {
    const { runner, status, signal, onProgress, onNotice } = this.options;
    if (missing.length === 0) return;
    const tasks = new Map(missing.map((shard) => [shard.name, shard.task]));
    const total = unitsOf([...tasks.values()]);
    let done = 0;
    const failed = await runner.run(
      missing,
      {
        onDone: (name) => {
          const task = tasks.get(name);
          // Whoever makes shards may make one twice.
          if (!task || !tasks.delete(name)) return;
          done += unitsOf([task]);
          status.advance();
          onProgress?.({ stage: task.kind, done, total });
        },
        onRetry: (failure) =>
          onNotice?.(`tried again: ${this.#describe(missing, failure)}: ${failure.error}`),
      },
      signal,
    );
    if (failed.length === 0) return;
    const failures = failed.map(
      (failure): ShardFailure => ({
        stage,
        shard: failure.name,
        what: this.#describe(missing, failure),
        tries: failure.tries,
        error: failure.error,
      }),
    );
    status.fail(failures);
    throw new IncompleteJob(failures, all.length, status.path);
  }

  #count(name: string, { task, seconds, device, forwardEquivalents }: ShardResult): void {
    if (this.#read.has(name)) return;
    this.#read.add(name);
    this.#devices.add(device);
    const before = this.#times[task.kind];
    this.#times[task.kind] = {
      shards: before.shards + 1,
      seconds: before.seconds + seconds,
      forwardEquivalents: before.forwardEquivalents + forwardEquivalents,
    };
  }

  #describe(shards: readonly NamedTask[], { name }: FailedShard): string {
    const shard = shards.find((each) => each.name === name);
    return shard ? describeTask(shard.task, this.options.space, this.options.pairs) : `shard ${name}`;
  }
}

/** How far a stage is, in what its progress counts: pairs that are estimated, or patched runs. */
function unitsOf(tasks: readonly ShardTask[]): number {
  const size = ({ first, end }: Range) => end - first;
  const units = (task: ShardTask) => {
    if (task.kind === "estimate") return size(task.pairs);
    return task.kind === "verify" ? size(task.pairs) * task.nodes.length : size(task.samples);
  };
  return tasks.reduce((sum, task) => sum + units(task), 0);
}

/** What a shard is about, for people. */
export function describeTask(task: ShardTask, space: NodeSpace, pairs: readonly Pair[]): string {
  if (task.kind === "sample") {
    const { first, end } = task.samples;
    return `samples ${first} to ${end - 1} of subsets with seed ${task.seed}`;
  }
  const { first, end } = task.pairs;
  const ofPairs = ends(pairs[first].origin, pairs[end - 1].origin, end - first, "pair");
  if (task.kind === "estimate") return `estimates of ${ofPairs}`;
  const [low, high] = [task.nodes[0], task.nodes[task.nodes.length - 1]].map((node) =>
    formatNodeId(nodeAt(space, node)),
  );
  return `${ends(low, high, task.nodes.length, "node")} on ${ofPairs}`;
}

function ends(first: string, last: string, count: number, what: string): string {
  return count === 1 ? `${what} ${first}` : `${count} ${what}s from ${first} to ${last}`;
}
