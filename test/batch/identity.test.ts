import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hashJob, jobHashes, nameTask, shardName } from "../../src/batch/identity.js";
import type { Job } from "../../src/batch/job.js";
import { parseJob } from "../../src/batch/parse-job.js";
import { canonicalJson } from "../../src/canonical-json.js";
import { projection } from "../../src/prompts/metrics/internal.js";
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

/** Each way in which a job's numbers can differ from those of the one by hand: all fields of it and of a pair that decide them. */
const CHANGES: Readonly<Record<string, Partial<Job>>> = {
  atpkit: { atpkit: "9.9.9" },
  backend: { backend: jobByHand().backend === "wasm" ? "tensorflow" : "wasm" },
  threads: { threads: 1 },
  otherThreads: { threads: 2 },
  modelHash: { model: { ...jobByHand().model, hash: "1".repeat(64) } },
  fewerPairs: { pairs: JOB_PAIRS.slice(1) },
  orderOfPairs: { pairs: [...JOB_PAIRS].reverse() },
  ...Object.fromEntries(
    Object.entries({
      clean: [83, 17, 11, 81, 7, 3, 86],
      corrupted: [83, 29, 11, 81, 19, 3, 86],
      noCorrupted: undefined,
      answers: [71],
      wrong: [8],
      roles: [["subject", 1] as const, ["end", 6] as const],
      metricPosition: 5,
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
  batchSize: { batchSize: 3 },
  activationBudgetBytes: { activationBudgetBytes: 2 ** 25 },
};

/** Each way in which a job can differ without a number being another one. */
const NAMES: Readonly<Record<string, Partial<Job>>> = {
  modelName: { model: { ...jobByHand().model, name: "./other/../gpt2" } },
  pairName: { pairs: JOB_PAIRS.map((pair) => ({ ...pair, name: `${pair.name}2` })) },
  noPairName: { pairs: JOB_PAIRS.map(({ name: _, ...pair }) => pair) },
  pairOrigin: { pairs: JOB_PAIRS.map((pair) => ({ ...pair, origin: `${pair.origin}:2` })) },
  workload: { workload: { byPair: true, pairs: 1, nodes: 1 } },
};

describe("hashJob", () => {
  it("is SHA-256 of JSON with sorted keys and nothing else", () => {
    expect(canonicalJson({ b: [1, { d: -0.5, c: null }], a: "ü", e: undefined })).toBe(
      '{"a":"ü","b":[1,{"c":null,"d":-0.5}]}',
    );
    const { pairs, workload: _, ...job } = jobByHand();
    const hashed = {
      ...job,
      model: { hash: job.model.hash },
      pairs: pairs.map(({ name: _name, origin: _origin, ...pair }) => pair),
    };
    const text = canonicalJson(hashed);
    expect(text).not.toContain("gpt2");
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

  it("is the same where only names that people read, or plans of memory, differ", () => {
    for (const changes of Object.values(NAMES)) {
      expect(jobByHand(changes)).not.toEqual(jobByHand());
      expect(hashJob(jobByHand(changes))).toBe(hashJob(jobByHand()));
    }
    const meanOf = (pairs: Job["pairs"]) => hashJob(jobByHand({ source: { kind: "mean", pairs } }));
    for (const { pairs = JOB_PAIRS } of Object.values(NAMES)) expect(meanOf(pairs)).toBe(meanOf(JOB_PAIRS));
    expect(meanOf(JOB_PAIRS.slice(1))).not.toBe(meanOf(JOB_PAIRS));
  });

  it.each<[string, Job["source"]]>([
    ["noise", { kind: "noise", at: ["end", 1], multiple: 3, draws: 2, seed: 0 }],
    ["a mean", { kind: "mean", pairs: JOB_PAIRS.slice(2) }],
  ])(
    "differs when any number, text or truth value anywhere in the job does, but for those: with %s",
    (_, source) => {
      const job = jobByHand({ threads: 2, source });
      const leaves = leavesOf(job);
      expect(leaves.length).toBeGreaterThan(100);
      const isRead = (path: Path) =>
        !(path[0] === "workload" || /^(model,name|(source,)?pairs,\d+,(name|origin))$/.test(path.join()));
      expect(leaves.filter(isRead).length).toBeGreaterThan(100);
      expect(leaves.filter((path) => !isRead(path)).length).toBeGreaterThan(10);
      fc.assert(
        fc.property(
          fc.constantFrom(...leaves),
          fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.string()),
          (path, other) => {
            const before = valueAt(job, path);
            fc.pre(!Object.is(before, other) && !(before === 0 && other === 0));
            const hash = hashJob(changed(job, path, other) as Job);
            expect([path, hash === hashJob(job)]).toEqual([path, !isRead(path)]);
          },
        ),
      );
    },
  );

  it("refuses numbers that JSON has no text for", () => {
    expect(() => canonicalJson({ x: Number.NaN })).toThrow(
      "canonicalJson: expected finite numbers, got NaN for x",
    );
  });
});

describe("an internal metric", () => {
  const direction = (name: string, weights: readonly number[], position: number | string = "end") =>
    jobHashes(
      jobByHand({
        metrics: [
          {
            internal: projection({
              layer: 1,
              site: "residPost",
              position,
              direction: weights,
              directionName: name,
            }),
          },
        ],
      }),
    );

  it("is known by what it reads, not by the name of its file", () => {
    expect(direction("b/other.json", [1, 2])).toEqual(direction("a.json", [1, 2]));
    expect(direction("a.json", [1, 3]).verify).not.toBe(direction("a.json", [1, 2]).verify);
    expect(direction("a.json", [1, 2], -1).verify).not.toBe(direction("a.json", [1, 2]).verify);
  });
});

describe("jobHashes", () => {
  it("differ for every kind with everything that it reads; with further metrics, for verify shards alone", () => {
    const before = jobHashes(jobByHand());
    expect(before.verify).toBe(hashJob(jobByHand()));
    const more = jobHashes(jobByHand({ metrics: [{ output: "logit-diff" }, { output: "logit" }] }));
    expect(more).toEqual({ ...before, verify: more.verify });
    expect(more.verify).not.toBe(before.verify);
    const { moreMetrics: _, ...others } = CHANGES;
    for (const [name, changes] of Object.entries(others)) {
      const after = jobHashes(jobByHand(changes));
      for (const kind of ["estimate", "verify", "sample"] as const)
        expect([name, kind, after[kind] === before[kind]]).toEqual([name, kind, false]);
    }
  });

  it("name a task by the one of its kind", () => {
    const hashes = { estimate: "1".repeat(64), verify: "2".repeat(64), sample: "3".repeat(64) };
    const pairs = { first: 0, end: 1 };
    for (const task of [
      { kind: "estimate", pairs, method: "atp", byPair: false },
      { kind: "verify", pairs, nodes: [1] },
      { kind: "sample", excluded: [], probability: 0.5, seed: 0, samples: pairs },
    ] as const) {
      expect(nameTask(hashes, task)).toEqual({ name: shardName(hashes[task.kind], task), task });
    }
  });
});

describe("shardName", () => {
  it("is 64 digits that depend on the job and on every part of the task", () => {
    const job = hashJob(jobByHand());
    const estimate = { kind: "estimate", pairs: { first: 0, end: 2 }, method: "atp", byPair: false } as const;
    const names = [
      shardName(job, estimate),
      shardName(job, { ...estimate, pairs: { first: 0, end: 3 } }),
      shardName(job, { ...estimate, pairs: { first: 1, end: 2 } }),
      shardName(job, { ...estimate, method: "atp*" }),
      shardName(job, { ...estimate, byPair: true }),
      shardName("f".repeat(64), estimate),
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
    const { pairs, ...rest } = estimate;
    expect(shardName(job, { ...rest, pairs: { end: pairs.end, first: pairs.first } })).toBe(names[0]);
  });
});

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
