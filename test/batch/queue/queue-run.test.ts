import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Queue } from "bullmq";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { PreparedJob } from "../../../src/batch/prepare-job.js";
import { readSubmission } from "../../../src/batch/queue/submission.js";
import { resultOf, startCli } from "../../cli/run-cli.js";
import { RedisServer } from "../../support/redis-server.js";
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

const PASSWORD = "s3cret:/?#@%";

describe.skipIf(skipReason() !== undefined)(titled("jobs through a queue"), () => {
  let folder: string;
  let redis: RedisServer;
  let slow: PreparedJob;
  let slowOutputs: Awaited<ReturnType<typeof outputsOf>>;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "atpkit-queue-"));
    redis = await RedisServer.start({ password: PASSWORD });
    slow = await runLocally(await writeJob(join(folder, "slow-local"), SLOW));
    slowOutputs = await outputsOf(slow.outputFolder);
  });

  afterAll(async () => {
    await redis.remove();
    await rm(folder, { recursive: true, force: true });
  });

  const model = () => ({
    name: "demo",
    folder: slow.modelFolder,
    hash: slow.job.model.hash,
    files: slow.modelFiles,
  });

  /** How many shards of a job workers have in hand. */
  async function shardsInHand(outputFolder: string): Promise<number> {
    const submission = (await readSubmission(outputFolder))?.submission;
    if (submission === undefined) return 0;
    const client = redis.client();
    const queue = new Queue(submission, { connection: client, prefix: "atpkit", skipMetasUpdate: true });
    const active = await queue.getActiveCount();
    await queue.close();
    client.disconnect();
    return active;
  }

  /** Waits until a worker has a shard of a job in hand, and has had it for a moment. */
  async function shardInHand(outputFolder: string): Promise<void> {
    while ((await shardsInHand(outputFolder)) === 0) await delay(20);
    await delay(100);
  }

  it("submit and two workers give the bytes of a local run, and never show the password", async () => {
    const local = await runLocally(await writeJob(join(folder, "plain-local")));
    const file = await writeJob(join(folder, "plain"));
    const output = join(dirname(file), "out");
    const queue = ["--queue", redis.url];
    const workers = [1, 2].map(() =>
      startCli(["worker", "--model", slow.modelFolder, "--verbose", ...queue]),
    );
    const ended = workers.map((worker) => resultOf(worker));
    // By the environment here, by the option there.
    const submitted = await resultOf(
      startCli(["batch", "submit", file, "--verbose"], { env: { ATPKIT_QUEUE: redis.url } }),
    );
    for (const worker of workers) worker.kill("SIGTERM");
    const ends = [submitted, ...(await Promise.all(ended))];
    expect(ends.map(({ code, stderr }) => [code, code === 0 ? "" : stderr])).toEqual(Array(3).fill([0, ""]));
    expect(await outputsOf(output)).toEqual(await outputsOf(local.outputFolder));
    // As many shards as the local run has made, so none of them twice.
    const shards = await readdir(join(local.outputFolder, "shards"));
    expect((await readdir(join(output, "shards"))).sort()).toEqual(shards.sort());
    const made = ends.slice(1).map(({ stderr }) => Number(/ended, (\d+) shards? made/.exec(stderr)?.[1]));
    expect(made[0] + made[1]).toBe(shards.length);
    const status = await resultOf(startCli(["batch", "status", file, ...queue]));
    expect(status.stdout).toMatch(/^state +done\n/);
    expect(status.stdout).toMatch(/^queue +the job is not in it\nworkers +0$/m);
    const said = [...ends, status].map(({ stdout, stderr }) => stdout + stderr).join("");
    for (const secret of [PASSWORD, encodeURIComponent(PASSWORD)]) expect(said).not.toContain(secret);
    expect(said).toContain(`redis://localhost:${redis.port}`);
    // Nothing stays behind.
    const client = redis.client();
    expect(await client.keys("*")).toEqual([]);
    client.disconnect();
  });

  it("nothing is lost when a worker, the coordinator and Redis are killed", async () => {
    const file = await writeJob(join(folder, "killed"), SLOW);
    const output = join(dirname(file), "out");
    const submit = () => startCli(["batch", "submit", file, "--queue", redis.url]);
    const first = submit();
    const start = { url: redis.url, times: QUICK, model: model() };
    const doomed = startWorker(start);
    await shardInHand(output);
    doomed.child.kill("SIGKILL");
    const survivor = startWorker(start);
    await survivor.says("results go through the queue");
    first.kill("SIGKILL");
    await redis.down("SIGKILL");
    await redis.up();
    await survivor.says("answers again");
    const second = resultOf(submit());
    await shardInHand(output);
    await redis.down("SIGTERM");
    await redis.up();
    const { code, stderr } = await second;
    expect([code, code === 0 ? "" : stderr]).toEqual([0, ""]);
    expect(await outputsOf(output)).toEqual(slowOutputs);
    expect(survivor.notices.filter((notice) => notice.includes("the connection is lost"))).toHaveLength(2);
    survivor.child.kill("SIGTERM");
    await survivor.says("ended:");
  });

  it("SIGTERM finishes the shard in hand; results go into a shared folder where there is one", async () => {
    const file = await writeJob(join(folder, "stopped"), SLOW);
    const queued = runQueued(file, redis.url);
    const start = { url: redis.url, times: QUICK, model: model() };
    const stopped = startWorker(start);
    await shardInHand(join(dirname(file), "out"));
    stopped.child.kill("SIGTERM");
    await stopped.says("ended:");
    expect(await shardsInHand(join(dirname(file), "out"))).toBe(0);
    const made = Number(/ended: (\d+) made/.exec(stopped.notices.at(-1) ?? "")?.[1]);
    expect(made).toBeGreaterThan(0);
    // It is told the folder above: it finds the job's folder by the number that lies in it.
    const sharing = startWorker({ ...start, sharedFolder: dirname(file) });
    const { done, outputFolder } = await queued;
    expect(sharing.notices).toContainEqual(expect.stringContaining(`results go into ${outputFolder}`));
    expect(new Set(done).size).toBe(6);
    expect(done).toHaveLength(6);
    expect(await outputsOf(outputFolder)).toEqual(slowOutputs);
    expect((await readdir(join(outputFolder, "shards"))).sort()).toEqual(
      (await readdir(join(slow.outputFolder, "shards"))).sort(),
    );
    sharing.child.kill("SIGTERM");
    await sharing.says("ended:");
    expect(made + Number(/ended: (\d+) made/.exec(sharing.notices.at(-1) ?? "")?.[1])).toBe(6);
  });
});
