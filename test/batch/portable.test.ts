import { describe, expect, it } from "vitest";
import { parseJob, parseTask } from "../../src/batch/parse-job.js";
import { metricOf, pairOf, portableMetric, portablePair } from "../../src/batch/portable.js";
import { unpackJob } from "../../src/batch/unpack-job.js";
import { InputError } from "../../src/errors.js";
import type { ModelConfig } from "../../src/model/config.js";
import { METRICS } from "../../src/prompts/metrics/index.js";
import { attentionWeight, neuronActivation, projection } from "../../src/prompts/metrics/internal.js";
import { makePair } from "../../src/prompts/pair.js";
import { JOB_PAIRS, jobByHand } from "../support/job-by-hand.js";
import { TINY_CONFIGS } from "../support/tiny-config.js";

const CONFIG: ModelConfig = { ...TINY_CONFIGS.plain, vocabulary: 97, maxPositions: 64 };

/** What arrives on the other side. */
function sent<Value>(value: Value): Value {
  return JSON.parse(JSON.stringify(value));
}

describe("pairs as data", () => {
  it("come back as they went, with their roles in their order", () => {
    for (const portable of JOB_PAIRS) {
      const pair = pairOf(sent(portable), CONFIG);
      expect(portablePair(pair)).toEqual(portable);
      expect(pairOf(sent(portablePair(pair)), CONFIG)).toEqual(pair);
      expect([...pair.roles]).toEqual(portable.roles);
    }
    const input = {
      clean: [1, 2, 3],
      corrupted: [1, 4, 3],
      answers: [5],
      roles: { z: 2, a: -1, __proto__x: 0 },
    };
    const made = makePair(
      { ...input, position: "a" },
      { config: CONFIG },
      { answers: true, wrong: false },
      "here",
    );
    const back = pairOf(sent(portablePair(made)), CONFIG);
    expect(back).toEqual(made);
    expect([...back.roles.keys()]).toEqual(["z", "a", "__proto__x"]);
  });

  it("have one prompt where they had one: it is the same array, which noise stands in for", () => {
    const needs = { answers: false, wrong: false, corrupted: false };
    const made = makePair({ clean: [1, 2, 3] }, { config: CONFIG }, needs, "here");
    expect(made.corrupted).toBe(made.clean);
    const back = pairOf(sent(portablePair(made)), CONFIG);
    expect(back.corrupted).toBe(back.clean);
    expect(back).toEqual(made);
  });

  it("are not those of one draw of a noise source", () => {
    const pair = pairOf(JOB_PAIRS[0], CONFIG);
    const noised = { ...pair, noise: { positions: [0], values: () => new Float32Array(12) } };
    expect(() => portablePair(noised)).toThrow(
      "portablePair: pairs:a: expected a pair without noise, got one with",
    );
  });

  it.each<[Record<string, unknown>, string]>([
    [
      { clean: [97, 1, 2, 3, 4, 5, 6] },
      "clean[0]: expected a token id of the model's vocabulary, an integer from 0 to 96, got 97",
    ],
    [
      { clean: [1], corrupted: [2], metricPosition: 3, roles: [] },
      "position: expected an integer position from -1 to 0 (the prompt has 1 tokens), got 3",
    ],
    [{ clean: [] }, "clean: expected at least 1 token, got an empty prompt"],
    [{ clean: Array(65).fill(1) }, "clean: expected at most 64 tokens, got 65 (made for a test)"],
    [{ corrupted: [1, 2] }, "clean and corrupted: expected as many tokens in both, got 7 and 2"],
    [{ answers: [100] }, "answers[0]: expected a token id of the model's vocabulary"],
    [{ answers: [1, 1] }, "answers: expected each token once"],
    [{ wrong: [71] }, "answers and wrong: expected different tokens"],
    [
      { roles: [["end", 7]] },
      "roles.end: expected an integer position from -7 to 6 (the prompt has 7 tokens), got 7",
    ],
    [
      { roles: [["a b", 1]] },
      'roles: expected role names of letters, digits, "_" and "-" that start with a letter or "_", got "a b"',
    ],
    [
      {
        roles: [
          ["x", 1],
          ["x", 2],
        ],
      },
      "roles: expected each role once, got x twice",
    ],
  ])("are refused with %j", (changes, text) => {
    const job = parseJob(jobByHand({ pairs: [{ ...JOB_PAIRS[0], ...changes }] }));
    expect(() => unpackJob(job, CONFIG)).toThrow(InputError);
    expect(() => unpackJob(job, CONFIG)).toThrow(`pairOf: pairs:a: ${text}`);
  });
});

