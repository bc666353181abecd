/** Real servers that are full, read-only, silent or gone, while workers, coordinators and status are there. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import type { PreparedJob } from "../../../src/batch/prepare-job.js";
import { connectQueue } from "../../../src/batch/queue/connection.js";
import { Outage, passingReason } from "../../../src/batch/queue/outage.js";
import { parseQueueUrl } from "../../../src/batch/queue/queue-url.js";
import { readSubmission } from "../../../src/batch/queue/submission.js";
import { queueStatusOf } from "../../../src/cli/batch-queue-status.js";
import { RunError } from "../../../src/errors.js";
import { DEMO, resultOf, startCli } from "../../cli/run-cli.js";
import { freePort, RedisServer } from "../../support/redis-server.js";
import {
  outputsOf,
  QUICK,
  runLocally,
  runQueued,
  SLOW,
  skipReason,
  startWorker,
  titled,
  writeJob,
} from "./queue-case.js";

/** What this file starts is compiled: many processes. */
vi.mock(import("../../../src/node-entry.js"), () => import("../../support/compiled-entry.js"));

describe("what is waited out", () => {
  it.each([
    ["OOM command not allowed when used memory > 'maxmemory'.", "it is full"],
    // As servers before 7 say it from inside a script.
    ["ERR Error running script (call to f_1): @user_script:9: -OOM command not allowed", "it is full"],
    ["READONLY You can't write against a read only replica.", "it is read-only"],
    ["UNBLOCKED force unblock from blocking operation, instance state changed", "it is read-only"],
    ["LOADING Redis is loading the dataset in memory", "it is loading its data"],
    ["MASTERDOWN Link with MASTER is down", "its master is away"],
    ["CLUSTERDOWN Hash slot not served", "its cluster is down"],
    ["TRYAGAIN Multiple keys request during rehashing of slot", "its cluster is moving data"],
    ["BUSY Redis is busy running a script.", "it is busy with a script"],
    ["NOREPLICAS Not enough good replicas to write.", "it has too few replicas"],
    ["MISCONF Redis is configured to save RDB snapshots", "it cannot write to its disk"],
    ["ERR max number of clients reached", "it has too many clients"],
    ["connect ECONNREFUSED 127.0.0.1:6379", "the connection is lost"],
    ["Connection is closed.", "the connection is lost"],
  ])("%s", (text, meaning) => {
    expect(passingReason(new Error(text))).toBe(`${meaning} (${text})`);
  });

  it.each([
    "NOAUTH Authentication required.",
    "WRONGPASS invalid username-password pair",
    "NOPERM User default has no permissions to run the 'zadd' command",
    "WRONGTYPE Operation against a key holding the wrong kind of value",
    "ERR unknown command 'EVALSHA'",
    "BUSYGROUP Consumer Group name already exists",
    "something else",
  ])("but not %s", (text) => {
    expect(passingReason(new Error(text))).toBeUndefined();
  });

  it("an outage is told once at its beginning and once at its end, whatever waits in it", async () => {
    const told: string[] = [];
    const outage = new Outage("redis://here:1", (text) => told.push(text));
    const begun = outage.begun().then(() => told.push("begun"));
    const [one, other] = [{}, {}];
    outage.end(one);
    expect(told).toEqual([]);
    outage.begin(one, "it is full");
    await begun;
    outage.begin(other, "the connection is lost");
    outage.begin(one, "it is full");
    outage.end(one);
    expect(outage.now).toBe(true);
    outage.end(other);
    expect(outage.now).toBe(false);
    expect(told).toEqual([
      expect.stringMatching(/^queue redis:\/\/here:1: it is full since 20\S+Z; waiting until that is over$/),
      "begun",
      "queue redis://here:1: it answers again, after 0 s",
    ]);
  });
});

