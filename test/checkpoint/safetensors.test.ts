import { mkdirSync, openSync, readFileSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { openSafetensors } from "../../src/checkpoint/safetensors.js";
import type { StoredTensors } from "../../src/checkpoint/stored-tensors.js";
import { InputError, RunError } from "../../src/errors.js";
import {
  float32Tensor,
  safetensorsBytes,
  temporaryFolder,
  writeSafetensors,
} from "../support/checkpoint-folders.js";

const FILE = "model.safetensors";
const INDEX = "model.safetensors.index.json";

async function openFolder(folder: string): Promise<StoredTensors> {
  const tensors = await openSafetensors(folder);
  onTestFinished(() => tensors.close());
  return tensors;
}

/** Opens a folder that is expected to be refused, and returns the error. */
async function refusal(folder: string): Promise<Error> {
  try {
    await openFolder(folder);
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error("refusal: the folder was opened");
}

function folderWithFile(bytes: Uint8Array): string {
  const folder = temporaryFolder();
  writeFileSync(join(folder, FILE), bytes);
  return folder;
}

function folderWithHeader(header: unknown, dataBytes: number): string {
  return folderWithFile(safetensorsBytes(JSON.stringify(header), new Uint8Array(dataBytes)));
}

test("rows come in the order asked for, repeated or not, and each is read once", async () => {
  const folder = temporaryFolder();
  const cells = Array.from({ length: 6 * 3 }, (_, i) => i);
  const brain = new Uint16Array(new Uint32Array(Float32Array.from(cells).buffer).map((bits) => bits >>> 16));
  writeSafetensors(join(folder, FILE), {
    full: float32Tensor([6, 3], cells),
    brain: { dtype: "BF16", shape: [6, 3], bytes: new Uint8Array(brain.buffer) },
  });
  const tensors = await openFolder(folder);
  const row = (r: number) => [3 * r, 3 * r + 1, 3 * r + 2];
  for (const [name, bytesOfRow] of [
    ["full", 12],
    ["brain", 6],
  ] as const) {
    for (const rows of [[0, 1, 2, 3, 4, 5], [4, 0, 4, 1, 5], [2], []]) {
      expect(await tensors.readRows(name, rows)).toEqual({
        values: Float32Array.from(rows.flatMap(row)),
        bytes: new Set(rows).size * bytesOfRow,
      });
    }
    for (const wrong of [-1, 6, 0.5]) {
      await expect(tensors.readRows(name, [0, wrong])).rejects.toThrow(
        `readRows: expected rows from 0 to 5 of ${name}, got ${wrong}`,
      );
    }
  }
});

describe("values", () => {
  test("F32, F16 and BF16 come out as the float32 numbers that their bits stand for", async () => {
    const folder = temporaryFolder();
    const half = Uint16Array.from([
      0x3c00, 0xc000, 0x0001, 0x8000, 0x7bff, 0x0400, 0x7c00, 0xfc00, 0x3555, 0x7e00,
    ]);
    const brain = Uint16Array.from([0x3f80, 0xc000, 0x0001, 0x8000, 0x7f7f, 0x7f80, 0x3eab, 0x7fc0]);
    writeSafetensors(join(folder, FILE), {
      full: float32Tensor([2, 2], [1.5, -0.1, 3e38, 1e-45]),
      half: { dtype: "F16", shape: [10], bytes: new Uint8Array(half.buffer) },
      brain: { dtype: "BF16", shape: [8], bytes: new Uint8Array(brain.buffer) },
    });
    const tensors = await openFolder(folder);
    expect(await tensors.read("full")).toEqual(Float32Array.of(1.5, -0.1, 3e38, 1e-45));
    const infinity = Number.POSITIVE_INFINITY;
    const third = 1365 / 4096;
    expect(await tensors.read("half")).toEqual(
      Float32Array.of(1, -2, 2 ** -24, -0, 65504, 2 ** -14, infinity, -infinity, third, Number.NaN),
    );
    expect(await tensors.read("brain")).toEqual(
      Float32Array.of(1, -2, 2 ** -133, -0, (2 - 2 ** -7) * 2 ** 127, infinity, 171 / 512, Number.NaN),
    );
  });

  test("every finite F16 pattern is sign · significand · power of two", async () => {
    const patterns = Uint16Array.from({ length: 65_536 }, (_, i) => i);
    const folder = temporaryFolder();
    const bytes = new Uint8Array(patterns.buffer);
    writeSafetensors(join(folder, FILE), { all: { dtype: "F16", shape: [65_536], bytes } });
    const values = await (await openFolder(folder)).read("all");
    const wrong: string[] = [];
    for (let bits = 0; bits < 65_536; bits++) {
      const digits = bits.toString(2).padStart(16, "0");
      const exponent = Number.parseInt(digits.slice(1, 6), 2);
      if (exponent === 31) continue;
      const significand = Number.parseInt((exponent === 0 ? "0" : "1") + digits.slice(6), 2) / 1024;
      const expected = (digits[0] === "1" ? -1 : 1) * significand * 2 ** (Math.max(exponent, 1) - 15);
      if (!Object.is(values[bits], expected)) wrong.push(`${digits}: ${values[bits]}`);
    }
    expect(wrong).toEqual([]);
  });

  test("tensors longer than one read are put together", async () => {
    // 9 Mi values of F32 are 36 MiB and 17 Mi values of F16 are 34 MiB, where one read is 32 MiB.
    const folder = temporaryFolder();
    const long = new Float32Array(9 * 2 ** 20);
    for (let i = 0; i < long.length; i++) long[i] = i;
    const halves = new Uint16Array(17 * 2 ** 20);
    for (let i = 0; i < halves.length; i++) halves[i] = 0x3c00 + (i % 1024);
    writeSafetensors(join(folder, FILE), {
      odd: { dtype: "BF16", shape: [1], bytes: new Uint8Array(2) },
      long: { dtype: "F32", shape: [9, 2 ** 20], bytes: new Uint8Array(long.buffer) },
      halves: { dtype: "F16", shape: [17, 2 ** 20], bytes: new Uint8Array(halves.buffer) },
    });
    const tensors = await openFolder(folder);
    const read = await tensors.read("long");
    expect(Buffer.compare(new Uint8Array(read.buffer), new Uint8Array(long.buffer))).toBe(0);
    const values = await tensors.read("halves");
    // Pattern 0x3c00 + m is 1 + m/1024.
    expect(values.findIndex((value, i) => value !== 1 + (i % 1024) / 1024)).toBe(-1);
  });

  test("a tensor beyond the first 4 GiB of its file is read from its place", async () => {
    // The file has a hole of 5 GiB, which takes no room on disk.
    const hole = 5 * 2 ** 30;
    const folder = temporaryFolder();
    const header = {
      hole: { dtype: "U8", shape: [hole], data_offsets: [0, hole] },
      far: { dtype: "F32", shape: [2], data_offsets: [hole, hole + 8] },
    };
    const head = safetensorsBytes(JSON.stringify(header), new Uint8Array(0));
    const file = openSync(join(folder, FILE), "w");
    writeSync(file, head);
    writeSync(file, new Uint8Array(Float32Array.of(7, -8).buffer), 0, 8, head.length + hole);
    expect(await (await openFolder(folder)).read("far")).toEqual(Float32Array.of(7, -8));
  });

  test("buffers of other types do no harm until they are asked for", async () => {
    const folder = temporaryFolder();
    const mask = { dtype: "BOOL", shape: [1, 3], bytes: Uint8Array.of(1, 0, 1) };
    writeSafetensors(join(folder, FILE), { mask, x: float32Tensor([1], [4]) });
    const tensors = await openFolder(folder);
    expect(await tensors.read("x")).toEqual(Float32Array.of(4));
    expect(() => tensors.read("mask")).toThrow(
      `loadModel: expected tensor mask of ${join(folder, FILE)} to be stored as one of F32, F16, BF16, got BOOL`,
    );
  });
});

describe("a broken file", () => {
  test("shorter than the length of a header", async () => {
    const folder = folderWithFile(Uint8Array.of(1, 2, 3));
    const error = await refusal(folder);
    expect(error).toBeInstanceOf(InputError);
    expect(error.message).toBe(
      `loadModel: expected a safetensors file, got 3 bytes in ${join(folder, FILE)}: truncated`,
    );
  });

  test("a header longer than the file", async () => {
    const bytes = safetensorsBytes("{}", new Uint8Array(0));
    bytes.writeBigUInt64LE(2n ** 60n);
    const folder = folderWithFile(bytes);
    expect((await refusal(folder)).message).toBe(
      `loadModel: expected a safetensors header of at most 2 bytes in ${join(folder, FILE)}, got a header length ` +
        "of 1152921504606846976: the file is truncated or not safetensors",
    );
  });

  test("a header that is not JSON, or not of tensors", async () => {
    const folder = folderWithFile(safetensorsBytes("{not JSON", new Uint8Array(0)));
    expect((await refusal(folder)).message).toContain(
      `loadModel: expected the safetensors header of ${join(folder, FILE)} to be JSON, got SyntaxError`,
    );
    expect((await refusal(folderWithHeader([1, 2], 0))).message).toMatch(
      /expected the safetensors header of .* to be a JSON object, got another value/,
    );
    const untyped = folderWithHeader({ x: { shape: [1], data_offsets: [0, 4] } }, 4);
    expect((await refusal(untyped)).message).toMatch(
      /expected dtype, shape and data_offsets for every tensor in the header of .*, got x\.dtype: /,
    );
  });

  test("a tensor whose bytes are cut off", async () => {
    const folder = temporaryFolder();
    writeSafetensors(join(folder, FILE), { a: float32Tensor([2], [1, 2]), b: float32Tensor([3], [3, 4, 5]) });
    truncateSync(join(folder, FILE), readFileSync(join(folder, FILE)).length - 5);
    expect((await refusal(folder)).message).toBe(
      `loadModel: expected the bytes of tensor b within the 15 data bytes of ${join(folder, FILE)}, ` +
        "got offsets 8 to 20: the file is truncated or corrupt",
    );
  });

  test("offsets that run backwards", async () => {
    const folder = folderWithHeader({ x: { dtype: "F32", shape: [1], data_offsets: [4, 0] } }, 8);
    expect((await refusal(folder)).message).toMatch(/tensor x within the 8 data bytes .* got offsets 4 to 0/);
  });

  test("offsets that do not fit shape and type", async () => {
    const folder = folderWithHeader({ x: { dtype: "F16", shape: [2, 3], data_offsets: [0, 10] } }, 10);
    expect((await refusal(folder)).message).toBe(
      `loadModel: expected 12 bytes for tensor x (F16 [2, 3]) in ${join(folder, FILE)}, ` +
        "got offsets 0 to 10 (10 bytes)",
    );
  });

  test("a folder in the file's place", async () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, FILE));
    const error = await refusal(folder);
    expect(error).toBeInstanceOf(InputError);
    expect(error.message).toContain(
      `loadModel: ${join(folder, FILE)}: expected a file, got a folder, pipe or device`,
    );
  });

  test("one that shrinks after it was opened", async () => {
    const folder = temporaryFolder();
    writeSafetensors(join(folder, FILE), { x: float32Tensor([4], [1, 2, 3, 4]) });
    const tensors = await openFolder(folder);
    truncateSync(join(folder, FILE), readFileSync(join(folder, FILE)).length - 6);
    const reading = tensors.read("x");
    await expect(reading).rejects.toBeInstanceOf(RunError);
    await expect(reading).rejects.toThrow(
      /expected 6 more bytes at \d+ of .*: the file changed while it was read/,
    );
  });
});

