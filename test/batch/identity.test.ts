import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalJson, hashJob, shardName } from "../../src/batch/identity.js";
import type { Job } from "../../src/batch/job.js";
import { parseJob } from "../../src/batch/parse-job.js";
import { JOB_PAIRS, jobByHand } from "../support/job-by-hand.js";

/** The same value with the fields of every object the other way round. */
function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, part]) => [key, reversed(part)]),
  );
}

/** Each way in which a job can differ from the one by hand: all of its fields, and all of a pair's. */
const CHANGES: Readonly<Record<string, Partial<Job>>> = {
  atpkit: { atpkit: "9.9.9" },
  backend: { backend: jobByHand().backend === "wasm" ? "tensorflow" : "wasm" },
  threads: { threads: 1 },
  otherThreads: { threads: 2 },
  modelName: { model: { ...jobByHand().model, name: "other" } },
  modelHash: { model: { ...jobByHand().model, hash: "1".repeat(64) } },
  fewerPairs: { pairs: JOB_PAIRS.slice(1) },
  orderOfPairs: { pairs: [...JOB_PAIRS].reverse() },
  ...Object.fromEntries(
    Object.entries({
      name: "other",
      clean: [83, 17, 11, 81, 7, 3, 86],
      corrupted: [83, 29, 11, 81, 19, 3, 86],
      noCorrupted: undefined,
      answers: [71],
      wrong: [8],
      roles: [["subject", 1] as const, ["end", 6] as const],
      metricPosition: 5,
      origin: "elsewhere",
    }).map(([field, value]) => [
      `pair ${field}`,
      {
        pairs: [
          { ...JOB_PAIRS[0], [field.replace("noCorrupted", "corrupted")]: value },
          ...JOB_PAIRS.slice(1),
        ],
      },
    ]),
  ),
  zero: { source: { kind: "zero" } },
  mean: { source: { kind: "mean" } },
  meanOfOthers: { source: { kind: "mean", pairs: JOB_PAIRS } },
  noise: { source: { kind: "noise", at: ["end"], multiple: 3, draws: 10, seed: 0 } },
  noiseAt: { source: { kind: "noise", at: ["subject"], multiple: 3, draws: 10, seed: 0 } },
  noiseScale: { source: { kind: "noise", at: ["end"], multiple: 2, draws: 10, seed: 0 } },
  noiseDraws: { source: { kind: "noise", at: ["end"], multiple: 3, draws: 9, seed: 0 } },
  noiseSeed: { source: { kind: "noise", at: ["end"], multiple: 3, draws: 10, seed: 1 } },
  metric: { metrics: [{ output: "logit" }] },
  moreMetrics: { metrics: [{ output: "logit-diff" }, { output: "logit" }] },
  direction: { direction: "denoising" },
  sites: { sites: ["q", "k", "z"] },
  orderOfSites: { sites: ["k", "q", "z", "mlpOut"] },
  positions: { positions: "all" },
  method: { method: "atp" },
  byPair: { byPair: true },
  batchSize: { batchSize: 3 },
  activationBudgetBytes: { activationBudgetBytes: 2 ** 25 },
};

