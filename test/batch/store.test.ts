import { spawnSync } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import { METHODS } from "../../src/atpstar/methods.js";
import { shardName } from "../../src/batch/identity.js";
import { bytesAsSource, readShard } from "../../src/batch/shard-file.js";
import type { ShardArray, ShardResult } from "../../src/batch/shard-result.js";
import type { ShardTask } from "../../src/batch/shard-task.js";
import { ShardStore } from "../../src/batch/store.js";
import { RunError } from "../../src/errors.js";
import { temporaryFolder } from "../support/checkpoint-folders.js";

const JOB = "ab".repeat(32);
const TASK: ShardTask = { kind: "estimate", pairs: { first: 2, end: 5 }, method: "atp*", byPair: false };
const NAME = shardName(JOB, TASK);

function resultOf(arrays: Readonly<Record<string, ShardArray>>, task = TASK): ShardResult {
  return { job: JOB, task, forwardEquivalents: 1.25, seconds: 0.1 + 0.2, device: "CPU, „2“ threads", arrays };
}

const SMALL = resultOf({
  sum: Float64Array.of(1, -0, Number.NaN),
  count: Uint32Array.of(7),
  pair: new Float32Array(),
});

async function storeWith(result = SMALL) {
  const notices: string[] = [];
  const output = temporaryFolder();
  const store = await ShardStore.open(output, { onNotice: (text) => notices.push(text) });
  const name = shardName(result.job, result.task);
  await store.write(name, result);
  return { store, name, output, notices, file: join(output, "shards", `${name}.shard`) };
}

/** Same types, same bits, NaN payloads included. */
function expectSameBits(
  got: Readonly<Record<string, ShardArray>>,
  wanted: Readonly<Record<string, ShardArray>>,
) {
  expect(Object.keys(got)).toEqual(Object.keys(wanted));
  for (const [name, array] of Object.entries(wanted)) {
    expect(got[name].constructor).toBe(array.constructor);
    const bits = ({ buffer, byteOffset, byteLength }: ShardArray) =>
      Buffer.from(buffer, byteOffset, byteLength);
    expect(bits(got[name]).equals(bits(array))).toBe(true);
  }
}

const arrayOf = fc.oneof(
  fc.uint8Array({ maxLength: 80 }).map((bytes) => new Float64Array(bytes.slice(0, bytes.length & ~7).buffer)),
  fc.uint8Array({ maxLength: 80 }).map((bytes) => new Float32Array(bytes.slice(0, bytes.length & ~3).buffer)),
  fc.uint8Array({ maxLength: 80 }).map((bytes) => new Uint32Array(bytes.slice(0, bytes.length & ~3).buffer)),
);
const taskOf: fc.Arbitrary<ShardTask> = fc.oneof(
  fc.record({
    kind: fc.constant("estimate" as const),
    pairs: fc.constant({ first: 0, end: 3 }),
    method: fc.constantFrom(...METHODS),
    byPair: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant("verify" as const),
    pairs: fc.constant({ first: 1, end: 2 }),
    nodes: fc.array(fc.nat(), { maxLength: 5 }),
  }),
  fc.record({
    kind: fc.constant("sample" as const),
    excluded: fc.array(fc.nat(), { maxLength: 5 }),
    probability: fc.double({ min: 0.01, max: 0.99, noNaN: true }),
    seed: fc.integer(),
    samples: fc.constant({ first: 0, end: 9 }),
  }),
);

