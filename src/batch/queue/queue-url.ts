/** @file Where the queue is: a URL with, perhaps, a password in it, taken apart once so that nothing else ever prints it. */

import type { RedisOptions } from "ioredis";
import { InputError } from "../../errors.js";

export interface QueueAddress {
  readonly redis: Pick<RedisOptions, "host" | "port" | "db" | "username" | "password" | "tls">;
  /** For people: scheme, host, port and number of the database; no user, no password. */
  readonly shown: string;
  /** Whether it is on this machine, by its name. */
  readonly isLocal: boolean;
}

const LOCAL = /^(localhost|127(\.\d+){3}|::1)$/;

const DEFAULT_PORT = 6379;
const EXPECTED = "expected redis://[user:password@]host[:port][/db] or rediss://… for TLS";

/**
 * Reads the URL of a Redis server.
 * @throws InputError; its text repeats nothing of a URL that may have a password
 */
export function parseQueueUrl(text: string): QueueAddress {
  const wrong = (got: string) => new InputError(`--queue: ${EXPECTED}, got ${got}`);
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw wrong("something that is not a URL");
  }
  // Without a scheme, what stands before the password's colon would be taken for one.
  if (url.protocol !== "redis:" && url.protocol !== "rediss:") throw wrong("another scheme");
  if (url.hostname === "") throw wrong("a URL without a host");
  if (url.search !== "" || url.hash !== "") throw wrong("a URL with something behind the database");
  const [, database] = /^\/?(\d{0,4})$/.exec(url.pathname) ?? [];
  if (database === undefined) throw wrong("a database that is not a number");
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  const port = url.port === "" ? DEFAULT_PORT : Number(url.port);
  const db = Number(database);
  const secure = url.protocol === "rediss:";
  let username: string;
  let password: string;
  try {
    username = decodeURIComponent(url.username);
    password = decodeURIComponent(url.password);
  } catch {
    throw wrong("a user or password with a % that is not followed by two hexadecimal digits");
  }
  return {
    redis: {
      host,
      port,
      db,
      ...(username !== "" && { username }),
      ...(password !== "" && { password }),
      ...(secure && { tls: {} }),
    },
    isLocal: LOCAL.test(host),
    shown: `${url.protocol}//${url.hostname}:${port}${db === 0 ? "" : `/${db}`}`,
  };
}
