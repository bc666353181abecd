import { cp, mkdtemp, readdir, readFile, rm, utimes } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Queue, Worker } from "bullmq";
import type { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { hashJob, nameTask } from "../../../src/batch/identity.js";
import { type PreparedJob, prepareJob } from "../../../src/batch/prepare-job.js";
import { connectQueue, type QueueConnection } from "../../../src/batch/queue/connection.js";
import { queueKeys } from "../../../src/batch/queue/keys.js";
import { readQueueStatus } from "../../../src/batch/queue/queue-status.js";
import { parseQueueUrl } from "../../../src/batch/queue/queue-url.js";
import { misfit, runQueueWorker } from "../../../src/batch/queue/queue-worker.js";
import { dropResult, getResult, putResult } from "../../../src/batch/queue/result-pieces.js";
import { announce, numberSubmission, readSubmission } from "../../../src/batch/queue/submission.js";
import { ShardStore } from "../../../src/batch/store.js";
import { hashModel, ModelChanged } from "../../../src/checkpoint/model-hash.js";
import { queueStatusLines } from "../../../src/cli/batch-queue-status.js";
import { RunError } from "../../../src/errors.js";
import { packageVersion } from "../../../src/version.js";
import { runCli } from "../../cli/run-cli.js";
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

/** Numbers of this process's children that make shards. */
async function shardProcesses(): Promise<number[]> {
  const children = (await readFile(`/proc/self/task/${process.pid}/children`, "utf8")).trim().split(" ");
  const commands = await Promise.all(
    children.map((pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")),
  );
  return children.filter((_, c) => commands[c].includes("shard-process-main")).map(Number);
}

const KEYS = queueKeys("atpkit");

describe.skipIf(skipReason() !== undefined)(titled("messages from anybody"), () => {
  let folder: string;
  let redis: RedisServer;
  let connection: QueueConnection;
  let prepared: PreparedJob;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "atpkit-messages-"));
    redis = await RedisServer.start();
    connection = await connectQueue(parseQueueUrl(redis.url), () => {});
    prepared = await prepareJob(await writeJob(join(folder, "job")));
  });

  afterEach(async () => {
    await connection.redis.flushdb();
  });

  afterAll(async () => {
    connection.close();
    await redis.remove();
    await rm(folder, { recursive: true, force: true });
  });

  const model = () => ({
    name: "demo",
    folder: prepared.modelFolder,
    hash: prepared.job.model.hash,
    files: prepared.modelFiles,
  });
  async function submissionIn(outputFolder: string): Promise<string> {
    for (;;) {
      const found = await readSubmission(outputFolder);
      if (found) return found.submission;
      await delay(20);
    }
  }
  const queueOf = (submission: string) =>
    new Queue(submission, { connection: connection.redis, prefix: "atpkit", skipMetasUpdate: true });
  const submissionOf = (digit: string) => digit.repeat(32);

  it("shards that are not what they are called are refused, and the worker goes on with those that are", async () => {
    const { job, jobHash, jobHashes } = prepared;
    const submission = submissionOf("a");
    const queue = queueOf(submission);
    const how = { method: "atp", byPair: false } as const;
    const good = nameTask(jobHashes, { kind: "estimate", pairs: { first: 0, end: 1 }, ...how });
    const named = (other: unknown) => ({ name: "f".repeat(64), task: other });
    const beyond = nameTask(jobHashes, { kind: "estimate", pairs: { first: 0, end: 5 }, ...how });
    const hostile: readonly (readonly [data: unknown, id: string, reason: string])[] = [
      [{ ...good, name: "../../../etc/passwd" }, good.name.replace(/^./, "0"), "expected the name and task"],
      [good, "../../../etc/passwd", `expected the name ${good.name}`],
      [{ ...good, name: "0".repeat(64) }, "0".repeat(64), `expected the name ${good.name}`],
      [{ ...good, run: "rm -rf /" }, "more-fields", "expected the name and task"],
      ["rm -rf /", "text", "expected the name and task"],
      [null, "nothing", "expected the name and task"],
      [
        named({ kind: "exec", command: "id" }),
        "no-kind",
        "refused: parseTask: kind: expected a task of kind",
      ],
      [beyond, "pair-5", "expected some of 4 pairs, got pairs up to 5"],
      [
        named({ kind: "estimate", pairs: { first: 0, end: 2 ** 60 }, ...how }),
        "huge",
        "refused: parseTask: pairs",
      ],
      [named({ kind: "estimate", pairs: { first: -1, end: 2 }, ...how }), "negative", "refused: parseTask:"],
      [named({ kind: "estimate", pairs: { first: 0.5, end: 2 }, ...how }), "half", "refused: parseTask:"],
      [
        named({ kind: "verify", pairs: { first: 0, end: 1 }, nodes: "all" }),
        "no-list",
        "refused: parseTask:",
      ],
    ];
    for (const [data, jobId] of hostile) await queue.add("shard", data, { jobId, attempts: 5 });
    await queue.add("shard", {}, { jobId: "not-json" });
    await connection.redis.hset(`atpkit:${submission}:not-json`, "data", "{rm -rf /");
    await queue.add("shard", good, { jobId: good.name });
    await announce(connection.redis, KEYS, submission, job, jobHash);
    const temporary = await mkdtemp(join(folder, "tmp-"));
    const worker = startWorker({ url: redis.url, times: QUICK, model: model() }, { TMPDIR: temporary });
    while (!(await (await queue.getJob(good.name))?.isCompleted())) await delay(50);
    for (const [, id, reason] of hostile) {
      const refused = await queue.getJob(id);
      expect([id, await refused?.getState(), refused?.attemptsMade]).toEqual([id, "failed", 1]);
      expect(refused?.failedReason).toContain(reason);
    }
    expect(await queue.getCompletedCount()).toBe(1);
    const done = await queue.getJob(good.name);
    expect(done?.returnvalue).toMatchObject({ at: "queue", upload: expect.stringMatching(/^[0-9a-f]{32}$/) });
    worker.child.kill("SIGTERM");
    await worker.says("ended: 1 made");
    // Nothing but the worker's own folder was made, and it has removed that. tsx keeps compiled sources there.
    expect((await readdir(temporary)).filter((name) => !name.startsWith("tsx-"))).toEqual([]);
    await queue.obliterate({ force: true });
    await queue.close();
  });

  it("jobs that ask for too much are refused before anything is done for them, and the worker goes on with others", async () => {
    const { job, jobHash, jobHashes } = prepared;
    const many = Array.from({ length: 2000 }, (_, p) => job.pairs[p % job.pairs.length]);
    const poisoned: readonly (readonly [submission: string, job: typeof job, reason: string])[] = [
      [
        submissionOf("1"),
        { ...job, source: { kind: "noise", at: ["*"], multiple: 3, draws: 1e8, seed: 0 } },
        "source.draws: expected at most 10000, because each of them is a run of every pair, got 100000000",
      ],
      [
        submissionOf("2"),
        { ...job, threads: 1000 },
        `it is refused: checkLimits: threads: expected at most ${availableParallelism()}, the cores of this machine, got 1000`,
      ],
      // More than a terabyte, and within every limit but the machine's memory.
      [
        submissionOf("3"),
        {
          ...job,
          sites: ["residPre", "q", "k", "v", "z", "attnOut", "neuron", "mlpOut", "residPost"],
          positions: "each",
          pairs: many,
          batchSize: 2 ** 16,
          activationBudgetBytes: 2 ** 43,
          workload: { method: "atp*", byPair: true, pairs: 2000, nodes: 2000 },
        },
        "openJobWork: memoryBudget: expected ",
      ],
    ];
    for (const [submission, other] of poisoned) {
      await announce(connection.redis, KEYS, submission, other, hashJob(other));
      await queueOf(submission).add("shard", {}, { jobId: "shard" });
    }
    const brackets = submissionOf("4");
    await connection.redis.hset(KEYS.submission(brackets), { hash: jobHash, job: "[".repeat(2 ** 23) });
    await connection.redis.zadd(KEYS.submissions, Date.now(), brackets);
    const submission = submissionOf("a");
    const queue = queueOf(submission);
    const how = { method: "atp", byPair: false } as const;
    const good = nameTask(jobHashes, { kind: "estimate", pairs: { first: 0, end: 1 }, ...how });
    const large = nameTask(jobHashes, {
      kind: "verify",
      pairs: { first: 0, end: 1 },
      nodes: [0, 1, 2, 3, 4],
    });
    await queue.add("shard", large, { jobId: large.name, attempts: 5 });
    await queue.add("shard", {}, { jobId: "brackets", attempts: 5 });
    const hostile = { data: "[".repeat(2 ** 23), stacktrace: "[".repeat(2 ** 23) };
    await connection.redis.hset(`atpkit:${submission}:brackets`, hostile);
    await queue.add("shard", good, { jobId: good.name });
    await announce(connection.redis, KEYS, submission, job, jobHash);
    const worker = startWorker({ url: redis.url, times: QUICK, model: model() });
    for (const [, , reason] of poisoned) await worker.says(reason);
    await worker.says("parsePublishedJob: expected at most 4194304 arrays and objects, got more");
    while (!(await (await queue.getJob(good.name))?.isCompleted())) await delay(50);
    for (const [id, reason] of [
      [large.name, "refused: checkLimits: nodes of a shard: expected at most 4, got 5"],
      ["brackets", "refused: parseShard: expected the name and task of a shard, got something else"],
    ]) {
      expect(await connection.redis.hget(`atpkit:${submission}:${id}`, "failedReason")).toBe(reason);
    }
    worker.child.kill("SIGTERM");
    await worker.says("ended: 1 made");
    await queue.close();
  });

  it("status shows what workers say of themselves on their lines, escaped; --json is JSON", async () => {
    const file = await writeJob(join(folder, "status"), { maxPairs: 1 });
    await runLocally(file);
    const hostile = "\u001b]0;title\u0007\n\u202ename\u2028\u009b2J";
    const worker = {
      host: hostile,
      pid: 1,
      atpkit: "\u001b[2J",
      engine: "auto",
      model: { name: hostile, hash: hostile },
      made: 1,
      refuses: {},
    };
    await connection.redis.hset(KEYS.workers, "w", JSON.stringify({ seen: Date.now(), worker }));
    const status = (...more: string[]) => runCli(["batch", "status", file, "--queue", redis.url, ...more]);
    const [text, json] = [await status(), await status("--json")];
    const said = "\\u001b]0;title\\u0007\\u000a\\u202ename\\u2028\\u009b2J";
    expect(text.stdout).toContain(
      `worker     process 1 of ${said}, model ${said}, 1 shards made, is free or elsewhere\n`,
    );
    // Nothing invisible but line breaks.
    for (const { stdout } of [text, json]) expect(stdout).not.toMatch(/[^\P{C}\n]|\u2028/u);
    expect(JSON.parse(json.stdout).queue.workers).toMatchObject([{ host: hostile, model: worker.model }]);
  });

  it("jobs that do not fit, or are not what they are called, are left alone, with the reason said once", async () => {
    const { job, jobHash } = prepared;
    const stop = new AbortController();
    const notices: string[] = [];
    const first = await numberSubmission(prepared.outputFolder, job);
    const announced: (readonly [submission: string, job: typeof job, hash: string])[] = [
      [first, { ...job, atpkit: "99.0.0" }, ""],
      [submissionOf("2"), { ...job, model: { name: "/etc/passwd", hash: "e".repeat(64) } }, ""],
      [submissionOf("3"), { ...job, backend: "tensorflow" }, ""],
      [submissionOf("4"), { ...job, batchSize: job.batchSize + 1 }, jobHash],
    ];
    for (const [submission, other, hash] of announced) {
      await announce(connection.redis, KEYS, submission, other, hash || hashJob(other));
      await queueOf(submission).add("shard", {}, { jobId: "shard" });
    }
    await connection.redis.hset(KEYS.submission(submissionOf("5")), {
      hash: "5".repeat(64),
      job: "{rm -rf /",
    });
    await connection.redis.zadd(KEYS.submissions, Date.now(), submissionOf("5"), Date.now(), "../../etc");
    const working = runQueueWorker({
      connection,
      prefix: "atpkit",
      model: model(),
      engine: "wasm",
      onNotice: (text) => notices.push(text),
      signal: stop.signal,
      exitWhenIdle: 4,
    });
    const expected = [
      `it needs atpkit 99.0.0, and this worker is ${packageVersion()}; its shards are left to other workers`,
      `it needs the model /etc/passwd with hash eeeeeeeeeeee…, and this worker has demo with hash ${job.model.hash.slice(0, 12)}…; its shards`,
      "it needs the engine tensorflow, and this worker was started with --engine wasm; its shards",
      `it is refused: parsePublishedJob: expected the job ${jobHash}, got`,
      "it is refused: parsePublishedJob: expected JSON, got something else",
    ];
    while (notices.length < expected.length) await delay(50);
    // It shows itself when it has looked at all of them.
    while ((await connection.redis.hlen(KEYS.workers)) === 0) await delay(50);
    const shown = await readQueueStatus(connection, "atpkit", prepared.outputFolder);
    expect(shown.shards).toEqual({ waiting: 1, active: 0, made: 0, retried: 0, failed: 0 });
    expect(shown.workers).toMatchObject([
      { pid: process.pid, made: 0, here: false, refusal: expect.stringContaining("it needs atpkit 99.0.0") },
    ]);
    expect(queueStatusLines(shown).slice(1, 2)).toEqual([["workers", "1; none that fits this job"]]);
    expect(await working).toBe(0);
    for (const text of expected) expect(notices.filter((notice) => notice.includes(text))).toHaveLength(1);
    for (const [submission] of announced) expect(await queueOf(submission).getWaitingCount()).toBe(1);
  });

  it("a job keeps its number, and one that differs in anything has another: workers read it once", async () => {
    const { job } = prepared;
    const output = await mkdtemp(join(folder, "numbers-"));
    const first = await numberSubmission(output, job);
    expect(await numberSubmission(output, structuredClone(job))).toBe(first);
    for (const changes of [
      { workload: { ...job.workload, nodes: job.workload.nodes + 1 } },
      { model: { ...job.model, name: "elsewhere" } },
      { pairs: job.pairs.map((pair) => ({ ...pair, origin: `more/${pair.origin}` })) },
    ]) {
      const other = { ...job, ...changes };
      expect(hashJob(other)).toBe(hashJob(job));
      const number = await numberSubmission(output, other);
      expect(number).not.toBe(first);
      expect((await readSubmission(output))?.submission).toBe(number);
      await rm(join(output, "submission.json"));
      expect(await numberSubmission(output, job)).not.toBe(number);
    }
  });

  it("what does not fit is said of a job, too", () => {
    const { job } = prepared;
    const mine = { model: { name: "demo", hash: job.model.hash }, atpkit: job.atpkit };
    expect(misfit(job, mine)).toBeUndefined();
    expect(misfit(job, { ...mine, engine: "wasm" })).toBeUndefined();
    expect(misfit({ ...job, atpkit: "0" }, mine)).toMatch(/^it needs atpkit 0, and this worker is /);
  });

  it("a worker replaces its dead process, and hands a shard back unharmed when it cannot work any more", async () => {
    const { job, jobHash, jobHashes, outputFolder, modelFolder } = prepared;
    const submission = await numberSubmission(outputFolder, job);
    const queue = queueOf(submission);
    const shard = async (pair: number) => {
      const pairs = { first: pair, end: pair + 1 };
      const named = nameTask(jobHashes, { kind: "estimate", pairs, method: "atp", byPair: false });
      await queue.add("shard", named, { jobId: named.name, attempts: 3 });
      return named.name;
    };
    const made = async (name: string) => {
      while (!(await (await queue.getJob(name))?.isCompleted())) await delay(50);
      return (await queue.getJob(name))?.attemptsMade;
    };
    await announce(connection.redis, KEYS, submission, job, jobHash);
    const first = await shard(0);
    const working = runQueueWorker({
      connection,
      prefix: "atpkit",
      model: { ...model(), folder: modelFolder },
      sharedFolder: outputFolder,
      onNotice: () => {},
      signal: new AbortController().signal,
      times: QUICK,
    });
    const ended = working.catch((error: unknown) => error);
    expect(await made(first)).toBe(1);
    const [child] = await shardProcesses();
    process.kill(child, "SIGKILL");
    while ((await shardProcesses()).length > 0) await delay(20);
    // Its end is known here, too.
    await delay(100);
    expect(await made(await shard(1))).toBe(1);
    const [another] = await shardProcesses();
    expect(another).not.toBe(child);
    await rm(join(outputFolder, "submission.json"));
    const last = await shard(2);
    const error = await ended;
    expect(error).toBeInstanceOf(RunError);
    expect(String(error)).toContain(
      `worker: ${outputFolder}: expected the output folder of the job, got another one or nothing`,
    );
    const back = await queue.getJob(last);
    expect([await back?.getState(), back?.attemptsMade, back?.failedReason]).toEqual([
      "waiting",
      0,
      undefined,
    ]);
    expect(await shardProcesses()).toEqual([]);
    expect((await readdir(join(outputFolder, "shards"))).length).toBe(2);
    await queue.close();
  });

  it("a worker whose model has changed ends, and hands its shard back unharmed", async () => {
    const modelFolder = join(folder, "changing");
    await cp(prepared.modelFolder, modelFolder, { recursive: true });
    const hashed = await hashModel(modelFolder, { cacheFile: join(folder, "hashes.json") });
    const { job, jobHash, jobHashes, outputFolder } = prepared;
    const submission = await numberSubmission(outputFolder, job);
    const queue = queueOf(submission);
    await announce(connection.redis, KEYS, submission, job, jobHash);
    const shard = async (pair: number) => {
      const pairs = { first: pair, end: pair + 1 };
      const named = nameTask(jobHashes, { kind: "estimate", pairs, method: "atp+qkfix", byPair: false });
      await queue.add("shard", named, { jobId: named.name, attempts: 3 });
      return named.name;
    };
    const work = () =>
      runQueueWorker({
        connection,
        prefix: "atpkit",
        model: { name: "demo", folder: modelFolder, ...hashed },
        sharedFolder: outputFolder,
        onNotice: () => {},
        signal: new AbortController().signal,
        times: QUICK,
      }).catch((error: unknown) => error);
    const ended = work();
    const first = await shard(0);
    while (!(await (await queue.getJob(first))?.isCompleted())) await delay(50);
    await utimes(join(modelFolder, "model.safetensors"), 0, 0);
    const last = await shard(1);
    const text = `checkUnchanged: ${join(modelFolder, "model.safetensors")}: expected the model to stay as it was when the job was prepared or the worker started, got a file that has changed since`;
    expect(await ended).toEqual(new ModelChanged(text));
    // Nor does it begin with such a model.
    expect(await work()).toEqual(new ModelChanged(text));
    const back = await queue.getJob(last);
    expect([await back?.getState(), back?.attemptsMade, back?.failedReason]).toEqual([
      "waiting",
      0,
      undefined,
    ]);
    expect(await (await ShardStore.open(outputFolder)).has(last)).toBe(false);
    expect(await shardProcesses()).toEqual([]);
    await queue.close();
  });

  it("results that are not the shard are refused and asked for again", async () => {
    const file = await writeJob(join(folder, "lied"));
    const local = await runLocally(await writeJob(join(folder, "local")));
    const garbage = Buffer.from("not a shard");
    const queued = runQueued(file, redis.url);
    const submission = await submissionIn(join(dirname(file), "out"));
    const lies = [
      () => ({ at: "queue", upload: "../../../etc/passwd", bytes: 10, sha256: "0".repeat(64) }),
      () => ({ at: "queue", upload: "0".repeat(32), bytes: 2 ** 50, sha256: "0".repeat(64) }),
      () => ({ at: "queue", upload: "0".repeat(32), bytes: 100, sha256: "0".repeat(64) }),
      () =>
        putResult(connection.redis, KEYS, submission, garbage).then((upload) => ({
          at: "queue",
          ...upload,
        })),
      () => ({ at: "shared folder" }),
    ];
    const liar = new Worker(
      submission,
      async () => {
        const lie = lies.pop();
        if (!lie) throw new Error("no lies left");
        return lie();
      },
      { connection: connection.redis, prefix: "atpkit", limiter: { max: 5, duration: 3_600_000 } },
    );
    while (lies.length > 0) await delay(50);
    await liar.close();
    const worker = startWorker({ url: redis.url, times: QUICK, model: model() });
    const { notices, outputFolder } = await queued;
    expect(await outputsOf(outputFolder)).toEqual(await outputsOf(local.outputFolder));
    const said = notices.join("\n");
    expect(said).toContain("the result was refused: its message is not that of a finished shard");
    expect(said).toContain("the result was refused: it is no longer in Redis");
    expect(said).toContain("the result was refused: it is not in the shared folder");
    expect(said).toMatch(/the result was refused: (readShard|ShardStore)/);
    worker.child.kill("SIGTERM");
    await worker.says("ended:");
  });

  it("shards that Redis has lost are queued again; one that always fails is given up after its tries, with its error", async () => {
    const file = await writeJob(join(folder, "failing"), { maxPairs: 1 });
    const queued = runQueued(file, redis.url).catch((error: unknown) => error);
    const submission = await submissionIn(join(dirname(file), "out"));
    const queue = queueOf(submission);
    while ((await queue.getWaitingCount()) === 0) await delay(20);
    await connection.redis.flushdb();
    while ((await queue.getWaitingCount()) === 0) await delay(20);
    expect(await connection.redis.zrange(KEYS.submissions, 0, "-1")).toEqual([submission]);
    let tries = 0;
    const failing = new Worker(
      submission,
      async () => {
        tries += 1;
        throw new Error(`no luck ${tries}`);
      },
      { connection: connection.redis, prefix: "atpkit" },
    );
    const error = await queued;
    expect(error).toBeInstanceOf(RunError);
    expect(String(error)).toMatch(
      /stage estimate: 1 of 1 shards? .* missing: .*: no luck 3 \(tried 3 times\)/,
    );
    expect(tries).toBe(3);
    await failing.close();
    await queue.close();
  });

  it("results of any size come through in pieces, and not when a piece is gone or another one", async () => {
    const id = submissionOf("b");
    const size = 2 * 8 * 2 ** 20 + 5;
    const bytes = Buffer.alloc(size, 7);
    bytes.writeUInt32LE(123456789, 8 * 2 ** 20 - 2);
    const pieces = (client: Redis) => client.keys(`atpkit:result:${id}:*`);
    const upload = await putResult(connection.redis, KEYS, id, bytes);
    expect(upload.bytes).toBe(size);
    expect((await pieces(connection.redis)).length).toBe(3);
    for (const key of await pieces(connection.redis)) {
      expect(await connection.redis.strlen(key)).toBeLessThanOrEqual(8 * 2 ** 20);
      expect(await connection.redis.ttl(key)).toBeGreaterThan(3 * 24 * 3600);
    }
    expect(
      Buffer.compare(Buffer.from((await getResult(connection.redis, KEYS, id, upload)) ?? []), bytes),
    ).toBe(0);
    await connection.redis.setrange(KEYS.resultPiece(id, upload.upload, 1), 3, "x");
    await expect(getResult(connection.redis, KEYS, id, upload)).rejects.toThrow(
      `getResult: expected ${size} bytes with SHA-256 ${upload.sha256}, got ${size} others`,
    );
    await connection.redis.del(KEYS.resultPiece(id, upload.upload, 2));
    expect(await getResult(connection.redis, KEYS, id, upload)).toBeUndefined();
    await dropResult(connection.redis, KEYS, id, upload);
    expect(await pieces(connection.redis)).toEqual([]);
  });
});