describe("ShardStore", () => {
  it("gives back every bit of what it was given: NaN, empty arrays, parts of larger buffers", async () => {
    const store = await ShardStore.open(temporaryFolder());
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(fc.stringMatching(/^[A-Za-z]{1,9}(\.[0-9]{1,3})?$/), arrayOf, { maxKeys: 5 }),
        taskOf,
        async (arrays, task) => {
          const name = shardName(JOB, task);
          const result = resultOf(arrays, task);
          await store.write(name, result);
          const { arrays: got, ...facts } = await store.read(name);
          expect(facts).toEqual(factsOf(result));
          expectSameBits(got, arrays);
        },
      ),
      { numRuns: 50 },
    );
    const whole = Float64Array.of(1, 2, 3, 4);
    await store.write(NAME, resultOf({ part: whole.subarray(1, 3) }));
    expect((await store.read(NAME)).arrays.part).toEqual(Float64Array.of(2, 3));
  });

  it("lays a file out as its description says", async () => {
    const { file, name } = await storeWith(resultOf({ sum: Float64Array.of(1), count: Uint32Array.of(5) }));
    const bytes = readFileSync(file);
    expect(bytes.toString("latin1", 0, 8)).toBe("ATPSHRD1");
    const length = Number(bytes.readBigUInt64LE(8));
    expect(JSON.parse(bytes.toString("utf8", 16, 16 + length))).toEqual({
      name,
      job: JOB,
      task: TASK,
      device: "CPU, „2“ threads",
      seconds: 0.30000000000000004,
      forwardEquivalents: 1.25,
      arrays: [
        { name: "sum", type: "float64", length: 1 },
        { name: "count", type: "uint32", length: 1 },
      ],
    });
    const data = Math.ceil((16 + length) / 8) * 8;
    expect(bytes.readDoubleLE(data)).toBe(1);
    expect(bytes.readUInt32LE(data + 8)).toBe(5);
    expect(bytes.length).toBe(data + 16 + 32);
    const checksum = createHash("sha256").update(bytes.subarray(0, -32)).digest();
    expect(bytes.subarray(-32).equals(checksum)).toBe(true);
  });

  it("knows what it has, hands it on as bytes, and removes it", async () => {
    const { store, name } = await storeWith();
    expect(await store.has(name)).toBe(true);
    expect(await store.has("0".repeat(64))).toBe(false);
    const other = await ShardStore.open(temporaryFolder());
    await other.writeBytes(name, await store.readBytes(name));
    expectSameBits((await other.read(name)).arrays, SMALL.arrays);
    await other.remove(name);
    await other.remove(name);
    expect(await other.has(name)).toBe(false);
    await expect(other.read(name)).rejects.toThrow(`ShardStore: expected shard ${name}, got none`);
    await expect(other.readBytes(name)).rejects.toThrow(RunError);
  });

  it("finds any changed byte, anywhere, sets the file aside, and takes a good one in its place", async () => {
    const { store, name, file, notices } = await storeWith();
    const good = readFileSync(file);
    await fc.assert(
      fc.asyncProperty(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
        const bad = Buffer.from(good);
        bad[at] ^= change;
        writeFileSync(file, bad);
        await expect(readShard(name, bytesAsSource(bad))).rejects.toThrow(RunError);
        await expect(store.writeBytes(name, bad)).rejects.toThrow(/^readShard: /);
        expect(await store.has(name)).toBe(false);
        expect(readdirSync(store.folder)).toEqual([`${name}.shard.corrupt`]);
        await store.writeBytes(name, good);
        expect(await store.has(name)).toBe(true);
      }),
      { numRuns: 150 },
    );
    expect(notices.length).toBe(150);
    for (const notice of notices) expect(notice).toMatch(/\.shard: readShard: .*; it is made again$/);
  });

  it("finds a file that breaks off, is too long, is empty, or is something else", async () => {
    const { store, name, file, notices } = await storeWith();
    const good = readFileSync(file);
    for (const bad of [
      good.subarray(0, 0),
      good.subarray(0, 20),
      good.subarray(0, good.length - 1),
      good.subarray(0, good.length - 40),
      Buffer.concat([good, Buffer.alloc(8)]),
      Buffer.alloc(500),
      Buffer.from("{}".repeat(100)),
    ]) {
      writeFileSync(file, bad);
      expect(await store.has(name)).toBe(false);
    }
    expect(notices.map((text) => text.replace(/^.*readShard: [0-9a-f]*: /, ""))).toEqual([
      "expected the whole shard, got one of 0 bytes that breaks off; it is made again",
      "expected the whole shard, got one of 20 bytes that breaks off; it is made again",
      `expected the whole shard, got one of ${good.length - 1} bytes that breaks off; it is made again`,
      `expected the whole shard, got one of ${good.length - 40} bytes that breaks off; it is made again`,
      `expected ${good.length} bytes, got ${good.length + 8}; it is made again`,
      "expected a shard, got something else; it is made again",
      "expected a shard, got something else; it is made again",
    ]);
  });

  it("does not take one shard for another, nor one whose name does not belong to its job and task", async () => {
    const { store, name, file, notices } = await storeWith();
    const otherName = shardName("cd".repeat(32), TASK);
    writeFileSync(join(store.folder, `${otherName}.shard`), readFileSync(file));
    expect(await store.has(otherName)).toBe(false);
    expect(notices[0]).toContain(
      `readShard: ${otherName}: expected that shard, got ${name}; it is made again`,
    );
    await expect(store.writeBytes(otherName, await store.readBytes(name))).rejects.toThrow(
      `readShard: ${otherName}: expected that shard, got ${name}`,
    );
    const forged = forgedShard({ name: otherName });
    await expect(readShard(otherName, bytesAsSource(forged))).rejects.toThrow(
      `readShard: ${otherName}: expected a name that is the hash of its job and task, got another one`,
    );
    await expect(store.write(otherName, SMALL)).rejects.toThrow("expected the shard");
    expect(await store.has(name)).toBe(true);
  });

  it.each<[string, Record<string, unknown>]>([
    ["an array that is longer than the file", { arrays: [{ name: "a", type: "float64", length: 2 ** 50 }] }],
    ["an array of unknown type", { arrays: [{ name: "a", type: "object", length: 0 }] }],
    ["a name that is no plain one", { arrays: [{ name: "__proto__", type: "float64", length: 0 }] }],
    ["an unknown field", { command: "x" }],
    ["no task", { task: undefined }],
    ["a hostile task", { task: { kind: "verify", pairs: { first: 0, end: 2 ** 40 }, nodes: [] } }],
  ])("refuses a header with %s, checksum or not", async (_, changes) => {
    await expect(readShard(NAME, bytesAsSource(forgedShard(changes)))).rejects.toThrow(
      /^readShard: [0-9a-f]{64}: expected (a header, got something else|the whole shard, got one of \d+ bytes that breaks off)$/,
    );
  });

  it("makes paths of nothing but hashes", async () => {
    const { store, output } = await storeWith();
    writeFileSync(join(output, "x.shard"), "");
    for (const name of [
      "../x",
      "x",
      "",
      "../../etc/passwd",
      NAME.toUpperCase(),
      `${NAME}\n`,
      `${NAME}/..`,
      "0".repeat(63),
    ]) {
      const text = `ShardStore: expected a name of 64 hexadecimal digits, got ${JSON.stringify(name)}`;
      await expect(store.has(name)).rejects.toThrow(text);
      await expect(store.read(name)).rejects.toThrow(text);
      await expect(store.write(name, SMALL)).rejects.toThrow(text);
      await expect(store.writeBytes(name, new Uint8Array())).rejects.toThrow(text);
      await expect(store.remove(name)).rejects.toThrow(text);
    }
    expect(readdirSync(output).sort()).toEqual(["shards", "x.shard"]);
  });

  it("lets many write and read the same shard at once", async () => {
    const output = temporaryFolder();
    const stores = await Promise.all(Array.from({ length: 8 }, () => ShardStore.open(output)));
    const big = resultOf({ sum: Float64Array.from({ length: 20_000 }, (_, i) => i / 7) });
    await stores[0].write(NAME, big);
    await Promise.all(
      stores.map(async (store, s) => {
        for (let i = 0; i < 5; i++) {
          if (s % 2 === 0) await store.write(NAME, big);
          else expect((await store.read(NAME)).arrays.sum).toEqual(big.arrays.sum);
        }
      }),
    );
    expect(readdirSync(join(output, "shards"))).toEqual([`${NAME}.shard`]);
  });

  it("removes what killed processes have left, not what others are writing", async () => {
    const output = temporaryFolder();
    const folder = join(output, "shards");
    mkdirSync(folder);
    const [old, recent] = ["a", "b"].map((digit) => `.${NAME}.shard.${digit}${randomUUID().slice(1)}.tmp`);
    for (const name of [old, recent, ".foreign.tmp"]) writeFileSync(join(folder, name), "half");
    const longAgo = Date.now() / 1000 - 7200;
    for (const name of [old, ".foreign.tmp"]) utimesSync(join(folder, name), longAgo, longAgo);
    await ShardStore.open(output);
    expect(readdirSync(folder).sort()).toEqual([recent, ".foreign.tmp"].sort());
  });

  it("says so where there can be no folder", async () => {
    const output = temporaryFolder();
    writeFileSync(join(output, "shards"), "a file");
    await expect(ShardStore.open(output)).rejects.toThrow(/^ShardStore: .*shards: EEXIST/);
  });

  it("names the file where the disk refuses, whatever is done with it", async () => {
    const { store, name, file } = await storeWith();
    const good = readFileSync(file);
    const refused = async (call: () => Promise<unknown>, text: string) => {
      const error: unknown = await call().catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(RunError);
      expect(String(error)).toContain(`ShardStore: ${file}: ${text}`);
    };
    // A broken shard that cannot be set aside.
    mkdirSync(join(`${file}.corrupt`, "x"), { recursive: true });
    writeFileSync(file, "broken");
    for (const call of [() => store.has(name), () => store.read(name), () => store.readBytes(name)])
      await refused(call, "EISDIR: illegal operation on a directory, rename");
    rmSync(file);
    // What can be opened, and not read.
    mkdirSync(file);
    for (const call of [() => store.has(name), () => store.read(name)])
      await refused(call, "EISDIR: illegal operation on a directory, read");
    await refused(() => store.remove(name), "Path is a directory: rm returned EISDIR");
    rmSync(file, { recursive: true });
    await store.writeBytes(name, good);
    expect(await store.has(name)).toBe(true);
  });

  it("leaves nothing behind on a full disk, and what was there stays", async ({ skip }) => {
    const output = temporaryFolder();
    const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", output]);
    if (mounted.status !== 0) skip("file systems cannot be mounted here");
    onTestFinished(() => void spawnSync("umount", [output]));
    const store = await ShardStore.open(output);
    await store.write(NAME, SMALL);
    const task: ShardTask = { ...TASK, pairs: { first: 0, end: 1 } };
    const big = resultOf({ sum: new Float64Array(20_000) }, task);
    const name = shardName(JOB, task);
    await expect(store.write(name, big)).rejects.toThrow(
      /^writeAtomically: .*: ENOSPC: no space left on device/,
    );
    expect(readdirSync(store.folder)).toEqual([`${NAME}.shard`]);
    expect(await store.has(name)).toBe(false);
    expect(await store.has(NAME)).toBe(true);
  });
});

function factsOf({ arrays: _, ...facts }: ShardResult): Omit<ShardResult, "arrays"> {
  return facts;
}

/** A shard of no arrays with some fields of its header changed, and a checksum that is right. */
function forgedShard(changes: Readonly<Record<string, unknown>>): Buffer {
  const { job, task } = SMALL;
  const whole = {
    name: NAME,
    job,
    task,
    device: "",
    seconds: 0,
    forwardEquivalents: 0,
    arrays: [],
    ...changes,
  };
  const header = Buffer.from(JSON.stringify(whole));
  const front = Buffer.alloc(16);
  front.write("ATPSHRD1", "latin1");
  front.writeBigUInt64LE(BigInt(header.length), 8);
  const bytes = Buffer.concat([front, header, Buffer.alloc((8 - (header.length % 8)) % 8)]);
  return Buffer.concat([bytes, createHash("sha256").update(bytes).digest()]);
}