describe("metrics as data", () => {
  const internal = [
    attentionWeight({ layer: 1, head: 3, query: "end", key: -2 }),
    neuronActivation({ layer: 0, neuron: 9, position: 4 }),
    projection({
      layer: 2,
      site: "residPost",
      position: -1,
      direction: Array.from({ length: CONFIG.width }, (_, d) => (d - 3) / 7),
      directionName: "some: folder/direction.json",
    }),
  ];

  it("come back as they went", () => {
    for (const metric of METRICS) expect(metricOf(sent(portableMetric(metric)), CONFIG)).toBe(metric);
    for (const metric of internal) {
      const back = parseJob(sent(jobByHand({ metrics: [portableMetric(metric)] }))).metrics[0];
      expect(metricOf(back, CONFIG)).toEqual(metric);
    }
  });

  it.each<[object, string]>([
    [{ output: "accuracy2" }, "metrics[0].output: expected one of logit-diff, logit, "],
    [
      { internal: { ...internal[0], description: "hello" } },
      "metricOf: L1.pattern[3]@end:-2: expected the metric of that name, got one that differs from L1.pattern[3]@end:-2",
    ],
    [
      { internal: { ...internal[1], name: "L9.neuron[9]@4" } },
      "metricOf: L9.neuron[9]@4: expected the metric of that name, got one that differs from L0.neuron[9]@4",
    ],
    [
      { internal: { ...internal[1], reads: { point: "neuron", layer: 3 } } },
      "checkModelForMetric: metric L3.neuron[9]@4: expected a layer from 0 to 2, got 3",
    ],
    [
      { internal: { ...internal[0], takes: { head: 4, key: 0 } } },
      "checkModelForMetric: metric L1.pattern[4]@end:0: expected a head from 0 to 3, got 4",
    ],
    [
      { internal: { ...internal[2], takes: { direction: [1, 2] } } },
      "expected a direction of 12 numbers, the width of the residual stream, got 2",
    ],
    [
      { internal: { ...internal[2], takes: { direction: [1e300] } } },
      "projection: expected a direction of numbers that float32 can hold, got 1e+300 at place 0",
    ],
    [
      { internal: { ...internal[2], reads: { point: "z", layer: 2 } } },
      "metricOf: L2.residPost@-1:some: folder/direction.json: expected one of the sites residPre, attnOut, residMid, mlpOut, residPost, got z",
    ],
    [
      { internal: { ...internal[0], takes: { head: -1, key: 0 } } },
      "metrics[0].internal.takes.head: expected 0 or a positive integer, got -1",
    ],
    [
      { internal: { ...internal[0], needs: { answers: true, wrong: false } } },
      "metrics[0].internal.needs.answers: expected false, got true",
    ],
    [{ internal: { ...internal[0], prepare: "x" } }, "unknown field `metrics[0].internal.prepare`"],
  ])("are refused: %j", (metric, text) => {
    const unpacked = () => unpackJob(parseJob({ ...jobByHand(), metrics: [metric] }), CONFIG);
    expect(unpacked).toThrow(InputError);
    expect(unpacked).toThrow(text);
  });
});

