/**
 * @file The connection to Redis. Once it was there, it is waited for whenever it goes away or cannot do its work: commands wait in
 * line, and come through when the server is back. An outage is said once at its beginning and once at its end, not at every try.
 */

import { setTimeout as delay } from "node:timers/promises";
import type { Redis } from "ioredis";
import { InputError, RunError } from "../../errors.js";
import { Outage, passingReason, textOf } from "./outage.js";
import type { QueueAddress } from "./queue-url.js";
import { SILENT_MS, type WaitingRedis, waitingRedis } from "./waiting-redis.js";

/** Time for the first connection; a server that is just being started comes up in less. */
const FIRST_CONNECTION_MS = 8000;

/** What a server that has not let anybody in by then may take to say whether it is loading its data. */
const LOADING_MS = 1000;

/** What the server answers to a user or password that it does not take, in its various versions. */
const REFUSED = /^(WRONGPASS|NOAUTH|NOPERM|ERR AUTH|ERR invalid password|ERR Client sent AUTH)/;

export interface QueueConnection {
  readonly redis: Redis;
  readonly shown: string;
  /** Whether something waits for the server now. */
  readonly outage: Outage;
  /** Takes errors that BullMQ emits: those of an outage are part of it, others are said as they are. */
  readonly onError: (error: Error) => void;
  close(): void;
}

export interface ConnectOptions {
  /** Aborting it gives up connecting. */
  readonly signal?: AbortSignal;
  /** After how long it is told that the server does not answer. */
  readonly silentMs?: number;
}

/**
 * Connects to Redis.
 * @param onNotice takes sentences about outages
 * @throws InputError for a refused user or password, a database that is not there, or a certificate that is not trusted;
 *   RunError where nothing answers for about ten seconds; the signal's reason
 */
export async function connectQueue(
  address: QueueAddress,
  onNotice: (text: string) => void,
  { signal, silentMs = SILENT_MS }: ConnectOptions = {},
): Promise<QueueConnection> {
  const { shown } = address;
  const outage = new Outage(shown, onNotice);
  const waiting = waitingRedis(
    { ...address.redis, lazyConnect: true, connectTimeout: FIRST_CONNECTION_MS },
    outage,
    silentMs,
  );
  const { redis } = waiting;
  await firstConnection(waiting, outage, signal);
  let said = "";
  const onError = (error: Error) => {
    const message = textOf(error);
    // The same error at every turn of a loop is one thing to know.
    if (passingReason(error) === undefined && message !== said) onNotice(`queue ${shown}: ${message}`);
    said = message;
  };
  redis.on("error", onError);
  let closed = false;
  redis.on("close", () => {
    if (!closed) outage.begin(redis, "the connection is lost");
  });
  redis.on("ready", () => outage.end(redis));
  return {
    redis,
    shown,
    outage,
    onError,
    close() {
      closed = true;
      outage.close();
      waiting.disconnect();
    },
  };
}

async function firstConnection(
  { redis, disconnect }: WaitingRedis,
  outage: Outage,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { shown } = outage;
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
      const abort = () => reject(signal?.reason);
      redis.on("error", refuse);
      redis.once("ready", resolve);
      signal?.addEventListener("abort", abort);
      listeners.signal.addEventListener("abort", () => {
        redis.off("error", refuse);
        redis.off("ready", resolve);
        signal?.removeEventListener("abort", abort);
      });
      if (signal?.aborted) abort();
      const giveUp = async () => {
        if (await isLoading(redis)) outage.begin(redis, "it is loading its data");
        else
          reject(
            new RunError(
              `queue: expected a Redis server at ${shown}, got ${last ? textOf(last) : "no answer"}`,
            ),
          );
      };
      timer = setTimeout(() => void giveUp(), FIRST_CONNECTION_MS);
      redis.connect().catch(refuse);
    });
    outage.end(redis);
  } catch (error) {
    redis.on("error", () => {});
    disconnect();
    throw error;
  } finally {
    clearTimeout(timer);
    listeners.abort();
  }
}

/** Whether it is there, and lets nobody in before it has read its data. */
async function isLoading(redis: Redis): Promise<boolean> {
  if (redis.status !== "connect") return false;
  const info = redis.info("persistence").catch(() => "");
  const late = delay(LOADING_MS, "", { ref: false });
  return /^loading:1/m.test(await Promise.race([info, late]));
}

function isCertificateError(error: Error): boolean {
  const code = "code" in error ? String(error.code) : "";
  return /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|ERR_TLS/.test(code);
}

/** Waits for an ending, but not longer than this, and not for a server that is away: it may be so for good. */
export async function atMost(milliseconds: number, ending: Promise<unknown>, outage: Outage): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds);
  });
  try {
    await Promise.race([ending, late, outage.begun()]);
  } finally {
    clearTimeout(timer);
  }
}
