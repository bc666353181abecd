import { spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { connectQueue } from "../../../src/batch/queue/connection.js";
import { parseQueueUrl } from "../../../src/batch/queue/queue-url.js";
import { InputError, RunError } from "../../../src/errors.js";
import { DEMO, runCli } from "../../cli/run-cli.js";
import { freePort, RedisServer } from "../../support/redis-server.js";
import { skipReason, titled } from "./queue-case.js";

/** What this file starts is compiled: many processes. */
vi.mock(import("../../../src/node-entry.js"), () => import("../../support/compiled-entry.js"));

describe("URLs of queues", () => {
  it("have a host, and may have a port, a user, a password and a database", () => {
    expect(parseQueueUrl("redis://redis.example")).toEqual({
      redis: { host: "redis.example", port: 6379, db: 0 },
      shown: "redis://redis.example:6379",
      isLocal: false,
    });
    expect(parseQueueUrl("rediss://me:p%40ss%2F@redis.example:7000/3")).toEqual({
      redis: { host: "redis.example", port: 7000, db: 3, username: "me", password: "p@ss/", tls: {} },
      shown: "rediss://redis.example:7000/3",
      isLocal: false,
    });
    expect(parseQueueUrl("redis://:secret@[::1]:6380").redis).toEqual({
      host: "::1",
      port: 6380,
      db: 0,
      password: "secret",
    });
    const local = ["localhost", "127.0.0.1", "127.1.2.3", "[::1]", "localhost.example", "128.0.0.1"];
    expect(local.map((host) => parseQueueUrl(`redis://${host}`).isLocal)).toEqual([
      ...[true, true, true, true],
      ...[false, false],
    ]);
  });

  it.each([
    ["redis.example/secret", "got something that is not a URL"],
    ["secret:6379@redis.example", "got another scheme"],
    ["https://me:secret@redis.example", "got another scheme"],
    ["redis://", "got a URL without a host"],
    ["redis://me:secret@redis.example/name", "got a database that is not a number"],
    ["redis://me:secret@redis.example?db=secret", "got a URL with something behind the database"],
    ["redis://me:secret%zz@redis.example", "a % that is not followed by two hexadecimal digits"],
  ])("%s is refused, without a word of the password", (url, text) => {
    expect(() => parseQueueUrl(url)).toThrow(InputError);
    expect(() => parseQueueUrl(url)).toThrow(`--queue: expected redis://[user:password@]host[:port][/db]`);
    expect(() => parseQueueUrl(url)).toThrow(text);
    expect(() => parseQueueUrl(url)).not.toThrow("secret");
  });
});

describe.skipIf(skipReason() !== undefined)(titled("connections"), () => {
  let folder: string;
  let open: RedisServer;
  let tls: RedisServer;
  let certificate: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "atpkit-tls-"));
    certificate = join(folder, "certificate.pem");
    const key = join(folder, "key.pem");
    const made = spawnSync("openssl", [
      ...["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"],
      ...["-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
    ]);
    expect(made.status, String(made.stderr)).toBe(0);
    [open, tls] = await Promise.all([
      RedisServer.start({ password: "right" }),
      RedisServer.start({ password: "right", tls: { certificate, key } }),
    ]);
  });

  afterAll(async () => {
    await Promise.all([open.remove(), tls.remove()]);
    await rm(folder, { recursive: true, force: true });
  });

  const connect = (url: string) => connectQueue(parseQueueUrl(url), () => {});

  it("a server that is not there is a RunError within ten seconds that names host and port", async () => {
    const port = await freePort();
    const began = performance.now();
    const failed = connect(`redis://me:secret@localhost:${port}`);
    await expect(failed).rejects.toThrow(RunError);
    await expect(failed).rejects.toThrow(`queue: expected a Redis server at redis://localhost:${port}, got`);
    await expect(failed).rejects.toThrow("ECONNREFUSED");
    await expect(failed).rejects.not.toThrow("secret");
    expect(performance.now() - began).toBeLessThan(10_000);
  });

  it("a wrong password is refused at once, and not shown", async () => {
    const failed = connect(open.url.replace("right", "wrong"));
    await expect(failed).rejects.toThrow(InputError);
    await expect(failed).rejects.toThrow(
      `--queue: redis://localhost:${open.port} refuses the user or password: WRONGPASS`,
    );
    const without = connect(open.url.replace(":right@", ""));
    await expect(without).rejects.toThrow(`refuses the user or password: NOAUTH`);
  });

  it("a database that the server does not have is refused", async () => {
    await expect(connect(`${open.url}/9999`)).rejects.toThrow(
      `--queue: redis://localhost:${open.port}/9999 has no such database`,
    );
  });

  it("a certificate of nobody known is refused, and taken with NODE_EXTRA_CA_CERTS", async () => {
    await expect(connect(tls.url)).rejects.toThrow(
      `--queue: rediss://localhost:${tls.port} has a certificate that is not trusted: self-signed certificate`,
    );
    const { code, stderr } = await runCli(["worker", "--model", DEMO, "--exit-when-idle", "1"], {
      env: { ATPKIT_QUEUE: tls.url, NODE_EXTRA_CA_CERTS: certificate },
    });
    expect(stderr).toMatch(
      new RegExp(`^atp: worker for .*, hash [0-9a-f]{12}…, at rediss://localhost:${tls.port}$`, "m"),
    );
    expect(stderr).toContain("atp: worker: ended, 0 shards made");
    expect(code).toBe(0);
  });
});
