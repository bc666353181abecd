/** `atp batch run` and `atp batch status` as a person meets them: results, interrupts, failures. */

import { spawn, spawnSync } from "node:child_process";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it, vi } from "vitest";
import { jobSpecSchema } from "../../src/batch/spec.js";
import { RunError } from "../../src/errors.js";
import { CLI_FILE, IOI, resultOf, rowsOf, runCli, runHere, startCli } from "../cli/run-cli.js";
import { projectRoot } from "../support/child-process.js";
import { testBackend } from "../support/engine.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { childrenOf, DEMO, resultsOf, run, shardsOf, until, writeJob } from "./job-folder.js";

/** What this file starts is compiled: many processes. */
vi.mock(import("../../src/node-entry.js"), () => import("../support/compiled-entry.js"));

/** Many processes, each with an engine: on a busy machine they take long to start. */
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

/** Bytes. */
const SMALL_DISK = 512 * 1024;

/** 2 estimate shards, 1 chunk of nodes to verify. */
const SMALL = {
  maxPairs: 4,
  nodes: "z",
  positions: "roles",
  verify: { topK: 3 },
  shards: { pairs: 2, nodes: 3 },
};

describe("atp batch run", () => {
  it("prints one JSON document, and what other commands go on from", async () => {
    const job = await writeJob(SMALL);
    const { code, stdout, stderr } = await runCli(["batch", "run", job.specFile, "--json"]);
    expect(stderr).not.toMatch(/error/);
    expect(code).toBe(0);
    const document = JSON.parse(stdout);
    expect(document).toMatchObject({
      command: "batch run",
      pairs: { available: 64, used: 4 },
      metric: { name: "logit-diff" },
      direction: "noising",
      method: "atp*",
      engine: { backend: testBackend() },
      files: { ranked: join(job.output, "ranked.csv"), manifest: join(job.output, "manifest.json") },
    });
    expect(document.files.certificate).toBeUndefined();
    expect(document.nodes.map(({ verified }: { verified: boolean }) => verified)).toEqual(
      Array.from({ length: 20 }, (_, place) => place < 3),
    );

    const status = await runHere(["batch", "status", job.specFile]);
    expect(status.stdout).toMatch(/^state {6}done\nstage {6}verify: 2 of 2 shards done\nrate {7}\d/);

    const before = await rowsOf(join(job.output, "ranked.csv"));
    const args = ["--pairs", IOI, "--max-pairs", "4", "--engine", testBackend(), "--out", job.output];
    const more = await runCli([
      ...["verify", "--model", document.model.name, ...args],
      ...["--from", join(job.output, "ranked.csv"), "--top-k", "4"],
    ]);
    expect(more.stderr).not.toMatch(/error|warning/);
    const after = await rowsOf(join(job.output, "ranked.csv"));
    expect(before.filter(({ verified }) => verified === "true")).toHaveLength(3);
    expect(after.filter(({ verified }) => verified === "true")).toHaveLength(4);
    expect(after.length).toBe(before.length);
  });

  it("runs the example of the help, in which everything is given by the job", async () => {
    const { stdout } = await runHere(["batch", "run", "--help"]);
    for (const name of Object.keys(jobSpecSchema.shape).filter((name) => name !== "$schema"))
      expect(stdout).toMatch(new RegExp(`^ {2}${name} +\\S`, "m"));
    const [example] = /\{"model".+\}/.exec(stdout) ?? [];
    expect(jobSpecSchema.parse(JSON.parse(example ?? ""))).toMatchObject({ positions: "roles" });
    const shown = JSON.parse(await readFile(join(DEMO, "job.json"), "utf8"));
    expect(jobSpecSchema.parse(shown).verify).toEqual({ topK: 20 });
  });

  it("tells wrong input by exit code 2, before anything is run", async () => {
    const job = await writeJob({ ...SMALL, nodes: "z,heads" });
    const { code, stderr } = await runHere(["batch", "run", job.specFile]);
    expect(code).toBe(2);
    expect(stderr).toContain(`${job.specFile}: nodes: `);
    const none = await runHere(["batch", "status", job.specFile]);
    expect([none.code, none.stderr]).toEqual([
      2,
      `atp: error: ${job.specFile}: expected a job that was begun, got none: there is no ${join(job.output, "status.json")}\n`,
    ]);
    const workers = await runHere(["batch", "run", job.specFile, "--workers", "0"]);
    expect([workers.code, workers.stderr]).toEqual([
      2,
      "atp: error: option '--workers <n>' argument '0' is invalid. Expected a positive integer.\n",
    ]);
  });
});

