/** Internal metrics: their text, what is checked, and reading them off values given by hand. */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { InputError } from "../../src/errors.js";
import { metricsByName } from "../../src/prompts/metrics/by-names.js";
import { METRICS } from "../../src/prompts/metrics/index.js";
import {
  attentionWeight,
  checkModelForMetric,
  gradientOfInternal,
  neuronActivation,
  type ProjectionSite,
  projection,
  readInternal,
} from "../../src/prompts/metrics/internal.js";
import { isInternal } from "../../src/prompts/metrics/metric.js";
import { checkPairsForMetric } from "../../src/prompts/metrics/on-runs.js";
import { isMetricText, parseMetric } from "../../src/prompts/metrics/parse-metric.js";
import { startTestEngine } from "../support/engine.js";
import { TINY_CONFIGS } from "../support/tiny-config.js";
import { tokenPair } from "../support/token-pair.js";

let folder: string;
let file: string;
beforeAll(async () => {
  await startTestEngine();
  folder = await mkdtemp(join(tmpdir(), "atpkit-metrics-"));
  file = join(folder, "a direction: 1.json");
  await writeFile(file, "[0, 1.5, -2]");
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const EXPECTED =
  "expected one of logit-diff, logit, logprob, prob, prob-diff, nll, kl, rank, accuracy, or an internal metric such as " +
  "L5.pattern[3]@end:subject, L4.neuron[100]@end or L6.residPost@end:direction.json";

describe("text", () => {
  it("of each form is the metric that the constructors make, and its name", () => {
    expect(parseMetric("L5.pattern[3]@end:subject")).toEqual(
      attentionWeight({ layer: 5, head: 3, query: "end", key: "subject" }),
    );
    expect(parseMetric("L5.pattern[3]@-1:0")).toEqual(
      attentionWeight({ layer: 5, head: 3, query: -1, key: 0 }),
    );
    expect(parseMetric("L4.neuron[100]@s-1_b")).toEqual(
      neuronActivation({ layer: 4, neuron: 100, position: "s-1_b" }),
    );
    expect(parseMetric(`L6.attnOut@12:${file}`)).toEqual(
      projection({
        layer: 6,
        site: "attnOut",
        position: 12,
        direction: [0, 1.5, -2],
        directionName: file,
      }),
    );
    for (const text of ["L5.pattern[3]@end:subject", "L4.neuron[100]@-2", `L6.residPost@end:${file}`]) {
      expect(parseMetric(text).name).toBe(text);
      expect(isMetricText(text)).toBe(true);
    }
  });

  it("of an output metric is that one", () => {
    for (const metric of METRICS) {
      expect(parseMetric(metric.name)).toBe(metric);
      expect(isInternal(metric)).toBe(false);
    }
  });

  it.each([
    "loss",
    "L5.pattern[3]@end",
    "L5.pattern@end:0",
    "L5.pattern[3]@*:0",
    "L4.neuron@end",
    "L4.neuron[1]@end:0",
    "L4.z[1]@end",
    "L4.q@end:direction.json",
    "L6.residPost@end",
    "L6.residPost@end:",
    "L-1.neuron[1]@end",
  ])("%s is none", (text) => {
    expect(isMetricText(text)).toBe(false);
    expect(() => parseMetric(text)).toThrow(new InputError(`parseMetric: ${EXPECTED}, got "${text}"`));
  });

  it("of several metrics may be mixed with metrics, each once", () => {
    const weight = attentionWeight({ layer: 0, head: 0, query: 1, key: 0 });
    const metrics = metricsByName(["logit-diff", weight, "L1.neuron[2]@0"]);
    expect(metrics.map(({ name }) => name)).toEqual(["logit-diff", "L0.pattern[0]@1:0", "L1.neuron[2]@0"]);
    expect(() => metricsByName([weight, "L0.pattern[0]@1:0"])).toThrow(
      "metricsByName: expected each metric once, got L0.pattern[0]@1:0 twice",
    );
  });
});

describe("a direction's file", () => {
  it.each<[string, string, (name: string) => string]>([
    ["is not JSON", "[1, 2", (name) => `parseMetric: ${name}: expected JSON, got `],
    [
      "is no array",
      '{"direction": [1]}',
      (name) => `${name}: expected a JSON array of numbers, got an object`,
    ],
    ["is null", "null", (name) => `${name}: expected a JSON array of numbers, got null`],
    ["has text", '[1, "2"]', (name) => `${name}: [1]: expected a number that float32 can hold, got "2"`],
    [
      "has a number that is too large",
      "[1, 2, 1e39]",
      (name) => `${name}: [2]: expected a number that float32 can hold`,
    ],
    [
      "has nested numbers",
      "[[1, 2]]",
      (name) => `${name}: [0]: expected a number that float32 can hold, got [1,2]`,
    ],
    ["is 0", "[0, 0, -0]", (name) => `parseMetric: ${name}: expected a direction that is not 0 throughout`],
    ["is empty", "[]", (name) => `parseMetric: ${name}: expected a direction that is not 0 throughout`],
  ])("that %s is refused", async (_what, text, message) => {
    const name = join(folder, "bad.json");
    await writeFile(name, text);
    expect(() => parseMetric(`L0.residPost@0:${name}`)).toThrow(InputError);
    expect(() => parseMetric(`L0.residPost@0:${name}`)).toThrow(message(name));
  });

  it("that is not there is named", () => {
    const none = join(folder, "none.json");
    expect(() => parseMetric(`L0.residPost@0:${none}`)).toThrow(
      `parseMetric: expected a direction in ${none}, got no such file`,
    );
  });
});

describe("constructors refuse", () => {
  const position = 0;
  it.each<[string, () => unknown, string]>([
    [
      "a layer",
      () => attentionWeight({ layer: -1, head: 0, query: 0, key: 0 }),
      "attentionWeight: expected layer to be 0 or a positive integer, got -1",
    ],
    [
      "a head",
      () => attentionWeight({ layer: 0, head: 0.5, query: 0, key: 0 }),
      "attentionWeight: expected head to be 0 or a positive integer, got 0.5",
    ],
    [
      "a neuron",
      () => neuronActivation({ layer: 0, neuron: Number.NaN, position }),
      "neuronActivation: expected neuron to be 0 or a positive integer, got NaN",
    ],
    [
      "a site",
      () => projection({ layer: 0, site: "z" as ProjectionSite, position, direction: [1] }),
      "projection: expected one of the sites residPre, attnOut, residMid, mlpOut, residPost, got z",
    ],
    [
      "a number of a direction",
      () => projection({ layer: 0, site: "residPost", position, direction: [1, Number.NaN] }),
      "projection: expected a direction of numbers that float32 can hold, got NaN at place 1",
    ],
    [
      "a direction",
      () => projection({ layer: 0, site: "residPost", position, direction: [0, 0] }),
      "projection: expected a direction that is not 0 throughout",
    ],
  ])("%s", (_what, make, message) => {
    expect(make).toThrow(new InputError(message));
  });
});

describe("the model", () => {
  const direction = Array.from({ length: 12 }, () => 1);
  const check = (metric: Parameters<typeof checkModelForMetric>[1], kind: "plain" | "parallel" = "plain") =>
    checkModelForMetric(TINY_CONFIGS[kind], metric);

  it("has what these read", () => {
    check(attentionWeight({ layer: 2, head: 3, query: 0, key: 0 }));
    check(neuronActivation({ layer: 2, neuron: 9, position: 0 }));
    check(projection({ layer: 2, site: "residMid", position: 0, direction }));
    for (const metric of METRICS) check(metric);
  });

  it("lacks a layer, a head, a neuron, a site, or is of another width", () => {
    expect(() => check(attentionWeight({ layer: 3, head: 0, query: 0, key: 0 }))).toThrow(
      new InputError("checkModelForMetric: metric L3.pattern[0]@0:0: expected a layer from 0 to 2, got 3"),
    );
    expect(() => check(attentionWeight({ layer: 0, head: 4, query: 0, key: 0 }))).toThrow(
      "checkModelForMetric: metric L0.pattern[4]@0:0: expected a head from 0 to 3, got 4",
    );
    expect(() => check(neuronActivation({ layer: 0, neuron: 10, position: "end" }))).toThrow(
      "checkModelForMetric: metric L0.neuron[10]@end: expected a neuron from 0 to 9, got 10",
    );
    expect(() =>
      check(projection({ layer: 0, site: "residMid", position: 0, direction }), "parallel"),
    ).toThrow(
      "checkModelForMetric: metric L0.residMid@0:direction: expected a site of a test model with parallel residual (residPre, attnOut, mlpOut, residPost), got residMid",
    );
    expect(() =>
      check(projection({ layer: 0, site: "mlpOut", position: 0, direction: [1], directionName: "d.json" })),
    ).toThrow(
      "checkModelForMetric: metric L0.mlpOut@0:d.json: expected a direction of 12 numbers, the width of the residual stream, got 1",
    );
  });
});

describe("every pair", () => {
  const PAIRS = [tokenPair([1, 2, 3], [1, 7, 3], { a: 1, end: 2 }), tokenPair([1, 2], [3, 2], { a: 0 })];

  it("has what these read, whatever answers it has", () => {
    const silent = PAIRS.map((pair) => ({ ...pair, answers: [], wrong: [] }));
    checkPairsForMetric(silent, attentionWeight({ layer: 9, head: 0, query: -1, key: "a" }));
    checkPairsForMetric(silent, neuronActivation({ layer: 9, neuron: 0, position: 1 }));
  });

  it.each<[string, Parameters<typeof checkPairsForMetric>[1], string]>([
    [
      "a role",
      neuronActivation({ layer: 0, neuron: 0, position: "end" }),
      'pair of 1,2: metric L0.neuron[0]@end: position: expected one of a, got the role "end"',
    ],
    [
      "a position",
      neuronActivation({ layer: 0, neuron: 0, position: 2 }),
      "pair of 1,2: metric L0.neuron[0]@2: position: expected an integer position from -2 to 1 (the prompt has 2 tokens), got 2",
    ],
    [
      "a position from the end",
      projection({ layer: 0, site: "residPost", position: -3, direction: [1] }),
      "pair of 1,2: metric L0.residPost@-3:direction: position: expected an integer position from -2 to 1 (the prompt has 2 tokens), got -3",
    ],
    [
      "a query",
      attentionWeight({ layer: 0, head: 0, query: "end", key: 0 }),
      'pair of 1,2: metric L0.pattern[0]@end:0: query: expected one of a, got the role "end"',
    ],
    [
      "a key",
      attentionWeight({ layer: 0, head: 0, query: -1, key: "s" }),
      'pair of 1,2,3: metric L0.pattern[0]@-1:s: key: expected one of a, end, got the role "s"',
    ],
    [
      "a key up to the query",
      attentionWeight({ layer: 0, head: 0, query: "a", key: 1 }),
      "pair of 1,2: metric L0.pattern[0]@a:1: key: expected a position up to that of the query, 0, got 1: attention looks back only",
    ],
  ])("must have %s", (_what, metric, message) => {
    expect(() => checkPairsForMetric(PAIRS, metric)).toThrow(
      new InputError(`checkPairsForMetric: ${message}`),
    );
  });
});

describe("values by hand", () => {
  // Two prompts of three tokens; two heads. Element = 1000·row + 100·head + 10·query + key.
  const PAIRS = [tokenPair([1, 2, 3], [4, 2, 3], { s: 0 }), tokenPair([1, 2, 3], [1, 5, 3], { s: 1 })];
  const pattern = (positions: number) =>
    tf.tensor(
      [0, 1].flatMap((b) =>
        [0, 1].flatMap((h) =>
          Array.from({ length: positions }, (_, q) =>
            [0, 1, 2].map((s) => 1000 * b + 100 * h + 10 * (3 - positions + q) + s),
          ).flat(),
        ),
      ),
      [2, 2, positions, 3],
    );
  const stream = () =>
    tf.tensor3d([0, 1].map((b) => [0, 1, 2].map((t) => [1, 10, 100].map((d) => d * (1 + 3 * b + t)))));

  it("the weight of a key in a query's row, at each pair's own positions", () => {
    const metric = attentionWeight({ layer: 0, head: 1, query: -1, key: "s" });
    expect([...readInternal(metric, pattern(3), PAIRS)]).toEqual([120, 1121]);
    // Rows in any order, as patched runs have them.
    const rows = tf.gather(pattern(3), [1, 0, 1]);
    expect([...readInternal(metric, rows, [PAIRS[1], PAIRS[0], PAIRS[1]])]).toEqual([1121, 120, 1121]);
  });

  it("of values that begin behind the prompt's first position; NaN where they begin behind the one that is read", () => {
    const metric = attentionWeight({ layer: 0, head: 1, query: -1, key: "s" });
    expect([...readInternal(metric, pattern(1), PAIRS)]).toEqual([120, 1121]);
    const early = attentionWeight({ layer: 0, head: 0, query: "s", key: 0 });
    expect([...readInternal(early, pattern(2), PAIRS)]).toEqual([Number.NaN, 1010]);
  });

  it("a neuron, and the product with a direction", () => {
    const neuron = neuronActivation({ layer: 0, neuron: 2, position: "s" });
    expect([...readInternal(neuron, stream(), PAIRS)]).toEqual([100 * 1, 100 * (1 + 3 + 1)]);
    const along = projection({ layer: 0, site: "mlpOut", position: 1, direction: [2, -1, 0] });
    // Token 1 is 2 and 5 times [1, 10, 100].
    expect([...readInternal(along, stream(), PAIRS)]).toEqual([2 * (2 - 10), 5 * (2 - 10)]);
  });

  it("the gradient: the weights at their place, 0 elsewhere", () => {
    const config = { ...TINY_CONFIGS.plain, heads: 2, width: 3, mlpWidth: 4 };
    const placed = (metric: Parameters<typeof gradientOfInternal>[0]) => {
      const gradient = gradientOfInternal(metric, config, PAIRS);
      const data = gradient.dataSync();
      const found = [...data.keys()].filter((at) => data[at] !== 0).map((at) => [at, data[at]]);
      gradient.dispose();
      return { shape: gradient.shape, found };
    };
    // [1, B, H, T, T]: pair b, head 1, query 2, key s.
    expect(placed(attentionWeight({ layer: 0, head: 1, query: -1, key: "s" }))).toEqual({
      shape: [1, 2, 2, 3, 3],
      found: [
        [0 * 18 + 1 * 9 + 2 * 3 + 0, 1],
        [1 * 18 + 1 * 9 + 2 * 3 + 1, 1],
      ],
    });
    // [1, B, T, F]: position s, neuron 3.
    expect(placed(neuronActivation({ layer: 0, neuron: 3, position: "s" }))).toEqual({
      shape: [1, 2, 3, 4],
      found: [
        [0 * 12 + 0 * 4 + 3, 1],
        [1 * 12 + 1 * 4 + 3, 1],
      ],
    });
    // [1, B, T, D]: as given, not normalised.
    const direction = [0, 3, -4];
    expect(placed(projection({ layer: 0, site: "residPost", position: 1, direction }))).toEqual({
      shape: [1, 2, 3, 3],
      found: [
        [0 * 9 + 1 * 3 + 1, 3],
        [0 * 9 + 1 * 3 + 2, -4],
        [1 * 9 + 1 * 3 + 1, 3],
        [1 * 9 + 1 * 3 + 2, -4],
      ],
    });
  });
});
