/**
 * @file One child process that holds an engine and a model and makes shards, one at a time. A process and not a thread: an
 * engine is one per process, and what kills it (a crash of a native library, the system's killer when memory runs out) must not
 * take the job with it. Shards do not pass through the parent: the child writes them into the store itself.
 */

import type { ChildProcess } from "node:child_process";
import { setTimeout } from "node:timers/promises";
import { ModelChanged } from "../../checkpoint/model-hash.js";
import { InputError, RunError } from "../../errors.js";
import { forkProgram } from "../../node-entry.js";
import { shown } from "../../shown-text.js";
import type { NamedTask } from "../shard-task.js";
import { type ChildMessage, childMessageSchema, type ParentMessage, type ShardPlaces } from "./messages.js";

/** The process ended with a shard in hand or before it was ready: it was killed, or it crashed. */
export class ShardProcessDied extends RunError {}

/** How long a process without a shard in hand may take to end before it is killed. */
const END_MS = 5000;

/** Of an answer that is none. */
const SHOWN_CHARACTERS = 200;

export interface ShardProcessOptions extends ShardPlaces {
  /** Of the engine's library; default: as many as it takes by itself. */
  readonly threads?: number;
}

interface Question {
  readonly answer: (message: ChildMessage) => void;
  readonly fail: (error: Error) => void;
}

export class ShardProcess {
  #child: ChildProcess | undefined;
  #question: Question | undefined;
  #inHand: Promise<unknown> = Promise.resolve();
  #ended: Promise<void> = Promise.resolve();

  constructor(readonly options: ShardProcessOptions) {}

  /** Undefined where there is no running process. */
  get pid(): number | undefined {
    return this.alive ? this.#child?.pid : undefined;
  }

  /** Whether it can be given a shard: started, and not ended. */
  get alive(): boolean {
    const child = this.#child;
    return child?.connected === true && child.exitCode === null && child.signalCode === null;
  }

  /**
   * Starts the process, its engine and the model. Once.
   * @returns what computes, for people
   * @throws InputError for an engine that is not there, or a model or job that cannot be read; ModelChanged, one of them, where the
   *   model is not the one that was hashed; ShardProcessDied
   */
  async start(): Promise<string> {
    const { threads, ...places } = this.options;
    const child = startChild(threads);
    this.#child = child;
    this.#ended = new Promise((resolve) => {
      const end = (why: string) => {
        this.#question?.fail(new ShardProcessDied(`worker process ${child.pid ?? ""} ${why}`));
        resolve();
      };
      child.once("exit", (code, signal) => end(`ended with ${signal ?? `exit code ${code}`}`));
      // More than one may come, and one that nobody listens to would end this process.
      child.on("error", (error) =>
        end(`${child.pid === undefined ? "did not start" : "failed"}: ${error.message}`),
      );
    });
    child.on("message", (message) => this.#hear(message));
    const reply = await this.#ask({ kind: "start", places });
    if (reply.kind !== "ready")
      throw new Error(`ShardProcess: expected a process to be ready, got ${reply.kind}`);
    return reply.device;
  }

  /**
   * Makes a shard; when this resolves it is in the store, whole. One at a time.
   * @throws InputError (ModelChanged among them) or RunError as the work did; ShardProcessDied where the process ended: make
   *   another one then
   */
  async compute(named: NamedTask): Promise<void> {
    await this.#ask({ kind: "compute", named });
  }

  /** Ends the process once it has finished the shard in hand. */
  async close(): Promise<void> {
    await this.#inHand;
    const child = this.#child;
    if (!child) return;
    // A child without its parent ends: see shard-process-main.ts.
    if (child.connected) child.disconnect();
    const killer = new AbortController();
    setTimeout(END_MS, undefined, { signal: killer.signal }).then(
      () => child.kill("SIGKILL"),
      () => {},
    );
    await this.#ended;
    killer.abort();
  }

  #hear(message: unknown): void {
    const { data } = childMessageSchema.safeParse(message);
    if (data) this.#question?.answer(data);
    else
      this.#question?.fail(
        new RunError(
          `worker process ${this.#child?.pid}: expected an answer, got ${shown(message, SHOWN_CHARACTERS)}`,
        ),
      );
  }

  async #ask(message: ParentMessage): Promise<ChildMessage> {
    const child = this.#child;
    if (this.#question) throw new Error("ShardProcess: expected one shard at a time, got a second one");
    if (!child || !this.alive) throw new ShardProcessDied("worker process: expected one that runs, got none");
    const reply = new Promise<ChildMessage>((resolve, reject) => {
      this.#question = { answer: resolve, fail: reject };
      child.send(message, (error) => {
        if (error)
          reject(new ShardProcessDied(`worker process ${child.pid} does not listen: ${error.message}`));
      });
    }).finally(() => {
      this.#question = undefined;
    });
    this.#inHand = reply.catch(() => {});
    const answer = await reply;
    if (answer.kind !== "failed") return answer;
    throw failureOf(answer);
  }
}

function failureOf({ fault, message }: Extract<ChildMessage, { kind: "failed" }>): Error {
  if (fault === "model") return new ModelChanged(message);
  return fault === "input" ? new InputError(message) : new RunError(message);
}

function startChild(threads: number | undefined): ChildProcess {
  // TensorFlow reads its threads from the environment.
  const count =
    threads === undefined
      ? {}
      : { TF_NUM_INTRAOP_THREADS: String(threads), TF_NUM_INTEROP_THREADS: String(threads) };
  return forkProgram(new URL("./shard-process-main.js", import.meta.url), {
    env: { ...process.env, ...count },
    // Only results go to the parent's stdout.
    stdio: ["ignore", 2, 2, "ipc"],
  });
}