describe.skipIf(skipReason() !== undefined)(titled("outages"), () => {
  let folder: string;
  let redis: RedisServer;
  let admin: Redis;
  let local: PreparedJob;
  let outputs: Awaited<ReturnType<typeof outputsOf>>;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "atpkit-outages-"));
    redis = await RedisServer.start();
    admin = redis.client();
    local = await runLocally(await writeJob(join(folder, "local"), SLOW));
    outputs = await outputsOf(local.outputFolder);
  });

  afterEach(async () => {
    await writable();
    await admin.flushdb();
  });

  afterAll(async () => {
    admin.disconnect();
    await redis.remove();
    await rm(folder, { recursive: true, force: true });
  });

  const full = () => admin.config("SET", "maxmemory", "1", "maxmemory-policy", "noeviction");
  const replica = async () => admin.call("replicaof", "127.0.0.1", String(await freePort()));
  async function writable(): Promise<void> {
    await admin.config("SET", "maxmemory", "0");
    await admin.call("replicaof", "no", "one");
  }

  const start = () => ({
    url: redis.url,
    times: QUICK,
    model: {
      name: "demo",
      folder: local.modelFolder,
      hash: local.job.model.hash,
      files: local.modelFiles,
    },
  });

  async function inHand(outputFolder: string): Promise<void> {
    for (;;) {
      const submission = (await readSubmission(outputFolder))?.submission;
      if (submission !== undefined && (await admin.llen(`atpkit:${submission}:active`)) > 0) return;
      await delay(20);
    }
  }

  const saying = (notices: readonly string[], text: string) =>
    notices.filter((notice) => notice.includes(text));

  // Both where tests may take their time.
  const breaks: (readonly [name: string, how: () => Promise<unknown>, text: string])[] = [
    ["full", full, "it is full"],
    ["read-only", replica, "it is read-only"],
  ];
  it.each(breaks.slice(0, process.env.CI ? 2 : 1))(
    "a job whose server is %s at its beginning and in its middle is made to its end, the same",
    async (name, break_, text) => {
      const file = await writeJob(join(folder, name), SLOW);
      await break_();
      const worker = startWorker(start());
      const notices: string[] = [];
      const queued = runQueued(file, redis.url, { notices });
      await worker.says(text);
      while (saying(notices, text).length === 0) await delay(20);
      await writable();
      await inHand(join(dirname(file), "out"));
      await break_();
      // Longer than a worker's hold on its shard lasts.
      await delay(QUICK.lockMs + 1000);
      await writable();
      const { done, outputFolder } = await queued;
      expect(await outputsOf(outputFolder)).toEqual(outputs);
      expect(new Set(done).size).toBe(6);
      expect(done).toHaveLength(6);
      // Once for each outage, at both ends of it; not at every try.
      for (const said of [notices, worker.notices]) {
        expect(saying(said, "waiting until that is over")).toHaveLength(2);
        expect(saying(said, "answers again")).toHaveLength(2);
      }
      worker.child.kill("SIGTERM");
      await worker.says("ended:");
      // Nor does the result stay of a shard that was taken for lost meanwhile.
      expect(await admin.keys("atpkit:result:*")).toEqual([]);
    },
  );

  it("status reads from a server that takes no writes, and gives up on one that is silent", async () => {
    const signal = new AbortController().signal;
    const ask = (answerMs: number) =>
      queueStatusOf({ queue: redis.url, prefix: "atpkit" }, local.outputFolder, signal, answerMs);
    await admin.hset("atpkit:workers", "gone", "{}");
    const none = { waiting: 0, active: 0, made: 0, retried: 0, failed: 0 };
    for (const break_ of [full, replica]) {
      await break_();
      expect(await ask(10_000)).toEqual({ shards: none, workers: [] });
      await writable();
    }
    await admin.client("PAUSE", 1500, "ALL");
    const began = performance.now();
    const error = await ask(500).catch((error: unknown) => error);
    expect(error).toEqual(
      new RunError(`queue: expected an answer of redis://localhost:${redis.port} within 0.5 s, got none`),
    );
    expect(performance.now() - began).toBeLessThan(1500);
    await admin.ping();
  });

  it("a server that does not answer is told of, and waited for", async () => {
    const told: string[] = [];
    const connection = await connectQueue(parseQueueUrl(redis.url), (text) => told.push(text), {
      silentMs: 300,
    });
    await admin.client("PAUSE", 1000, "ALL");
    await connection.redis.set("atpkit:x", "1");
    expect(told).toEqual([
      expect.stringContaining(": it does not answer since "),
      expect.stringMatching(/: it answers again, after \d s$/),
    ]);
    connection.close();
  });

  it("what the server refuses for good ends a worker, in a sentence", async () => {
    await admin.set("atpkit:submissions", "x");
    const run = () => resultOf(startCli(["worker", "--model", DEMO, "--queue", redis.url]));
    const wrongType = await run();
    expect(wrongType.code).toBe(1);
    expect(wrongType.stderr).toContain(
      `atp: error: queue redis://localhost:${redis.port}: expected the server to carry out zrange, got WRONGTYPE`,
    );
    await admin.call("acl", "setuser", "few", "on", ">secret", "~*", "+@all", "-hset");
    const url = redis.url.replace("redis://", "redis://few:secret@");
    await admin.del("atpkit:submissions");
    const { code, stderr } = await resultOf(startCli(["worker", "--model", DEMO, "--queue", url]));
    expect(code).toBe(1);
    expect(stderr).toMatch(/: expected the server to carry out hset, got NOPERM .*hset/);
    expect(stderr).not.toContain("secret");
    await admin.call("acl", "deluser", "few");
  });

  it("Ctrl-C ends what waits at once: 130; a worker that SIGTERM stops has done what it was asked for: 0", async () => {
    const file = await writeJob(join(folder, "interrupted"));
    await full();
    const began = (args: readonly string[]) => {
      const child = startCli([...args, "--queue", redis.url]);
      const told = new Promise<void>((resolve) => {
        child.stderr.on("data", (text) => {
          if (String(text).includes("it is full (")) resolve();
        });
      });
      return { child, told, result: resultOf(child) };
    };
    const stopped = began(["worker", "--model", DEMO]);
    const worker = began(["worker", "--model", DEMO]);
    const coordinator = began(["batch", "submit", file]);
    await Promise.all([stopped.told, worker.told, coordinator.told]);
    const at = performance.now();
    stopped.child.kill("SIGTERM");
    for (const { child } of [worker, coordinator]) child.kill("SIGINT");
    const ends = await Promise.all([stopped.result, worker.result, coordinator.result]);
    expect(performance.now() - at).toBeLessThan(3000);
    expect(ends.map(({ code }) => code)).toEqual([0, 130, 130]);
    const [term, int, submit] = ends.map(({ stderr }) => stderr);
    expect(term).toMatch(/^atp: worker: ended, 0 shards made$/m);
    expect(int).toMatch(/^atp: interrupted by SIGINT; no shard was made$/m);
    expect(submit).toMatch(/^atp: interrupted by SIGINT; what is queued stays there, and workers go on/m);
  });

  it("a result that cannot be handed in does not hold a worker that is stopped", async () => {
    const file = await writeJob(join(folder, "held"), SLOW);
    const stop = new AbortController();
    const queued = runQueued(file, redis.url, { signal: stop.signal }).catch((error: unknown) => error);
    const worker = startWorker(start());
    await inHand(join(dirname(file), "out"));
    await full();
    await worker.says("it is full (");
    worker.child.kill("SIGTERM");
    await worker.says("the shard in hand cannot be handed in; others will make it again");
    await worker.says("ended: 0 made");
    stop.abort(new Error("enough"));
    expect(await queued).toEqual(new Error("enough"));
  });
});
