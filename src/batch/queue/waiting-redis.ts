/**
 * @file A client of Redis whose commands wait. One that the server cannot carry out now is sent again until it can, whoever has sent
 * it: BullMQ gets this client, too, so that none of its parts sees an outage. A command or script that is refused has done nothing,
 * so sending it again does nothing twice. Commands inside a pipeline are not waited for: none of ours, and none of BullMQ's that we
 * use, is in one.
 */

import { type Command, Redis, type RedisOptions } from "ioredis";
import { RunError } from "../../errors.js";
import { type Outage, passingReason, textOf } from "./outage.js";

/** Between tries; the wait grows up to the larger one. */
const RETRY_STEP_MS = 100;
const MAX_RETRY_MS = 2000;

/** A server that became a replica has a successor under its name, perhaps: the name is looked up again so often. */
const LOOK_UP_MS = 10_000;

/** Of commands that take moments: they are waited for, and that is told. */
export const SILENT_MS = 15_000;

/** Sent by the client itself while it connects, and looked at there. */
const HANDSHAKE: readonly string[] = ["auth", "hello", "select", "client", "info", "readonly"];

/** They take as long as they say. */
const BLOCKING: readonly string[] = ["bzpopmin", "xread"];

/** A client, and those that were made from it. */
export interface WaitingRedis {
  readonly redis: Redis;
  /** Ends all connections; commands that wait fail. */
  disconnect(): void;
}

/**
 * A client that is not connected yet.
 * @param outage told of what waits
 * @param silentMs after how long without an answer a command is said to wait
 */
export function waitingRedis(options: RedisOptions, outage: Outage, silentMs = SILENT_MS): WaitingRedis {
  const all: Redis[] = [];
  const made = (more: Partial<RedisOptions> = {}): Redis => {
    const redis = new Redis({ ...options, ...patience(), ...more });
    all.push(redis);
    const commands = new CommandWatch(redis, outage, silentMs);
    redis.sendCommand = (...sent) => commands.send(...sent);
    // BullMQ has connections of its own for what blocks. Its types are those of any reply; ours are the usual ones.
    Object.defineProperty(redis, "duplicate", { value: made, writable: true, configurable: true });
    return redis;
  };
  return {
    redis: made(),
    disconnect() {
      for (const redis of all) redis.disconnect();
    },
  };
}

function patience(): RedisOptions {
  let lookedUpAt = Number.NEGATIVE_INFINITY;
  return {
    maxRetriesPerRequest: null,
    retryStrategy: retryMs,
    reconnectOnError(error) {
      if (!error.message.includes("READONLY") || performance.now() - lookedUpAt < LOOK_UP_MS) return false;
      lookedUpAt = performance.now();
      return true;
    },
  };
}

type Sent = Parameters<Redis["sendCommand"]>;

class CommandWatch {
  readonly #known = new WeakSet<Command>();
  readonly #send: (...sent: Sent) => unknown;

  constructor(
    readonly redis: Redis,
    readonly outage: Outage,
    readonly silentMs: number,
  ) {
    this.#send = redis.sendCommand.bind(redis);
  }

  send(...[command, stream]: Sent): unknown {
    const isHandshake = this.redis.status === "connect" && HANDSHAKE.includes(command.name);
    // Commands that wait for a connection pass here again.
    if (!stream && !isHandshake && !this.#known.has(command)) this.#watch(command);
    return this.#send(command, stream);
  }

  /** Sees to it that a command is settled when it is done or refused for good, and not before. */
  #watch(command: Command): void {
    this.#known.add(command);
    const { resolve, reject } = command;
    const silent = BLOCKING.includes(command.name.toLowerCase())
      ? undefined
      : setTimeout(() => this.outage.begin(command, "it does not answer"), this.silentMs).unref();
    const settle = () => {
      clearTimeout(silent);
      this.outage.end(command);
    };
    let tries = 0;
    const onError = (error: Error) => {
      const why = passingReason(error);
      if (why !== undefined && this.redis.status !== "end") {
        tries += 1;
        this.outage.begin(command, why);
        setTimeout(() => {
          // A script has put itself before it.
          command.reject = onError;
          this.#send(command);
        }, retryMs(tries));
        return;
      }
      settle();
      reject(isAnswer(error) ? this.#refusal(command, error) : error);
    };
    command.resolve = (result) => {
      settle();
      resolve(result);
    };
    command.reject = onError;
  }

  #refusal(command: Command, error: Error): RunError {
    return new RunError(
      `queue ${this.outage.shown}: expected the server to carry out ${command.name}, got ${textOf(error)}`,
      { cause: error },
    );
  }
}

/** Whether the server has refused a command for good, so that whoever needs it cannot go on. */
export function isRefusal(error: unknown): error is RunError {
  return error instanceof RunError && error.cause instanceof Error && isAnswer(error.cause);
}

function retryMs(times: number): number {
  return Math.min(times * RETRY_STEP_MS, MAX_RETRY_MS);
}

/** Whether the server itself has said no. A script that it does not know yet is sent again by the client. */
function isAnswer(error: Error): boolean {
  return error.name === "ReplyError" && !error.message.includes("NOSCRIPT");
}
