import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test, vi } from "vitest";
import { type DownloadProgress, resolveCheckpoint } from "../../src/checkpoint/hub.js";
import { RunError } from "../../src/errors.js";
import {
  expectBytes,
  goldenFiles,
  HELLO,
  HELLO_SHA256,
  type HubCase,
  listTree,
  startCase,
} from "../support/hub-case.js";
import { contentHash, type ServedModel } from "../support/hub-server.js";

const WEIGHTS = "model.safetensors";
const PROCESS = fileURLToPath(new URL("../support/resolve-checkpoint-process.ts", import.meta.url));

interface BrokenCase extends HubCase {
  readonly model: ServedModel;
  readonly weights: Buffer;
  readonly blobs: string;
}

async function brokenCase(): Promise<BrokenCase> {
  const model = { id: "tiny/gpt2", files: await goldenFiles("gpt2_hub") };
  const started = await startCase([model]);
  const weights = model.files[WEIGHTS] ?? HELLO;
  return { ...started, model, weights, blobs: join(started.storage("tiny/gpt2"), "blobs") };
}

async function caught(options?: Parameters<typeof resolveCheckpoint>[1]): Promise<unknown> {
  return resolveCheckpoint("tiny/gpt2", options).then(
    () => undefined,
    (error: unknown) => error,
  );
}

/** Nothing in the cache passes for the weights: no blob, no link, no ref that says the revision is there. */
async function expectNothingComplete({ storage, weights, blobs }: BrokenCase): Promise<void> {
  expect(await readdir(blobs)).not.toContain(contentHash(WEIGHTS, weights));
  const tree = await listTree(storage("tiny/gpt2"));
  expect(tree.filter((name) => name.endsWith(WEIGHTS) || name.startsWith("refs"))).toEqual([]);
  vi.stubEnv("HF_HUB_OFFLINE", "1");
  expect(await caught()).toHaveProperty("message", expect.stringContaining("not complete in the cache"));
  vi.stubEnv("HF_HUB_OFFLINE", undefined);
}

/** The weights are right, and nothing of a download is left beside the blobs. */
async function expectComplete(folder: string, { weights, blobs }: BrokenCase): Promise<void> {
  await expectBytes(join(folder, WEIGHTS), weights);
  expect((await readdir(blobs)).filter((name) => !/^[0-9a-f]+$/.test(name))).toEqual([]);
}

function contentRanges({ hub }: HubCase): (string | undefined)[] {
  return hub.requests
    .filter(({ server, range }) => server === "cdn" && range !== "bytes=0-0")
    .map(({ range }) => range);
}