describe.skipIf(process.platform !== "linux")("a signal to all processes of a job", () => {
  it.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)(
    "%s finishes the shard in hand, begins no other, and ends with %i",
    async (signal, exitCode) => {
      // Shards of half a second and more on either engine: all 64 pairs, or a quarter of them.
      const pairs = testBackend() === "wasm" ? 16 : 64;
      const job = await writeJob({ method: "exact", nodes: "z", shards: { pairs, nodes: 90 } });
      const child = startCli(["batch", "run", job.specFile]);
      const result = resultOf(child);
      await until(async () => (await shardsOf(job)).size === 1);
      // The next one is under way then.
      await new Promise((resolve) => setTimeout(resolve, 50));
      const running = await runHere(["batch", "status", job.specFile, "--json"]);
      expect(JSON.parse(running.stdout)).toMatchObject({ state: "running", stage: "verify" });
      const all = [child.pid ?? 0, ...(await childrenOf(child.pid ?? 0))];
      expect(all).toHaveLength(2);
      for (const pid of all) process.kill(pid, signal);
      const { code, stdout, stderr } = await result;
      expect(code).toBe(exitCode);
      expect(stdout).toBe("");
      expect(stderr.trimEnd().split("\n").at(-1)).toBe(
        `atp: interrupted by ${signal}; the finished shards are in ${job.output}; run it again and it goes on from there`,
      );
      expect((await shardsOf(job)).size).toBe(2);
      expect((await readdir(join(job.output, "shards"))).filter((name) => !name.endsWith(".shard"))).toEqual(
        [],
      );
      const { stdout: text } = await runHere(["batch", "status", job.specFile]);
      expect(text).toContain(
        `state      interrupted\nstage      verify: 2 of ${(4 * 64) / pairs} shards done\n`,
      );
    },
  );
});

describe("atp batch status", () => {
  it("tells a job that was killed from one that runs, shows rate and time left, and refuses other files", async () => {
    const job = await writeJob(SMALL);
    await mkdir(job.output);
    const file = join(job.output, "status.json");
    const status = {
      job: "0".repeat(64),
      state: "running",
      stage: "certify",
      shards: { done: 7, total: 10, failed: 0, reused: 2 },
      shardsPerSecond: 0.25,
      secondsLeft: 12,
      started: "2026-01-01T00:00:00.000Z",
      updated: "2026-01-01T00:00:20.000Z",
      failures: [],
      process: { pid: process.ppid, host: hostname() },
    };
    await writeFile(file, JSON.stringify(status));
    const running = await runHere(["batch", "status", job.specFile]);
    expect(running.stdout).toBe(
      [
        "state      running",
        "stage      certify: 7 of 10 shards done, 2 of them before",
        "rate       4.0 s per shard, about 12 s left in this stage",
        `began      2026-01-01T00:00:00.000Z, process ${process.ppid} of ${hostname()}`,
        "updated    2026-01-01T00:00:20.000Z",
        "",
      ].join("\n"),
    );
    // Above the largest number that Linux gives.
    const gone = { ...status, process: { ...status.process, pid: 2 ** 22 + 1 } };
    await writeFile(file, JSON.stringify(gone));
    const killed = await runHere(["batch", "status", job.specFile, "--json"]);
    expect(JSON.parse(killed.stdout)).toEqual({ ...gone, state: "killed" });
    expect((await runHere(["batch", "status", job.specFile])).stdout).toContain(
      "state      killed; run it again and it goes on\n",
    );
    await writeFile(file, '{"state": "done"}');
    const broken = await runHere(["batch", "status", job.specFile]);
    expect(broken.code).toBe(2);
    expect(broken.stderr).toContain(
      `readStatus: ${file}: expected the status of a job, got something else: `,
    );
  });
});

/** 3 shards of patched runs, of 170, 170 and 20 nodes on 8 pairs: two of 7 KB, one of 2. */
const UNEVEN = {
  maxPairs: 8,
  method: "exact",
  nodes: "z",
  shards: { pairs: 8, nodes: 170, retries: 1 },
};

