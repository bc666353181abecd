import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { showProgress } from "../../src/cli/progress.js";

let written: string;
const wasTerminal = process.stderr.isTTY;

beforeEach(() => {
  written = "";
  vi.spyOn(process.stderr, "write").mockImplementation((chunk) => {
    written += chunk;
    return true;
  });
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  process.stderr.isTTY = wasTerminal;
});

const linesOf = (text: string) => text.trimEnd().split("\n");

describe("progress that does not go to a terminal", () => {
  beforeEach(() => {
    process.stderr.isTTY = false;
  });

  it("is at most ten lines for a stage, with the time left, and one for what is done", () => {
    const { stage } = showProgress();
    for (let done = 1; done <= 1000; done++) {
      vi.advanceTimersByTime(100);
      stage({ stage: "verify", done, total: 1000 });
    }
    const lines = linesOf(written);
    expect(lines.length).toBe(10);
    expect(lines[0]).toBe("atp: verify: 100 of 1000 patched runs, 10 %, about 90 s left");
    expect(lines[9]).toBe("atp: verify: 1000 of 1000 patched runs, 100.0 s");
  });

  it("is one line for a stage that takes no time", () => {
    const { stage } = showProgress();
    for (let done = 1; done <= 50; done++) stage({ stage: "load", done, total: 50 });
    expect(linesOf(written)).toEqual(["atp: load: 50 of 50 layers, 0.0 s"]);
  });

  it("counts each stage and each file for itself", () => {
    const { stage, download } = showProgress();
    download({ file: "config.json", loadedBytes: 500, totalBytes: 500 });
    vi.advanceTimersByTime(4000);
    download({ file: "model.safetensors", loadedBytes: 1e6, totalBytes: 4e6 });
    stage({ stage: "estimate", done: 2, total: 2 });
    expect(linesOf(written)).toEqual([
      "atp: download config.json: 0.0 of 0.0 MB, 0.0 s",
      "atp: download model.safetensors: 1.0 of 4.0 MB, 25 %, about 12 s left",
      "atp: estimate: 2 of 2 pairs, 0.0 s",
    ]);
  });
});

describe("progress on a terminal", () => {
  beforeEach(() => {
    process.stderr.isTTY = true;
  });

  it("is a bar for each stage, with the time left, and ends with a line of its own", () => {
    const { stage, finish } = showProgress();
    stage({ stage: "estimate", done: 1, total: 4 });
    vi.advanceTimersByTime(1000);
    stage({ stage: "estimate", done: 4, total: 4 });
    stage({ stage: "verify", done: 1, total: 2 });
    finish();
    expect(written).toContain("estimate [");
    expect(written).toContain("100 % | 4 of 4 pairs | 0s left");
    expect(written).toMatch(/verify {3}\[=+-+\] 50 % \| 1 of 2 patched runs/);
    expect(written.endsWith("\n")).toBe(true);
  });

  it("is a bar for each file", () => {
    const { download, finish } = showProgress();
    download({ file: "a.safetensors", loadedBytes: 1e6, totalBytes: 2e6 });
    download({ file: "b.safetensors", loadedBytes: 3e6, totalBytes: 4e6 });
    vi.advanceTimersByTime(1000);
    finish();
    expect(written).toMatch(/a\.safetensors \[=+-+\] 50 % \| 1\.0 of 2\.0 MB/);
    expect(written).toMatch(/b\.safetensors \[=+-+\] 75 % \| 3\.0 of 4\.0 MB/);
  });
});
