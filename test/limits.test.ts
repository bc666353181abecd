/** Options that multiply work or memory are refused beyond their limits, wherever they are written. */

import { describe, expect, it } from "vitest";
import { randomModel } from "../bench/random-model.js";
import { parseJob } from "../src/batch/parse-job.js";
import { jobSpecSchema } from "../src/batch/spec.js";
import { checkCertifyOptions } from "../src/bounds/certify.js";
import { InputError } from "../src/errors.js";
import { parseWindowShape } from "../src/exact/windows.js";
import { checkLimit, LIMITS } from "../src/limits.js";
import { checkBatchSize } from "../src/prompts/buckets.js";
import { samplePairs } from "../src/prompts/sample-pairs.js";
import { drawPairs } from "../src/sources/draws.js";
import { noiseSource } from "../src/sources/noise.js";
import { runHere } from "./cli/run-cli.js";
import { startTestEngine } from "./support/engine.js";
import { jobByHand } from "./support/job-by-hand.js";
import { TINY_CONFIGS } from "./support/tiny-config.js";
import { tokenPair } from "./support/token-pair.js";

const BIGGEST = Number.MAX_SAFE_INTEGER;

it("a number within its limit passes", () => {
  checkLimit("f", "x", LIMITS.noiseDraws.most, LIMITS.noiseDraws);
  expect(() => checkLimit("f", "x", LIMITS.noiseDraws.most + 1, LIMITS.noiseDraws)).toThrow(
    new InputError(
      "f: expected x to be at most 10000, because each of them is a run of every pair, got 10001",
    ),
  );
});

describe("the command line", () => {
  const run = ["--model", "models/demo", "--pairs", "models/demo/pairs/ioi.jsonl"];
  it.each([
    ["localize", "--noise-draws", 10_000],
    ["localize", "--batch-size", 65_536],
    ["localize", "--top-k", 4_194_304],
    ["localize", "--max-pairs", 4_194_304],
    ["localize", "--budget", 1_000_000_000_000],
    ["localize", "--prevalence-sample", 4_194_304],
  ])("%s %s", async (command, option, most) => {
    for (const value of [most + 1, BIGGEST]) {
      const { code, stderr } = await runHere([command, ...run, option, String(value)]);
      expect(stderr).toContain(`argument '${value}' is invalid. Expected at most ${most}, because `);
      expect(code).toBe(2);
    }
  });

  it("refuses a window that no model has room for, and workers without end", async () => {
    const wide = await runHere(["sweep", ...run, "--window", `layers:${BIGGEST}`]);
    expect(wide.stderr).toContain("expected the width to be at most 1048576, because");
    expect(wide.code).toBe(2);
    const crowd = await runHere(["batch", "run", "job.json", "--workers", "1025"]);
    expect(crowd.stderr).toContain("Expected at most 1024, because");
    expect(crowd.code).toBe(2);
  });
});

describe("jobs", () => {
  const spec = { model: "m", pairs: "p", output: "o" };
  it.each<[string, object]>([
    ["source.noise.draws", { source: { noise: { at: ["end"], draws: 10_001 } } }],
    ["batchSize", { batchSize: 65_537 }],
    ["maxPairs", { maxPairs: BIGGEST }],
    ["verify.topK", { verify: { topK: BIGGEST } }],
    ["certify.budget", { certify: { confidence: 0.9, budget: 1e13 } }],
    ["certify.prevalenceSample", { certify: { confidence: 0.9, prevalenceSample: BIGGEST } }],
    ["shards.pairs", { shards: { pairs: 65_537 } }],
    ["shards.nodes", { shards: { nodes: BIGGEST } }],
    ["shards.samples", { shards: { samples: BIGGEST } }],
    ["shards.retries", { shards: { retries: 101 } }],
    ["threads", { threads: 1025 }],
  ])("as they are written: %s", (field, changes) => {
    const { error } = jobSpecSchema.safeParse({ ...spec, ...changes });
    expect(error?.issues.map(({ path }) => path.join("."))).toEqual([field]);
    expect(JSON.stringify(error?.issues)).toContain("expected at most ");
  });

  it("as they travel", () => {
    const source = { kind: "noise", at: ["end"], multiple: 3, draws: 10_001, seed: 0 } as const;
    for (const changes of [{ source }, { batchSize: 65_537 }, { threads: 1025 }]) {
      expect(() => parseJob(jobByHand(changes))).toThrow("expected at most ");
    }
  });
});

describe("the library", () => {
  it("has the same limits", async () => {
    expect(() => checkBatchSize(65_537)).toThrow("batchPairs: expected batchSize to be at most 65536");
    expect(() => samplePairs([], BIGGEST, 0)).toThrow("samplePairs: expected count to be at most 4194304");
    expect(() => parseWindowShape("layers:1048577")).toThrow("expected the width to be at most 1048576");
    const certify = { topK: 1, confidence: 0.9 };
    expect(() => checkCertifyOptions({ ...certify, budget: 1e13 }, 10)).toThrow("budget to be at most");
    await startTestEngine();
    const model = randomModel(TINY_CONFIGS.plain);
    await expect(noiseSource(model, { at: [0], draws: 10_001 })).rejects.toThrow(
      "noiseSource: expected draws to be at most 10000, because each of them is a run of every pair, got 10001",
    );
    const source = await noiseSource(model, { at: [0], draws: 10_000 });
    const pairs = Array.from({ length: 210 }, () => tokenPair([1, 2], [1, 3]));
    expect(() => drawPairs(pairs, source)).toThrow(
      "drawPairs: expected pairs × draws to be at most 2097152, because all of them are held in memory, got 2100000",
    );
    model.dispose();
  });
});