describe("a download that breaks off", () => {
  test.each(["cut", "short"] as const)(
    "%s: names file and bytes, and the next call asks for the rest",
    async (kind) => {
      const broken = await brokenCase();
      const size = broken.weights.length;
      broken.hub.faults.set(WEIGHTS, [{ kind, afterBytes: 100_000 }]);
      const error = await caught();
      expect(error).toBeInstanceOf(RunError);
      expect(error).toHaveProperty(
        "message",
        expect.stringMatching(
          new RegExp(
            `^resolveCheckpoint: model.safetensors of tiny/gpt2: the download broke off after 100000 of ${size} bytes \\(.+\\); run again to continue$`,
          ),
        ),
      );
      await expectNothingComplete(broken);
      broken.hub.requests.length = 0;
      const events: DownloadProgress[] = [];
      const folder = await resolveCheckpoint("tiny/gpt2", { onProgress: (event) => events.push(event) });
      expect(contentRanges(broken)).toEqual([`bytes=100000-${size - 1}`]);
      expect(events[0]).toEqual({ file: WEIGHTS, loadedBytes: 100_000, totalBytes: size });
      expect(events.at(-1)).toEqual({ file: WEIGHTS, loadedBytes: size, totalBytes: size });
      await expectComplete(folder, broken);
    },
  );

  test("again and again: every call gets further", async () => {
    const broken = await brokenCase();
    broken.hub.faults.set(WEIGHTS, Array(3).fill({ kind: "cut", afterBytes: 60_000 }));
    for (const bytes of [60_000, 120_000, 180_000]) {
      expect(await caught()).toHaveProperty(
        "message",
        expect.stringContaining(`broke off after ${bytes} of`),
      );
    }
    await expectComplete(await resolveCheckpoint("tiny/gpt2"), broken);
  });

  test("one shard breaks: the others end before the error comes, and the next call completes all", async () => {
    const model = { id: "tiny/llama", files: await goldenFiles("llama_sharded") };
    const { hub, storage } = await startCase([model]);
    hub.faults.set("model-00001-of-00003.safetensors", [{ kind: "stall", afterBytes: 1000 }]);
    hub.faults.set("model-00002-of-00003.safetensors", [{ kind: "cut", afterBytes: 10_000 }]);
    await expect(resolveCheckpoint("tiny/llama")).rejects.toThrow(
      /^resolveCheckpoint: model-00002-of-00003\.safetensors of tiny\/llama: the download broke off after 10000 of 41072/,
    );
    const before = await listTree(storage("tiny/llama"));
    expect(hub.requests.filter(({ path }) => path.includes("00003-of"))).toEqual([]);
    const folder = await resolveCheckpoint("tiny/llama");
    for (const name of Object.keys(model.files).filter((name) => name.endsWith("safetensors"))) {
      await expectBytes(join(folder, name), model.files[name]);
    }
    expect(before.filter((name) => name.endsWith("atpkit-part"))).toHaveLength(2);
  });

  test("the caller's signal: ends at once, keeps what came", async () => {
    const broken = await brokenCase();
    broken.hub.faults.set(WEIGHTS, [{ kind: "stall", afterBytes: 100_000 }]);
    const controller = new AbortController();
    const onProgress = ({ loadedBytes }: DownloadProgress) => {
      if (loadedBytes === 100_000) controller.abort();
    };
    const error = await caught({ signal: controller.signal, onProgress });
    expect(error).toBeInstanceOf(RunError);
    expect(error).toHaveProperty(
      "message",
      "resolveCheckpoint: tiny/gpt2: stopped before it was complete; run again to continue",
    );
    await expectNothingComplete(broken);
    await expectComplete(await resolveCheckpoint("tiny/gpt2"), broken);
    expect(contentRanges(broken).at(-1)).toBe(`bytes=100000-${broken.weights.length - 1}`);
  });

  test("a signal that is given too early asks nobody for a file", async () => {
    const broken = await brokenCase();
    expect(await caught({ signal: AbortSignal.abort() })).toBeInstanceOf(RunError);
    expect(broken.hub.requests).toEqual([]);
  });
});

describe("an answer that is not the file", () => {
  test.each([
    [
      "corrupt",
      /what was received is not the file \(its hash is [0-9a-f]{64}, not [0-9a-f]{64}\); it was removed, run again$/,
    ],
    [
      "long",
      /what was received is not the file \(expected 225976 bytes, got more\); it was removed, run again$/,
    ],
  ] as const)("%s: thrown away, and the next call starts anew", async (kind, message) => {
    const broken = await brokenCase();
    broken.hub.faults.set(WEIGHTS, [{ kind }]);
    const error = await caught();
    expect(error).toBeInstanceOf(RunError);
    expect(error).toHaveProperty("message", expect.stringMatching(message));
    expect((await readdir(broken.blobs)).filter((name) => name.includes("part"))).toEqual([]);
    await expectNothingComplete(broken);
    broken.hub.requests.length = 0;
    await expectComplete(await resolveCheckpoint("tiny/gpt2"), broken);
    expect(contentRanges(broken)).toEqual([undefined]);
  });

  test("a part whose bytes are wrong is found out by the hash", async () => {
    const broken = await brokenCase();
    broken.hub.faults.set(WEIGHTS, [{ kind: "cut", afterBytes: 100_000 }]);
    await caught();
    const part = join(broken.blobs, `${contentHash(WEIGHTS, broken.weights)}.atpkit-part`);
    await writeFile(part, Buffer.alloc(100_000));
    expect(await caught()).toHaveProperty("message", expect.stringContaining("is not the file (its hash"));
    await expectNothingComplete(broken);
    await expectComplete(await resolveCheckpoint("tiny/gpt2"), broken);
  });

  test.each([0, 3])("a part with %i bytes too many or none missing", async (extra) => {
    const model = { id: "tiny/gpt2", files: { ...(await goldenFiles("gpt2_hub")), [WEIGHTS]: HELLO } };
    const { hub, storage } = await startCase([model]);
    const blobs = join(storage("tiny/gpt2"), "blobs");
    hub.faults.set(WEIGHTS, [{ kind: "cut", afterBytes: 2 }]);
    await caught();
    const part = join(blobs, `${HELLO_SHA256}.atpkit-part`);
    expect((await stat(part)).size).toBe(2);
    await writeFile(part, Buffer.concat([HELLO, Buffer.alloc(extra)]));
    hub.requests.length = 0;
    if (extra > 0) expect(await caught()).toHaveProperty("message", expect.stringContaining("got more"));
    const folder = await resolveCheckpoint("tiny/gpt2");
    await expectBytes(join(folder, WEIGHTS), HELLO);
    await expectBytes(join(blobs, HELLO_SHA256), HELLO);
    expect(hub.requests.filter(({ server }) => server === "cdn")).toHaveLength(extra > 0 ? 2 : 0);
  });
});