describe("a disk that refuses large files", () => {
  it("costs the shards that do not fit, no others; they are made when it takes them", async () => {
    const job = await writeJob(UNEVEN);
    const args = ["batch", "run", job.specFile];
    // In blocks of 512 bytes.
    const limited = spawn(
      "sh",
      ["-c", 'ulimit -f 12; exec "$@"', "sh", process.execPath, CLI_FILE, ...args],
      {
        cwd: projectRoot,
        env: withoutNodeOptions(),
      },
    );
    const { code, stdout, stderr } = await resultOf(limited);
    expect([code, stdout]).toEqual([1, ""]);
    const last = stderr.trimEnd().split("\n").at(-1) ?? "";
    expect(last).toMatch(
      /^atp: error: runJob: stage verify: 2 of 3 shards are missing: 170 nodes from L0\.z\[0\]@0 to L2\.\S+ on 8 pairs from \S+:\d+ to \S+:\d+: writeAtomically: .+: EFBIG: .+ \(tried 2 times\); 170 nodes from L2\..+; run it again to try these alone$/,
    );
    const made = await shardsOf(job);
    expect(made.size).toBe(1);
    const status = JSON.parse(await readFile(join(job.output, "status.json"), "utf8"));
    expect(status).toMatchObject({
      state: "failed",
      stage: "verify",
      shards: { done: 1, total: 3, failed: 2, reused: 0 },
      failures: [{ tries: 2 }, { tries: 2 }],
    });
    const manifest = JSON.parse(await readFile(join(job.output, "manifest.json"), "utf8"));
    expect(manifest.missing.map(({ name }: { name: string }) => name)).toEqual(
      status.failures.map(({ shard }: { shard: string }) => shard),
    );
    const shown = await runHere(["batch", "status", job.specFile]);
    expect(shown.stdout).toMatch(/^stage {6}verify: 1 of 3 shards done, 2 failed$/m);
    expect(shown.stdout).toMatch(/^failed {5}verify: 170 nodes from .+EFBIG.+\(tries: 2\)$/m);

    const again = await runCli(args);
    expect(again.stderr).toContain("atp: verify: 1 of 3 shards are there already\n");
    expect(again.code).toBe(0);
    const now = await shardsOf(job);
    expect([now.size, ...[...made].map(([name, time]) => now.get(name) === time)]).toEqual([3, true]);
    expect(JSON.parse(await readFile(join(job.output, "manifest.json"), "utf8")).missing).toEqual([]);
  });
});

/** A small disk in memory; root may have one, elsewhere the test is skipped. */
const disk = await smallDisk();

describe("a full disk", () => {
  it.skipIf(disk === undefined)("loses nothing: the job goes on when there is room", async () => {
    if (disk === undefined) return;
    const free = await writeJob(UNEVEN);
    await run(free, 1);
    const { specFile } = await writeJob({ ...UNEVEN, output: join(disk, "out") });
    const job = { specFile, output: join(disk, "out") };
    await mkdir(job.output);
    // Room for the small files and one shard.
    await writeFile(join(disk, "ballast"), Buffer.alloc(SMALL_DISK - 32 * 1024));
    const full = run(job, 1);
    await expect(full).rejects.toThrow(RunError);
    await expect(full).rejects.toThrow(/ENOSPC/);
    const made = await shardsOf(job);
    expect(made.size).toBeLessThan(3);
    expect(await readdir(job.output)).not.toContain("ranked.csv");
    expect((await readdir(join(job.output, "shards"))).filter((name) => name.endsWith(".tmp"))).toEqual([]);
    await rm(join(disk, "ballast"));
    await run(job, 1);
    const now = await shardsOf(job);
    expect([...made].every(([name, time]) => now.get(name) === time)).toBe(true);
    expect(await resultsOf(job)).toEqual(await resultsOf(free));
  });
});

async function smallDisk(): Promise<string | undefined> {
  const folder = await temporaryFolder();
  const { status } = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${SMALL_DISK}`, "tmpfs", folder]);
  if (status !== 0) return undefined;
  afterAll(() => spawnSync("umount", [folder]));
  return folder;
}

/** Vitest's own settings for its workers do not concern the child. */
function withoutNodeOptions() {
  const { NODE_OPTIONS: _, ...env } = process.env;
  return env;
}
