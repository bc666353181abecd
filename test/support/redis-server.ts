/** @file A Redis server of the tests' own, on a free loopback port, with an append-only file in a folder that is removed. */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";

const BINARY = process.env.ATPKIT_REDIS_SERVER ?? "redis-server";

/** Whether the Debian package redis-server, or another, is installed. */
export function redisServerInstalled(): boolean {
  return spawnSync(BINARY, ["--version"]).status === 0;
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("expected a TCP port");
  return address.port;
}

export interface RedisServerOptions {
  readonly password?: string;
  /** Serves TLS only, with these files. */
  readonly tls?: { readonly certificate: string; readonly key: string };
}

export class RedisServer {
  #child: ChildProcess | undefined;

  private constructor(
    readonly port: number,
    readonly folder: string,
    readonly options: RedisServerOptions,
  ) {}

  static async start(options: RedisServerOptions = {}): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), await mkdtemp(join(tmpdir(), "atpkit-redis-")), options);
    await server.up();
    return server;
  }

  /** As it goes behind `--queue`. */
  get url(): string {
    const { password, tls } = this.options;
    const user = password === undefined ? "" : `:${encodeURIComponent(password)}@`;
    return `${tls ? "rediss" : "redis"}://${user}localhost:${this.port}`;
  }

  /** Starts it, on what its append-only file has. */
  async up(): Promise<void> {
    const { password, tls } = this.options;
    const port = String(this.port);
    const args = tls
      ? ["--port", "0", "--tls-port", port, "--tls-cert-file", tls.certificate, "--tls-key-file", tls.key]
      : ["--port", port];
    const child = spawn(
      BINARY,
      [
        ...[...args, "--bind", "127.0.0.1", "--appendonly", "yes", "--save", "", "--dir", this.folder],
        ...(tls ? ["--tls-auth-clients", "no"] : []),
        ...(password === undefined ? [] : ["--requirepass", password]),
      ],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    this.#child = child;
    await new Promise<void>((resolve, reject) => {
      let log = "";
      child.once("error", reject);
      child.once("exit", () => reject(new Error(`redis-server ended:\n${log}`)));
      child.stdout?.setEncoding("utf8").on("data", (text: string) => {
        log += text;
        if (log.includes("Ready to accept connections")) resolve();
      });
    });
  }

  /** Ends it: SIGTERM lets it write its file to the end, SIGKILL does not. */
  async down(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, "exit");
  }

  /** A connection for the test's own looks. */
  client(): Redis {
    const client = new Redis({
      host: "127.0.0.1",
      port: this.port,
      maxRetriesPerRequest: null,
      ...(this.options.password !== undefined && { password: this.options.password }),
    });
    // The server comes and goes.
    return client.on("error", () => {});
  }

  async remove(): Promise<void> {
    await this.down("SIGKILL");
    await rm(this.folder, { recursive: true, force: true });
  }
}