describe("callers at the same time", () => {
  test("in one process", async () => {
    const broken = await brokenCase();
    const folders = await Promise.all(Array.from({ length: 5 }, () => resolveCheckpoint("tiny/gpt2")));
    expect(new Set(folders).size).toBe(1);
    await expectComplete(folders[0] ?? "", broken);
  });

  test("a running download's part is not continued by another", async () => {
    const broken = await brokenCase();
    broken.hub.faults.set(WEIGHTS, [{ kind: "stall", afterBytes: 100_000 }]);
    const controller = new AbortController();
    const stuck = caught({ signal: controller.signal });
    await broken.hub.stalled;
    const folder = await resolveCheckpoint("tiny/gpt2");
    expect(contentRanges(broken)).toEqual([undefined, undefined]);
    controller.abort();
    await stuck;
    await expectComplete(folder, broken);
  });

  test("several processes, and breaks in between", async () => {
    const broken = await brokenCase();
    broken.hub.faults.set(WEIGHTS, [
      { kind: "cut", afterBytes: 50_000 },
      { kind: "short", afterBytes: 70_000 },
    ]);
    const runs = await Promise.all(Array.from({ length: 4 }, () => runProcess().ended));
    expect(runs.filter(({ code }) => code === 0).length).toBeGreaterThanOrEqual(2);
    expect(new Set(runs.filter(({ code }) => code === 0).map(({ output }) => output)).size).toBe(1);
    const folder = await resolveCheckpoint("tiny/gpt2");
    await expectComplete(folder, broken);
  });

  test.each(["young", "old"])("a killed process: nothing passes for complete; its %s part", async (age) => {
    const broken = await brokenCase();
    broken.hub.faults.set(WEIGHTS, [{ kind: "stall", afterBytes: 100_000 }]);
    const killed = runProcess();
    const part = await waitForPart(broken.blobs, 100_000);
    killed.kill();
    await killed.ended;
    await expectNothingComplete(broken);
    if (age === "old") {
      const time = new Date(Date.now() - 21 * 60_000);
      await utimes(part, time, time);
    }
    broken.hub.requests.length = 0;
    await expectComplete(await resolveCheckpoint("tiny/gpt2"), broken);
    // A young one may still have its writer; nobody waits for that.
    expect(contentRanges(broken)).toEqual([
      age === "old" ? `bytes=100000-${broken.weights.length - 1}` : undefined,
    ]);
  });
});

interface RunningProcess {
  readonly ended: Promise<{ readonly code: number | null; readonly output: string }>;
  kill(): void;
}

function runProcess(): RunningProcess {
  const child = spawn(process.execPath, ["--import", "tsx", PROCESS, "tiny/gpt2"], {
    env: process.env,
    stdio: ["ignore", "pipe", "ignore"],
  });
  let output = "";
  child.stdout.on("data", (piece) => {
    output += String(piece);
  });
  const ended = once(child, "close").then(([code]) => ({
    code: typeof code === "number" ? code : null,
    output,
  }));
  return { ended, kill: () => child.kill("SIGKILL") };
}

/** The path of the one part file, once it has this many bytes. */
async function waitForPart(blobs: string, bytes: number): Promise<string> {
  for (;;) {
    for (const name of await readdir(blobs).catch(() => [])) {
      const path = join(blobs, name);
      const entry = await stat(path).catch(() => undefined);
      if (name.endsWith(".atpkit-part") && entry?.size === bytes) return path;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
