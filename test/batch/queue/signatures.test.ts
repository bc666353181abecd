/** Jobs and results that are signed, those that are not, and what somebody without the key can do with either. */

import { createHmac } from "node:crypto";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Queue, Worker } from "bullmq";
import type { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import type { PreparedJob } from "../../../src/batch/prepare-job.js";
import { connectQueue, type QueueConnection } from "../../../src/batch/queue/connection.js";
import { queueKeys } from "../../../src/batch/queue/keys.js";
import {
  isSignedDone,
  isSignedJob,
  isSignedShard,
  shardMessage,
  signDone,
  signedFailure,
  signFailure,
  signJob,
} from "../../../src/batch/queue/messages.js";
import { QueueKey, queueKeyOf } from "../../../src/batch/queue/queue-key.js";
import { readQueueStatus } from "../../../src/batch/queue/queue-status.js";
import { parseQueueUrl } from "../../../src/batch/queue/queue-url.js";
import { putResult } from "../../../src/batch/queue/result-pieces.js";
import { announce, numberSubmission, readSubmission } from "../../../src/batch/queue/submission.js";
import { bytesAsSource, readShard, shardPieces } from "../../../src/batch/shard-file.js";
import { ShardStore } from "../../../src/batch/store.js";
import { canonicalJson } from "../../../src/canonical-json.js";
import { queueStatusLines } from "../../../src/cli/batch-queue-status.js";
import { InputError } from "../../../src/errors.js";
import { DEMO, runCli } from "../../cli/run-cli.js";
import { RedisServer } from "../../support/redis-server.js";
import {
  outputsOf,
  QUICK,
  runLocally,
  runQueued,
  skipReason,
  startWorker,
  titled,
  writeJob,
} from "./queue-case.js";

/** What this file starts is compiled: many processes. */
vi.mock(import("../../../src/node-entry.js"), () => import("../../support/compiled-entry.js"));

const SECRET = "not in any log: 17 + 4";
const KEY = new QueueKey(SECRET);
const OTHER = new QueueKey("another key of some length");
const PLACE = { submission: "a".repeat(32), jobHash: "b".repeat(64), name: "c".repeat(64) };

describe("keys", () => {
  it.each([
    ["", "got fewer"],
    ["fifteen letters", "got fewer"],
    ["sixteen letters\n", "got a line break"],
    ["two lines of some\rlength", "got a line break"],
  ])("%j is none, and not repeated", (key, got) => {
    const make = () => queueKeyOf({ ATPKIT_QUEUE_KEY: key });
    expect(make).toThrow(InputError);
    expect(make).toThrow(`ATPKIT_QUEUE_KEY: expected at least 16 characters without line breaks, ${got}`);
    if (key !== "") expect(make).not.toThrow(key.slice(0, 7));
  });

  it("a process may have one, or none", () => {
    expect(queueKeyOf({})).toBeUndefined();
    expect(queueKeyOf({ ATPKIT_QUEUE_KEY: "sixteen letters!" })).toBeInstanceOf(QueueKey);
  });

  it("a signature is the HMAC of kind and parts, and of no others", () => {
    const signature = createHmac("sha256", SECRET).update('["atpkit","result","x",1]').digest("hex");
    expect(KEY.sign("result", ["x", 1])).toBe(signature);
    expect(KEY.signed("result", ["x", 1], signature)).toBe(true);
    for (const [kind, parts] of [
      ["job", ["x", 1]],
      ["result", ["x", "1"]],
      ["result", ["x1"]],
      ["result", ["x", 1, ""]],
    ] as const)
      expect(KEY.signed(kind, parts, signature)).toBe(false);
    expect(OTHER.signed("result", ["x", 1], signature)).toBe(false);
    for (const wrong of [undefined, 1, "", signature.slice(1), signature.toUpperCase(), [signature]])
      expect(KEY.signed("result", ["x", 1], wrong)).toBe(false);
  });
});

describe("what is signed belongs to one shard of one submission", () => {
  const done = { at: "queue", upload: "d".repeat(32), bytes: 5, sha256: "e".repeat(64) } as const;
  const elsewhere = [
    { ...PLACE, submission: "f".repeat(32) },
    { ...PLACE, jobHash: "f".repeat(64) },
    { ...PLACE, name: "f".repeat(64) },
  ];

  it("results: by place and bytes", () => {
    const signed = signDone(done, PLACE, KEY);
    expect(isSignedDone(signed, PLACE, KEY)).toBe(true);
    expect(isSignedDone(done, PLACE, KEY)).toBe(false);
    expect(isSignedDone(signed, PLACE, OTHER)).toBe(false);
    for (const place of elsewhere) expect(isSignedDone(signed, place, KEY)).toBe(false);
    for (const change of [{ sha256: "f".repeat(64) }, { bytes: 6 }, { upload: "f".repeat(32) }])
      expect(isSignedDone({ ...signed, ...change }, PLACE, KEY)).toBe(false);
    const { signature } = signed;
    expect(isSignedDone({ at: "shared folder", ...(signature && { signature }) }, PLACE, KEY)).toBe(false);
  });

  it("shards, jobs and failures", () => {
    const message = shardMessage(
      { name: PLACE.name, task: { kind: "verify", pairs: { first: 0, end: 1 }, nodes: [1] } },
      PLACE,
      KEY,
    );
    expect(isSignedShard(message, PLACE, KEY)).toBe(true);
    for (const place of elsewhere) expect(isSignedShard(message, place, KEY)).toBe(false);
    const signature = signJob("{}", PLACE.submission, KEY);
    expect(isSignedJob("{}", PLACE.submission, signature, KEY)).toBe(true);
    expect(isSignedJob("{ }", PLACE.submission, signature, KEY)).toBe(false);
    expect(isSignedJob("{}", "f".repeat(32), signature, KEY)).toBe(false);
    const failure = signFailure("no · signed luck", PLACE, KEY);
    expect(signedFailure(failure, PLACE, KEY)).toBe("no · signed luck");
    expect(signedFailure(failure.replace("luck", "pity"), PLACE, KEY)).toBeUndefined();
    expect(signedFailure("no luck", PLACE, KEY)).toBeUndefined();
    for (const place of elsewhere) expect(signedFailure(failure, place, KEY)).toBeUndefined();
  });
});

describe.skipIf(skipReason() !== undefined)(titled("signed jobs"), () => {
  const keys = queueKeys("atpkit");
  let folder: string;
  let redis: RedisServer;
  let connection: QueueConnection;
  let local: PreparedJob;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "atpkit-signatures-"));
    redis = await RedisServer.start();
    connection = await connectQueue(parseQueueUrl(redis.url), () => {});
    local = await runLocally(await writeJob(join(folder, "local")));
  });

  afterEach(async () => {
    await connection.redis.flushdb();
  });

  afterAll(async () => {
    connection.close();
    await redis.remove();
    await rm(folder, { recursive: true, force: true });
  });

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

  async function submissionIn(outputFolder: string): Promise<string> {
    for (;;) {
      const found = await readSubmission(outputFolder);
      if (found) return found.submission;
      await delay(20);
    }
  }

  /** The shard as a local run has made it, with every number three times as large. */
  async function forged(name: string): Promise<Buffer> {
    const store = await ShardStore.open(local.outputFolder);
    const shard = await readShard(name, bytesAsSource(await store.readBytes(name)));
    for (const array of Object.values(shard.arrays)) {
      if (array instanceof Uint32Array) continue;
      for (let i = 0; i < array.length; i++) array[i] *= 3;
    }
    return Buffer.concat([...shardPieces(name, shard)]);
  }

  /** Everything that is in Redis, as one text. */
  async function stored(client: Redis): Promise<string> {
    const texts: string[] = [];
    for (const key of await client.keys("*")) {
      const dump = await client.dump(key);
      texts.push(key, String(dump));
      if ((await client.type(key)) === "hash") texts.push(JSON.stringify(await client.hgetall(key)));
    }
    return texts.join("\n");
  }

  it("forged results and failures are refused however often they come; the job is made, the same; the key is nowhere", async () => {
    const file = await writeJob(join(folder, "forged"));
    const notices: string[] = [];
    const queued = runQueued(file, redis.url, { key: KEY, notices });
    const outputFolder = join(dirname(file), "out");
    const submission = await submissionIn(outputFolder);
    let sent = 0;
    let replayed: unknown;
    const forger = new Worker(
      submission,
      async ({ data: { name } }) => {
        sent += 1;
        if (sent % 3 === 0) throw new Error("\u001b[2J no luck");
        const upload = await putResult(connection.redis, keys, submission, await forged(name));
        // By a key of the forger's own, or none.
        const done = { at: "queue", ...upload } as const;
        if (sent % 3 === 1) return done;
        replayed = signDone(done, { submission, jobHash: local.jobHash, name }, OTHER);
        return replayed;
      },
      { connection: connection.redis, prefix: "atpkit" },
    );
    // More than the tries of every shard: four estimates, three tries each.
    while (sent < 16) await delay(50);
    await forger.close();
    expect(replayed).toBeDefined();
    const inRedis = await stored(connection.redis);
    const worker = startWorker(start(), { ATPKIT_QUEUE_KEY: SECRET });
    await queued;
    expect(await outputsOf(outputFolder)).toEqual(await outputsOf(local.outputFolder));
    const said = notices.filter((notice) => notice.includes("not signed with this job's ATPKIT_QUEUE_KEY"));
    expect(said[0]).toMatch(
      /^warning: 1 result or failure is not signed .*, the last one of shard [0-9a-f]{12}: refused, and made again$/,
    );
    // At 1, 2, 4, 8 and 16 of them, perhaps.
    expect(said.length).toBeGreaterThanOrEqual(4);
    expect(said.length).toBeLessThanOrEqual(6);
    worker.child.kill("SIGTERM");
    await worker.says("ended:");
    const files = await Promise.all(
      (await readdir(outputFolder, { recursive: true, withFileTypes: true }))
        .filter((entry) => entry.isFile())
        .map(({ parentPath, name }) => readFile(join(parentPath, name), "latin1")),
    );
    const everything = [inRedis, ...notices, ...worker.notices, ...files].join("\n");
    expect(everything).not.toContain("17 + 4");
    expect(everything).toContain(submission);
  });

  it("without a key results are looked at, too: their shape, their size, their numbers", async () => {
    const file = await writeJob(join(folder, "shapes"));
    const notices: string[] = [];
    const queued = runQueued(file, redis.url, { notices });
    const submission = await submissionIn(join(dirname(file), "out"));
    const liars: ((name: string) => Promise<object>)[] = [
      async () => ({ upload: "0".repeat(32), bytes: 2 ** 30, sha256: "0".repeat(64) }),
      async (name) => {
        const store = await ShardStore.open(local.outputFolder);
        const shard = await store.read(name);
        const { base, ...arrays } = shard.arrays;
        const bytes = Buffer.concat([...shardPieces(name, { ...shard, arrays })]);
        return putResult(connection.redis, keys, submission, bytes);
      },
      async (name) => {
        const store = await ShardStore.open(local.outputFolder);
        const shard = await store.read(name);
        shard.arrays.base[0] = Number.NaN;
        return putResult(connection.redis, keys, submission, Buffer.concat([...shardPieces(name, shard)]));
      },
    ];
    const liar = new Worker(
      submission,
      async ({ data: { name } }) => {
        const lie = liars.pop();
        if (!lie) throw new Error("no lies left");
        return { at: "queue", ...(await lie(name)) };
      },
      { connection: connection.redis, prefix: "atpkit", limiter: { max: 3, duration: 3_600_000 } },
    );
    while (liars.length > 0) await delay(50);
    await liar.close();
    await connection.redis.del(`atpkit:${submission}:limiter`);
    const worker = startWorker(start());
    const { outputFolder } = await queued;
    expect(await outputsOf(outputFolder)).toEqual(await outputsOf(local.outputFolder));
    const said = notices.join("\n");
    expect(said).toMatch(/the result was refused: expected at most \d+ bytes, got 1073741824/);
    expect(said).toMatch(
      /the result was refused: ShardStore: [0-9a-f]{64}: expected base to be 1 float64 numbers, got none/,
    );
    expect(said).toMatch(
      /the result was refused: ShardStore: [0-9a-f]{64}: expected finite numbers in base, got NaN/,
    );
    worker.child.kill("SIGTERM");
    await worker.says("ended:");
  });

  it("a worker takes a job that has its key, or neither has one; the others say why not, and status shows it", async () => {
    const output = await mkdtemp(join(folder, "fits-"));
    const submission = await numberSubmission(output, local.job);
    const queue = new Queue(submission, {
      connection: connection.redis,
      prefix: "atpkit",
      skipMetasUpdate: true,
    });
    const signature = signJob(canonicalJson(local.job), submission, KEY);
    const publish = (signed?: string) =>
      announce(connection.redis, keys, submission, local.job, local.jobHash, signed);
    await publish(signature);
    const none = startWorker(start());
    const other = startWorker(start(), { ATPKIT_QUEUE_KEY: "another key of some length" });
    const right = startWorker(start(), { ATPKIT_QUEUE_KEY: SECRET });
    await queue.add("shard", {}, { jobId: "unsigned", attempts: 1 });
    const left = "; its shards are left to other workers";
    await none.says(`it is signed, and this worker has no ATPKIT_QUEUE_KEY${left}`);
    await other.says(`it is signed with another ATPKIT_QUEUE_KEY than that of this worker${left}`);
    // A shard that somebody has put beside those of a signed job.
    await right.says("refused: it is not signed with the ATPKIT_QUEUE_KEY of this worker");
    for (;;) {
      const shown = await readQueueStatus(connection, "atpkit", output);
      const refusals = shown.workers.map(({ refusal }) => refusal).filter(Boolean);
      if (refusals.length < 2) {
        await delay(100);
        continue;
      }
      const lines = queueStatusLines(shown).map(([, text]) => text);
      expect(lines).toContainEqual(
        expect.stringContaining("does not fit: it is signed, and this worker has no ATPKIT_QUEUE_KEY"),
      );
      break;
    }
    // The same job without a signature, as somebody without the key would replace it.
    await publish();
    await right.says(
      `it is not signed, and this worker takes only jobs that are signed with its ATPKIT_QUEUE_KEY${left}`,
    );
    right.child.kill("SIGTERM");
    await right.says("ended: 0 made");
    await queue.add("shard", {}, { jobId: "another" });
    await none.says("results go through the queue");
    await queue.close();
    for (const worker of [none, other]) {
      worker.child.kill("SIGTERM");
      await worker.says("ended:");
    }
  });

  it("a key that is none is said before anything is done", async () => {
    const args = ["worker", "--model", DEMO, "--queue", redis.url];
    const { code, stderr } = await runCli(args, { env: { ATPKIT_QUEUE_KEY: "too short" } });
    expect([code, stderr]).toEqual([
      2,
      "atp: error: ATPKIT_QUEUE_KEY: expected at least 16 characters without line breaks, got fewer\n",
    ]);
  });
});
