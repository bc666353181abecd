import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PIECE_VALUES, sharesOf } from "../../src/checkpoint/reading-shares.js";
import { ReadingThreads } from "../../src/checkpoint/reading-threads.js";
import { readSlices, type StoredSlice } from "../../src/checkpoint/stored-slice.js";

const WHOLE = PIECE_VALUES + 12_345;
/** Runs of a fused tensor: 3 parts of 1,000 values each, interleaved. */
const RUNS = { first: 1000, count: 4500, length: 1000, stride: 3000 };
const STORED = RUNS.count * RUNS.stride;

let folder: string;
let file: string;
let fd: number;
let slices: StoredSlice[];
const values = WHOLE + RUNS.count * RUNS.length + 77;

// 16-bit values that say where they are: i mod 65,536 with the bits of a finite number, little-endian.
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "atpkit-threads-"));
  file = join(folder, "weights.bin");
  fd = openSync(file, "w+");
  const stored = Uint16Array.from({ length: WHOLE + STORED + 77 }, (_, i) => (i * 40_503) % 0x7c00);
  writeSync(fd, new Uint8Array(stored.buffer));
  const whole = { first: 0, count: 1, length: WHOLE, stride: WHOLE };
  const rest = { first: 0, count: 1, length: 77, stride: 77 };
  const place = { fd, file, dtype: "BF16" } as const;
  slices = [
    { ...place, start: 0, runs: whole, offset: 0 },
    { ...place, start: 2 * WHOLE, runs: RUNS, offset: WHOLE },
    { ...place, start: 2 * (WHOLE + STORED), runs: rest, offset: WHOLE + RUNS.count * RUNS.length },
  ];
});

afterAll(async () => {
  closeSync(fd);
  await rm(folder, { recursive: true, force: true });
});

describe("shares of an order", () => {
  it.each([1, 2, 3, 7])("of %i threads have every value once, and about as many each", (count) => {
    const shares = sharesOf(slices, count);
    expect(shares).toHaveLength(count);
    const sizes = shares.map((share) => share.reduce((sum, { runs }) => sum + runs.count * runs.length, 0));
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(values);
    // Four pieces: no share of the largest ones differs by more than one of them.
    expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(PIECE_VALUES);
    const targets = shares.flat().map(({ offset, runs }) => [offset, offset + runs.count * runs.length]);
    targets.sort(([a], [b]) => a - b);
    expect(targets[0][0]).toBe(0);
    for (let t = 1; t < targets.length; t++) expect(targets[t][0]).toBe(targets[t - 1][1]);
  });
});

describe("reading threads", () => {
  it("fill a buffer as one thread does", async () => {
    const expected = new Float32Array(values);
    readSlices(slices, expected);
    expect(new Set(expected).size).toBeGreaterThan(30_000);
    const threads = new ReadingThreads(3);
    try {
      const buffer = new SharedArrayBuffer(4 * values);
      await threads.read({ slices, buffer });
      expect(Buffer.compare(Buffer.from(buffer), Buffer.from(expected.buffer))).toBe(0);
    } finally {
      await threads.close();
    }
  });

  it("say what one of them could not read, and then read on", async () => {
    const threads = new ReadingThreads(2);
    try {
      const buffer = new SharedArrayBuffer(4 * values);
      const short = join(folder, "short.bin");
      const shortFd = openSync(short, "w+");
      ftruncateSync(shortFd, 100);
      const bad = { ...slices[0], fd: shortFd, file: short };
      const failing = threads.read({ slices: [slices[1], bad], buffer });
      const after = threads.read({ slices, buffer });
      await expect(failing).rejects.toThrow(/expected \d+ more bytes at 100 of .*short\.bin/);
      await after;
      const expected = new Float32Array(values);
      readSlices(slices, expected);
      expect(Buffer.compare(Buffer.from(buffer), Buffer.from(expected.buffer))).toBe(0);
      closeSync(shortFd);
    } finally {
      await threads.close();
    }
  });
});
