/**
 * @file What of Redis is waited out, and how it is told. A server that is full, read-only, loading or away is so for a while, and
 * somebody is mending it: work waits and goes on. What it refuses for good (a password, a right, a key of another kind) it would
 * refuse for ever. This is the one place that tells the two apart.
 */

import { asError } from "../../errors.js";

/**
 * Beginnings of what a server says that cannot do its work now, and what that means. Servers before 7 say it from inside a script,
 * behind a dash.
 */
const PASSING: readonly (readonly [code: string, meaning: string])[] = [
  ["OOM", "it is full"],
  ["READONLY", "it is read-only"],
  // A command that waited for a shard when the server became a replica.
  ["UNBLOCKED", "it is read-only"],
  ["LOADING", "it is loading its data"],
  ["MASTERDOWN", "its master is away"],
  ["CLUSTERDOWN", "its cluster is down"],
  ["TRYAGAIN", "its cluster is moving data"],
  ["BUSY", "it is busy with a script"],
  ["NOREPLICAS", "it has too few replicas"],
  ["MISCONF", "it cannot write to its disk"],
  ["ERR max number of clients", "it has too many clients"],
];

/** What is said of a connection that is not there, by the system or by the client. */
const CONNECTION_ERROR =
  /ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|Connection is closed|Connection timed out|Socket timeout|Command aborted/;

/**
 * Why something is to be tried again; undefined for an error that will not pass.
 * @param error of a command or a connection
 */
export function passingReason(error: Error): string | undefined {
  const text = textOf(error);
  const [, meaning] =
    PASSING.find(([code]) => text.startsWith(`${code} `) || text.includes(` -${code} `)) ?? [];
  if (meaning !== undefined) return `${meaning} (${text})`;
  return CONNECTION_ERROR.test(text) ? `the connection is lost (${text})` : undefined;
}

/** An error of several addresses of one host has an empty message and the others inside. */
export function textOf(error: Error): string {
  if (error instanceof AggregateError && error.message === "") {
    return error.errors.map((inner) => asError(inner).message).join("; ");
  }
  return error.message;
}

/** A time in which something waits for Redis. It is told once at its beginning and once at its end, whatever all waits. */
export class Outage {
  readonly #waiting = new Set<object>();
  readonly #listeners = new Set<() => void>();
  #since = 0;

  /**
   * @param shown the server, for people
   * @param onNotice told of beginning and end
   */
  constructor(
    readonly shown: string,
    readonly onNotice: (text: string) => void,
  ) {}

  /** Whether something waits now. */
  get now(): boolean {
    return this.#waiting.size > 0;
  }

  /**
   * Something waits from now on.
   * @param who waits: a command or a connection
   * @param why as in "the connection is lost"
   */
  begin(who: object, why: string): void {
    const isFirst = !this.now;
    this.#waiting.add(who);
    if (!isFirst) return;
    this.#since = performance.now();
    this.onNotice(
      `queue ${this.shown}: ${why} since ${new Date().toISOString()}; waiting until that is over`,
    );
    for (const listener of this.#listeners) listener();
    this.#listeners.clear();
  }

  /** It does not wait any more. */
  end(who: object): void {
    if (!this.#waiting.delete(who) || this.now) return;
    const seconds = Math.round((performance.now() - this.#since) / 1000);
    this.onNotice(`queue ${this.shown}: it answers again, after ${seconds} s`);
  }

  /** Resolves when something waits: at once, or when it first does. */
  begun(): Promise<void> {
    if (this.now) return Promise.resolve();
    return new Promise((resolve) => {
      this.#listeners.add(resolve);
    });
  }

  /** Nothing waits any more, and nothing is said about it. */
  close(): void {
    this.#waiting.clear();
  }
}