describe("a header that the format forbids", () => {
  const F32 = (shape: readonly number[], begin: number, end: number) => ({
    dtype: "F32",
    shape,
    data_offsets: [begin, end],
  });
  const once = (folder: string, found: string) =>
    `loadModel: expected every byte behind the header of ${join(folder, FILE)} to be in one tensor, got ${found}`;

  test.each<[string, Record<string, unknown>, number, string]>([
    ["the same bytes for two tensors", { a: F32([2], 0, 8), b: F32([2], 0, 8) }, 8, "a and b, which overlap"],
    ["bytes of two tensors", { b: F32([2], 4, 12), a: F32([2], 0, 8) }, 12, "a and b, which overlap"],
    ["a hole", { a: F32([1], 0, 4), b: F32([1], 8, 12) }, 12, "4 bytes before b that are in none"],
    ["a hole at the beginning", { a: F32([1], 4, 8) }, 8, "4 bytes before a that are in none"],
    ["bytes behind the last tensor", { a: F32([1], 0, 4) }, 7, "3 bytes at its end that are in none"],
    ["bytes and no tensor", {}, 2, "2 bytes at its end that are in none"],
  ])("%s", async (_, header, bytes, found) => {
    const folder = folderWithHeader(header, bytes);
    expect((await refusal(folder)).message).toBe(once(folder, found));
  });

  test("empty tensors lie anywhere between others", async () => {
    const header = { a: F32([1], 0, 4), e: F32([0, 7], 4, 4), b: F32([1], 4, 8), z: F32([0], 8, 8) };
    const tensors = await openFolder(folderWithHeader({ z0: F32([0], 0, 0), ...header }, 8));
    expect(tensors.names().length).toBe(5);
  });

  test("a name twice, in whatever spelling, as a tensor or in one", async () => {
    const entry = '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}';
    const other = '{"dtype":"F32","shape":[1],"data_offsets":[4,8]}';
    const inside = '{"dtype":"F32","dtype":"I32","shape":[1],"data_offsets":[0,4]}';
    for (const [header, name] of [
      [`{"a":${entry},"a":${other}}`, "a"],
      [`{"a":${entry}, "\\u0061" :${entry}}`, "a"],
      [`{"a":${inside}}`, "dtype"],
      [`{"__metadata__":{"x":"1","x":"2"},"a":${entry}}`, "x"],
    ]) {
      const folder = folderWithFile(safetensorsBytes(header, new Uint8Array(8)));
      expect((await refusal(folder)).message).toBe(
        `loadModel: expected the safetensors header of ${join(folder, FILE)} to have every name once, got "${name}" twice`,
      );
    }
  });

  test("names are names, whatever they are", async () => {
    const names = ["__proto__", "constructor", "toString", "hasOwnProperty", "", "a\u001b[2J"];
    const entries = names.map(
      (name, i) => `${JSON.stringify(name)}:${JSON.stringify(F32([1], 4 * i, 4 * i + 4))}`,
    );
    const data = new Uint8Array(Float32Array.from(names, (_, i) => i + 1).buffer);
    const tensors = await openFolder(folderWithFile(safetensorsBytes(`{${entries.join()}}`, data)));
    expect(tensors.names()).toEqual(names);
    for (const [i, name] of names.entries()) expect(await tensors.read(name)).toEqual(Float32Array.of(i + 1));
    const plain = await openFolder(folderWithHeader({ a: F32([1], 0, 4) }, 4));
    expect(names.map((name) => plain.has(name))).toEqual(names.map(() => false));
    const strange = await openFolder(folderWithHeader({ a: { ...F32([1], 0, 4), dtype: "constructor" } }, 4));
    expect(() => strange.read("a")).toThrow("to be stored as one of F32, F16, BF16, got constructor");
  });

  test.each([
    ["a fraction", [0, 4.5]],
    ["a negative number", [-4, 0]],
    ["text", ["0", "4"]],
    ["one number", [4]],
    ["three", [0, 4, 8]],
    ["more than integers are exact to", [0, 2 ** 60]],
    ["nothing", undefined],
  ])("offsets that are %s", async (_, data_offsets) => {
    const folder = folderWithHeader({ x: { dtype: "F32", shape: [1], data_offsets } }, 4);
    expect((await refusal(folder)).message).toMatch(
      /expected dtype, shape and data_offsets for every tensor in the header of .*, got x\.data_offsets/,
    );
  });

  test("sizes that no file has", async () => {
    for (const shape of [[2 ** 40, 2 ** 40], [2 ** 52], Array.from({ length: 200 }, () => 2 ** 50)]) {
      const folder = folderWithHeader({ x: F32(shape, 0, 4) }, 4);
      expect((await refusal(folder)).message).toMatch(
        /bytes for tensor x \(F32 \[.* got offsets 0 to 4 \(4 bytes\)/,
      );
    }
    const far = folderWithHeader({ x: F32([1], 2 ** 52, 2 ** 52 + 4) }, 4);
    expect((await refusal(far)).message).toContain("within the 4 data bytes");
  });

  test("metadata that is not texts, and bytes that are not text", async () => {
    for (const metadata of [[], "pt", 3, { format: 1 }, { shared: { a: "b" } }, null]) {
      const folder = folderWithHeader({ __metadata__: metadata }, 0);
      expect((await refusal(folder)).message).toBe(
        `loadModel: expected __metadata__ in the header of ${join(folder, FILE)} to be an object of texts, got ${JSON.stringify(metadata)}`,
      );
    }
    const bytes = safetensorsBytes('{"name":1}', new Uint8Array(0));
    bytes[11] = 0xff;
    const folder = folderWithFile(bytes);
    expect((await refusal(folder)).message).toBe(
      `loadModel: expected the safetensors header of ${join(folder, FILE)} to be UTF-8 text, got bytes that are not`,
    );
  });

  test("what is long is cut in the message", async () => {
    const entry = { dtype: "F32", shape: Array.from({ length: 500_000 }, () => 1), data_offsets: [0, 8] };
    const folder = folderWithHeader({ ["a".repeat(5_000_000)]: entry }, 8);
    expect((await refusal(folder)).message).toBe(
      `loadModel: expected 4 bytes for tensor ${"a".repeat(120)}… (5000000 characters) ` +
        `(F32 [1, 1, 1, 1, 1, 1, 1, 1, … 499992 more]) in ${join(folder, FILE)}, got offsets 0 to 8 (8 bytes)`,
    );
  });

  test("a header as deep as it is long", async () => {
    const folder = folderWithFile(safetensorsBytes(`{"a":${"[".repeat(3_000_000)}`, new Uint8Array(0)));
    expect((await refusal(folder)).message).toContain("to be JSON, got brackets more than 100000 deep");
  });

  test("a file that is cut anywhere", async () => {
    const whole = temporaryFolder();
    writeSafetensors(join(whole, FILE), { a: float32Tensor([2], [1, 2]), b: float32Tensor([3], [3, 4, 5]) });
    const bytes = readFileSync(join(whole, FILE));
    for (let size = 0; size < bytes.length; size++) {
      const error = await refusal(folderWithFile(bytes.subarray(0, size)));
      expect(error).toBeInstanceOf(InputError);
      expect(error.message).toMatch(/model\.safetensors.*truncated/);
    }
  });
});

test("tensors are compared piece by piece, up to their last value", async () => {
  // Three pieces of 4 Mi values, the last one with one value.
  const size = 2 ** 23 + 1;
  const halves = new Uint16Array(size).fill(0x3c00);
  const bytes = (changed: number) => {
    const values = halves.slice();
    values[changed] = 0x3c01;
    return { dtype: "F16", shape: [size], bytes: new Uint8Array(values.buffer) };
  };
  const folder = temporaryFolder();
  const tensors = { a: bytes(0), b: bytes(0), c: bytes(2 ** 22), d: bytes(size - 1), e: bytes(size - 1) };
  writeSafetensors(join(folder, FILE), tensors);
  const stored = await openFolder(folder);
  const same = await Promise.all(
    ["ab", "ac", "ad", "cd", "de", "aa"].map(([one, other]) => stored.haveSameValues(one, other)),
  );
  expect(same).toEqual([true, false, false, false, true, true]);
});

describe("what is asked of a folder", () => {
  test("a tensor that is not there", async () => {
    const folder = temporaryFolder();
    writeSafetensors(join(folder, FILE), { x: float32Tensor([1], [1]) });
    const tensors = await openFolder(folder);
    expect(() => tensors.check("y", [1])).toThrow(
      `loadModel: expected tensor y in ${join(folder, FILE)}, got a checkpoint without it`,
    );
  });

  test("a tensor of another shape", async () => {
    const folder = temporaryFolder();
    writeSafetensors(join(folder, FILE), { x: float32Tensor([2, 1], [1, 2]) });
    const tensors = await openFolder(folder);
    tensors.check("x", [2, 1]);
    for (const shape of [[1, 2], [2], [2, 1, 1]]) {
      expect(() => tensors.check("x", shape)).toThrow(
        `loadModel: expected tensor x of ${join(folder, FILE)} to have shape [${shape.join(", ")}], ` +
          "as config.json says, got [2, 1]",
      );
    }
  });

  test("a folder without safetensors", async () => {
    const folder = temporaryFolder();
    const message = `loadModel: expected ${FILE} or ${INDEX} in ${folder}, got neither`;
    expect((await refusal(folder)).message).toBe(message);
    writeFileSync(join(folder, "pytorch_model.bin"), "pickle");
    expect((await refusal(folder)).message).toBe(
      `${message} (pytorch_model.bin is there, but pickled weights are not supported: convert to safetensors)`,
    );
  });
});

describe("shards", () => {
  function shardedFolder(weightMap: unknown): string {
    const folder = temporaryFolder();
    writeSafetensors(join(folder, "one.safetensors"), { a: float32Tensor([1], [1]) });
    writeSafetensors(join(folder, "two.safetensors"), { b: float32Tensor([1], [2]) });
    writeFileSync(join(folder, INDEX), JSON.stringify({ metadata: {}, weight_map: weightMap }));
    return folder;
  }

  test("tensors are found through the index", async () => {
    const tensors = await openFolder(shardedFolder({ a: "one.safetensors", b: "two.safetensors" }));
    expect([tensors.has("a"), tensors.has("b"), tensors.has("c")]).toEqual([true, true, false]);
    expect(await tensors.read("b")).toEqual(Float32Array.of(2));
    expect(() => tensors.read("c")).toThrow(
      `expected tensor c in ${tensors.listing}, got a checkpoint without it`,
    );
    expect(tensors.listing.endsWith(INDEX)).toBe(true);
  });

  test("a shard that is not there", async () => {
    const folder = shardedFolder({ a: "one.safetensors", c: "three.safetensors" });
    expect((await refusal(folder)).message).toBe(
      `loadModel: expected shard three.safetensors beside ${join(folder, INDEX)}, which has tensor c in it, ` +
        "got no such file",
    );
  });

  test("a tensor that is not in its shard", async () => {
    const folder = shardedFolder({ a: "one.safetensors", b: "one.safetensors" });
    expect((await refusal(folder)).message).toBe(
      `loadModel: expected tensor b in shard one.safetensors, as ${join(folder, INDEX)} says, got a shard without it`,
    );
  });

  test("a tensor that the index leaves out is there, as other readers have it", async () => {
    const folder = shardedFolder({ a: "one.safetensors", b: "two.safetensors" });
    writeSafetensors(join(folder, "two.safetensors"), {
      b: float32Tensor([1], [2]),
      c: float32Tensor([1], [3]),
    });
    expect(await (await openFolder(folder)).read("c")).toEqual(Float32Array.of(3));
  });

  test("a tensor in two shards", async () => {
    const folder = shardedFolder({ a: "one.safetensors", b: "two.safetensors" });
    writeSafetensors(join(folder, "two.safetensors"), {
      a: float32Tensor([1], [9]),
      b: float32Tensor([1], [2]),
    });
    expect((await refusal(folder)).message).toBe(
      `loadModel: expected tensor a in one file, got it in ${join(folder, "one.safetensors")} and in ${join(folder, "two.safetensors")}`,
    );
  });

  test("a tensor twice in the index, and one of a strange name", async () => {
    const folder = shardedFolder({});
    writeFileSync(join(folder, INDEX), '{"weight_map":{"a":"one.safetensors","a":"two.safetensors"}}');
    expect((await refusal(folder)).message).toBe(
      `loadModel: expected ${join(folder, INDEX)} to have every name once, got "a" twice`,
    );
    writeFileSync(join(folder, INDEX), '{"weight_map":{"__proto__":"one.safetensors"}}');
    expect((await refusal(folder)).message).toContain("expected tensor __proto__ in shard one.safetensors");
  });

  test("tensors that share memory: the one that was kept, under either name", async () => {
    const folder = temporaryFolder();
    const header = {
      __metadata__: { format: "pt", shared: "a", other: "b" },
      a: { dtype: "F32", shape: [1], data_offsets: [0, 4] },
    };
    const bytes = new Uint8Array(Float32Array.of(7).buffer);
    writeFileSync(join(folder, FILE), safetensorsBytes(JSON.stringify(header), bytes));
    const tensors = await openFolder(folder);
    expect([tensors.has("format"), tensors.has("other")]).toEqual([false, false]);
    expect(await tensors.read("shared")).toEqual(Float32Array.of(7));
    expect(await tensors.haveSameValues("shared", "a")).toBe(true);
  });

  test("a broken shard is named", async () => {
    const folder = shardedFolder({ a: "one.safetensors", b: "two.safetensors" });
    truncateSync(join(folder, "two.safetensors"), 4);
    expect((await refusal(folder)).message).toContain(`got 4 bytes in ${join(folder, "two.safetensors")}`);
  });

  test("an index that is no index", async () => {
    const folder = shardedFolder(undefined);
    expect((await refusal(folder)).message).toBe(
      `loadModel: expected weight_map of ${join(folder, INDEX)} to give each tensor's file, got none`,
    );
    writeFileSync(join(folder, INDEX), "{");
    expect((await refusal(folder)).message).toContain(
      `loadModel: expected ${join(folder, INDEX)} to be JSON, got SyntaxError`,
    );
  });

  test("an index that points out of its folder", async () => {
    const folder = shardedFolder({ a: "../elsewhere/one.safetensors" });
    expect((await refusal(folder)).message).toBe(
      `loadModel: expected weight_map of ${join(folder, INDEX)} to name safetensors files beside it, ` +
        'got "../elsewhere/one.safetensors" for a',
    );
  });
});