describe("parseJob", () => {
  it("takes what it gives, and nothing is lost", () => {
    for (const job of [
      jobByHand(),
      jobByHand({ threads: 2, source: { kind: "mean", pairs: JOB_PAIRS } }),
      jobByHand({ source: { kind: "noise", at: ["end", 3, "*"], multiple: 2.5, draws: 3, seed: -4 } }),
    ]) {
      expect(parseJob(sent(job))).toEqual(job);
    }
  });

  it.each<[Record<string, unknown>, string]>([
    [{ atpkit: 1 }, "parseJob: atpkit: expected text of at most 4096 characters, got 1"],
    [{ backend: "cuda" }, 'parseJob: backend: expected one of tensorflow, wasm, got the text "cuda"'],
    [{ threads: 0 }, "parseJob: threads: expected a positive integer, got 0"],
    [
      { model: { name: "x".repeat(4097), hash: "0".repeat(64) } },
      "parseJob: model.name: expected text of at most 4096 characters",
    ],
    [
      { model: { name: "x", hash: "../../etc/passwd" } },
      'parseJob: model.hash: expected a SHA-256, got the text "../../etc/passwd"',
    ],
    [{ model: { name: "x", hash: "0".repeat(64), folder: "/" } }, "parseJob: unknown field `model.folder`"],
    [{ pairs: [] }, "parseJob: pairs: expected at least one pair, got an array"],
    [
      { pairs: [{ ...JOB_PAIRS[0], clean: "text" }] },
      'parseJob: pairs[0].clean: expected an array of at most 4194304 integers, got the text "text"',
    ],
    [
      { pairs: [{ ...JOB_PAIRS[0], clean: [1.5] }] },
      "parseJob: pairs[0].clean[0]: expected 0 or a positive integer, got 1.5",
    ],
    [{ pairs: [{ ...JOB_PAIRS[0], noise: {} }] }, "parseJob: unknown field `pairs[0].noise`"],
    [
      { pairs: [{ ...JOB_PAIRS[0], roles: [["end"]] }] },
      "parseJob: pairs[0].roles[0]: expected a role and its position, got an array",
    ],
    [{ source: { kind: "file", path: "/etc/passwd" } }, "parseJob: source.kind: expected a source, got"],
    [
      { source: { kind: "noise", at: [], multiple: 1, draws: 1, seed: 0 } },
      "parseJob: source.at: expected at least one position, got an array",
    ],
    [
      { source: { kind: "noise", at: ["1x"], multiple: 1, draws: 1, seed: 0 } },
      'parseJob: source.at[0]: expected a position, a role or "*", got the text "1x"',
    ],
    [
      { source: { kind: "noise", at: [1], multiple: 0, draws: 1, seed: 0 } },
      "parseJob: source.multiple: expected a positive number, got 0",
    ],
    [
      { source: { kind: "noise", at: [1], multiple: 1, draws: 1, seed: 2 ** 31 } },
      "parseJob: source.seed: expected an integer from -2^31 to 2^31 - 1, got 2147483648",
    ],
    [{ metrics: [] }, "parseJob: metrics: expected at least one metric, got an array"],
    [{ direction: "up" }, "parseJob: direction: expected one of noising, denoising"],
    [{ sites: ["w"] }, "parseJob: sites[0]: expected one of residPre, q, "],
    [{ positions: 1 }, "parseJob: positions: expected one of each, roles, all, got 1"],
    [
      { workload: { ...jobByHand().workload, method: "exact" } },
      "parseJob: workload.method: expected one of atp, atp+qkfix",
    ],
    [
      { workload: { ...jobByHand().workload, byPair: 1 } },
      "parseJob: workload.byPair: expected true or false, got 1",
    ],
    [
      { workload: { ...jobByHand().workload, nodes: 0 } },
      "parseJob: workload.nodes: expected a positive integer, got 0",
    ],
    [{ batchSize: -1 }, "parseJob: batchSize: expected a positive integer, got -1"],
    [
      { activationBudgetBytes: 1e300 },
      "parseJob: activationBudgetBytes: expected a positive integer, got 1e+300",
    ],
    [{ command: "rm" }, "parseJob: unknown field `command`"],
  ])("refuses %j", (changes, text) => {
    expect(() => parseJob({ ...jobByHand(), ...changes })).toThrow(InputError);
    expect(() => parseJob({ ...jobByHand(), ...changes })).toThrow(text);
  });

  it("names a few errors of many, and what is no object at all", () => {
    const pairs = [{ ...JOB_PAIRS[0], clean: Array(1000).fill(-1) }];
    const message = (() => {
      try {
        return parseJob({ ...jobByHand(), pairs });
      } catch (error) {
        return error instanceof Error ? error.message : "";
      }
    })();
    expect(String(message).split(";").length).toBe(5);
    for (const value of [null, 3, "job", []])
      expect(() => parseJob(value)).toThrow(/^parseJob: expected an object, got /);
  });
});