describe("hashJob", () => {
  it("is SHA-256 of JSON with sorted keys and nothing else", () => {
    expect(canonicalJson({ b: [1, { d: -0.5, c: null }], a: "ü", e: undefined })).toBe(
      '{"a":"ü","b":[1,{"c":null,"d":-0.5}]}',
    );
    const text = canonicalJson(jobByHand());
    expect(hashJob(jobByHand())).toBe(createHash("sha256").update(text).digest("hex"));
  });

  it("does not depend on the order of fields, and survives a trip through text", () => {
    for (const changes of [{}, ...Object.values(CHANGES)]) {
      const job = jobByHand(changes);
      expect(hashJob(parseJob(reversed(job)))).toBe(hashJob(job));
      expect(hashJob(parseJob(JSON.parse(JSON.stringify(job))))).toBe(hashJob(job));
    }
  });

  it("differs between any two different jobs", () => {
    const names = ["nothing", ...Object.keys(CHANGES)];
    const hashes = names.map((name) => hashJob(jobByHand(CHANGES[name] ?? {})));
    expect(new Set(hashes).size).toBe(names.length);
  });

  it("differs when any number, text or truth value anywhere in the job does", () => {
    const job = jobByHand({
      threads: 2,
      source: { kind: "noise", at: ["end", 1], multiple: 3, draws: 2, seed: 0 },
    });
    const leaves = leavesOf(job);
    expect(leaves.length).toBeGreaterThan(100);
    fc.assert(
      fc.property(
        fc.constantFrom(...leaves),
        fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.string()),
        (path, other) => {
          const before = valueAt(job, path);
          fc.pre(!Object.is(before, other) && !(before === 0 && other === 0));
          expect(sha(changed(job, path, other))).not.toBe(sha(job));
        },
      ),
    );
  });

  it("refuses numbers that JSON has no text for", () => {
    expect(() => canonicalJson({ x: Number.NaN })).toThrow(
      "canonicalJson: expected finite numbers, got NaN for x",
    );
  });
});

describe("shardName", () => {
  it("is 64 digits that depend on the job and on every part of the task", () => {
    const job = hashJob(jobByHand());
    const names = [
      shardName(job, { kind: "estimate", pairs: { first: 0, end: 2 } }),
      shardName(job, { kind: "estimate", pairs: { first: 0, end: 3 } }),
      shardName(job, { kind: "estimate", pairs: { first: 1, end: 2 } }),
      shardName("f".repeat(64), { kind: "estimate", pairs: { first: 0, end: 2 } }),
      shardName(job, { kind: "verify", pairs: { first: 0, end: 2 }, nodes: [1, 2] }),
      shardName(job, { kind: "verify", pairs: { first: 0, end: 2 }, nodes: [2, 1] }),
      shardName(job, { kind: "verify", pairs: { first: 0, end: 2 }, nodes: [12] }),
      shardName(job, {
        kind: "sample",
        excluded: [1],
        probability: 0.5,
        seed: 0,
        samples: { first: 0, end: 2 },
      }),
      shardName(job, {
        kind: "sample",
        excluded: [1],
        probability: 0.5,
        seed: 1,
        samples: { first: 0, end: 2 },
      }),
      shardName(job, {
        kind: "sample",
        excluded: [1],
        probability: 0.4,
        seed: 0,
        samples: { first: 0, end: 2 },
      }),
      shardName(job, {
        kind: "sample",
        excluded: [],
        probability: 0.5,
        seed: 0,
        samples: { first: 0, end: 2 },
      }),
    ];
    expect(new Set(names).size).toBe(names.length);
    for (const name of names) expect(name).toMatch(/^[0-9a-f]{64}$/);
    expect(shardName(job, { pairs: { end: 2, first: 0 }, kind: "estimate" })).toBe(names[0]);
  });
});

function sha(value: unknown): string {
  return createHash("sha256").update(canonicalJson(value)).digest("hex");
}

type Path = readonly (string | number)[];

function leavesOf(value: unknown, path: Path = []): Path[] {
  if (typeof value !== "object" || value === null) return [path];
  if (Array.isArray(value)) return value.flatMap((part, i) => leavesOf(part, [...path, i]));
  return Object.entries(value).flatMap(([key, part]) => leavesOf(part, [...path, key]));
}

function valueAt(value: unknown, path: Path): unknown {
  return path.reduce<unknown>((part, key) => (Object(part) as Record<string, unknown>)[key], value);
}

function changed(value: unknown, [key, ...rest]: Path, other: unknown): unknown {
  if (key === undefined) return other;
  if (Array.isArray(value)) return value.map((part, i) => (i === key ? changed(part, rest, other) : part));
  return Object.fromEntries(
    Object.entries(Object(value)).map(([name, part]) => [
      name,
      name === key ? changed(part, rest, other) : part,
    ]),
  );
}
