/**
 * @file The connection to Redis. Once it was there, it is waited for whenever it goes away: commands wait in line, and come
 * through when the server is back. An outage is said once at its beginning and once at its end, not at every try.
 */

import { Redis } from "ioredis";
import { InputError, RunError } from "../../errors.js";
import type { QueueAddress } from "./queue-url.js";

/** Time for the first connection; a server that is just being started comes up in less. */
const FIRST_CONNECTION_MS = 8000;

/** Between tries; the wait grows up to the larger one. */
const RETRY_STEP_MS = 100;
const MAX_RETRY_MS = 2000;

/** What the server answers to a user or password that it does not take, in its various versions. */
const REFUSED = /^(WRONGPASS|NOAUTH|NOPERM|ERR AUTH|ERR invalid password|ERR Client sent AUTH)/;

/** What a server says that is there and cannot serve yet, or no more. */
const CONNECTION_ERROR =
  /ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|Connection is closed|Connection timed out|^LOADING|in cluster mode|max number of clients/;

export interface QueueConnection {
  readonly redis: Redis;
  readonly shown: string;
  /** Takes errors that BullMQ emits: those of the connection are part of the outage, others are said as they are. */
  readonly onError: (error: Error) => void;
  close(): void;
}

/**
 * Connects to Redis.
 * @param onNotice takes sentences about outages
 * @throws InputError for a refused user or password, a database that is not there, or a certificate that is not trusted;
 *   RunError where nothing answers for about ten seconds
 */
export async function connectQueue(
  address: QueueAddress,
  onNotice: (text: string) => void,
): Promise<QueueConnection> {
  const { shown } = address;
  const redis = new Redis({
    ...address.redis,
    lazyConnect: true,
    maxRetriesPerRequest: null,
    connectTimeout: FIRST_CONNECTION_MS,
    retryStrategy: (times) => Math.min(times * RETRY_STEP_MS, MAX_RETRY_MS),
  });
  await firstConnection(redis, shown);
  let away = false;
  let said = "";
  const onError = (error: Error) => {
    const message = textOf(error);
    if (!CONNECTION_ERROR.test(message)) {
      // The same error at every turn of a loop is one thing to know.
      if (message !== said) onNotice(`queue ${shown}: ${message}`);
      said = message;
    }
  };
  redis.on("error", onError);
  let closed = false;
  redis.on("close", () => {
    if (away || closed) return;
    away = true;
    onNotice(`queue ${shown}: the connection is lost; waiting for it to come back`);
  });
  redis.on("ready", () => {
    if (!away) return;
    away = false;
    onNotice(`queue ${shown}: connected again`);
  });
  return {
    redis,
    shown,
    onError,
    close() {
      closed = true;
      redis.disconnect();
    },
  };
}

async function firstConnection(redis: Redis, shown: string): Promise<void> {
  let last: Error | undefined;
  let timer: NodeJS.Timeout | undefined;
  const listeners = new AbortController();
  try {
    await new Promise<void>((resolve, reject) => {
      const refuse = (error: Error) => {
        last = error;
        const text = textOf(error);
        if (REFUSED.test(text)) {
          reject(new InputError(`--queue: ${shown} refuses the user or password: ${text}`));
        } else if (/ERR DB index|invalid DB index/i.test(text)) {
          reject(new InputError(`--queue: ${shown} has no such database: ${text}`));
        } else if (isCertificateError(error)) {
          reject(
            new InputError(
              `--queue: ${shown} has a certificate that is not trusted: ${text}. For an authority of your own, name its file in NODE_EXTRA_CA_CERTS.`,
            ),
          );
        }
      };
      redis.on("error", refuse);
      redis.once("ready", resolve);
      listeners.signal.addEventListener("abort", () => {
        redis.off("error", refuse);
        redis.off("ready", resolve);
      });
      timer = setTimeout(
        () =>
          reject(
            new RunError(
              `queue: expected a Redis server at ${shown}, got ${last ? textOf(last) : "no answer"}`,
            ),
          ),
        FIRST_CONNECTION_MS,
      );
      redis.connect().catch(refuse);
    });
  } catch (error) {
    redis.on("error", () => {});
    redis.disconnect();
    throw error;
  } finally {
    clearTimeout(timer);
    listeners.abort();
  }
}

function isCertificateError(error: Error): boolean {
  const code = "code" in error ? String(error.code) : "";
  return /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|ERR_TLS/.test(code);
}

/** Waits for an ending, but not longer than this: Redis may be away for good. */
export async function atMost(milliseconds: number, ending: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds);
  });
  try {
    await Promise.race([ending, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** An error of several addresses of one host has an empty message and the others inside. */
function textOf(error: Error): string {
  if (error instanceof AggregateError && error.message === "") {
    return error.errors.map((inner) => (inner instanceof Error ? inner.message : String(inner))).join("; ");
  }
  return error.message;
}