describe("parseTask", () => {
  it.each<[unknown, string]>([
    [null, "parseTask: expected a task of kind estimate, verify or sample, got null"],
    [{ kind: "shell" }, "parseTask: kind: expected a task of kind estimate, verify or sample, got"],
    [{ kind: "estimate" }, "parseTask: pairs: expected a range, got nothing (the field is missing)"],
    [
      { kind: "estimate", pairs: { first: 2, end: 2 } },
      "parseTask: pairs: expected a range of 1 to 4194304 numbers",
    ],
    [
      { kind: "estimate", pairs: { first: -1, end: 2 } },
      "parseTask: pairs.first: expected 0 or a positive integer, got -1",
    ],
    [
      { kind: "estimate", pairs: { first: 0, end: 2 }, method: "exact", byPair: false },
      'parseTask: method: expected one of atp, atp+qkfix, atp+graddrop, atp*, got the text "exact"',
    ],
    [
      { kind: "estimate", pairs: { first: 0, end: 2 }, method: "atp" },
      "parseTask: byPair: expected true or false, got nothing (the field is missing)",
    ],
    [
      { kind: "verify", pairs: { first: 0, end: 2 }, nodes: [0.5] },
      "parseTask: nodes[0]: expected 0 or a positive integer, got 0.5",
    ],
    [
      { kind: "verify", pairs: { first: 0, end: 2 }, nodes: [0], path: "x" },
      "parseTask: unknown field `path`",
    ],
    [
      { kind: "sample", excluded: [], probability: "x", seed: 0, samples: { first: 0, end: 1 } },
      'parseTask: probability: expected a number, got the text "x"',
    ],
    [
      { kind: "sample", excluded: [], probability: 0.5, seed: 0, samples: { first: 0, end: 2 ** 50 } },
      "parseTask: samples: expected a range of 1 to 4194304 numbers",
    ],
  ])("refuses %j", (value, text) => {
    expect(() => parseTask(value)).toThrow(InputError);
    expect(() => parseTask(value)).toThrow(text);
  });
});

describe("unpackJob", () => {
  it.each<[string, Parameters<typeof jobByHand>[0], string]>([
    [
      "a metric twice",
      { metrics: [{ output: "prob" }, { output: "prob" }] },
      "metricsByName: expected each metric once, got prob twice",
    ],
    [
      "a role that a pair lacks",
      { source: { kind: "noise", at: ["verb"], multiple: 1, draws: 1, seed: 0 } },
      "noiseSource: pairs:a: expected a pair with all that gets noise, verb",
    ],
    [
      "roles of pairs without any",
      { positions: "roles", pairs: [{ ...JOB_PAIRS[0], roles: [] }] },
      'expected pairs with "roles" for positions "roles", got none',
    ],
    [
      "one prompt without noise",
      { pairs: [{ ...JOB_PAIRS[0], corrupted: undefined }] },
      "unpackJob: pairs:a: expected a pair with a corrupted prompt, got one without",
    ],
    [
      "no answers for the metric",
      { pairs: [{ ...JOB_PAIRS[0], answers: [] }] },
      'checkPairsForMetric: pairs:a: metric logit-diff expected "answers" tokens, got none',
    ],
  ])("refuses %s", (_, changes, text) => {
    const job = jobByHand(changes);
    expect(() => unpackJob(job, CONFIG)).toThrow(InputError);
    expect(() => unpackJob(job, CONFIG)).toThrow(text);
  });

  it("takes pairs that are only averaged with a prompt and nothing else", () => {
    const [{ clean, metricPosition }] = JOB_PAIRS;
    const pairs = [{ clean, metricPosition, answers: [], wrong: [], roles: [], origin: "prompts:1" }];
    const ofOneLength = JOB_PAIRS.filter((pair) => pair.clean.length === clean.length);
    const job = jobByHand({ pairs: ofOneLength, source: { kind: "mean", pairs } });
    const { averaged } = unpackJob(job, CONFIG);
    expect(averaged?.pairs.map((pair) => pair.corrupted)).toEqual([clean]);
    expect(averaged?.lengths).toEqual([{ tokens: clean.length, prompts: 1 }]);
    expect(() => unpackJob({ ...job, pairs: JOB_PAIRS }, CONFIG)).toThrow(
      "meanSource: expected a prompt of 5 tokens to average over, as many as pairs:b has, got none among 1",
    );
  });

  it("refuses residMid in a parallel block", () => {
    expect(() =>
      unpackJob(jobByHand({ sites: ["residMid"] }), { ...CONFIG, parallelResidual: true }),
    ).toThrow("makeNodeSpace: expected sites of a test model with parallel residual");
  });
});
