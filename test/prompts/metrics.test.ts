import * as tf from "@tensorflow/tfjs-core";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { inMemoryWeights } from "../../src/checkpoint/provider.js";
import type { WeightsProvider } from "../../src/model/weights.js";
import { kl } from "../../src/prompts/metrics/distribution.js";
import { METRICS, metricByName } from "../../src/prompts/metrics/index.js";
import type { PreparedMetric } from "../../src/prompts/metrics/metric.js";
import { prepareOnRuns } from "../../src/prompts/metrics/on-runs.js";
import type { Pair } from "../../src/prompts/pair.js";
import { startTestEngine } from "../support/engine.js";
import { largestError } from "../support/errors.js";
import { tensorPeak } from "../support/tensor-peak.js";
import { TINY_CONFIGS } from "../support/tiny-config.js";

beforeAll(async () => {
  await startTestEngine();
});
beforeEach(() => tf.engine().startScope());
afterEach(() => tf.engine().endScope());

const TOLERANCE = 1e-6;

/** Room for all rows of a test. */
const DEFAULT_BUDGET = 2 ** 30;

function pairOf(answers: number[], wrong: number[]): Pair {
  return { clean: [0], corrupted: [1], answers, wrong, roles: new Map(), metricPosition: 0, origin: "test" };
}

/** With the identity as unembedding, `final` is the logits. */
function prepare(
  name: string,
  pairs: Pair[],
  cleanFinal: number[][],
  budgetBytes = DEFAULT_BUDGET,
): Promise<PreparedMetric> {
  const weights = unembeddingOf(tf.eye(cleanFinal[0].length));
  return metricByName(name).prepare({ pairs, weights, cleanFinal: tf.tensor2d(cleanFinal), budgetBytes });
}

/** A provider of nothing but an unembedding. */
function unembeddingOf(rows: tf.Tensor2D): WeightsProvider {
  const norm = { scale: tf.ones([rows.shape[1]]) as tf.Tensor1D };
  return inMemoryWeights({ embedding: { tokens: rows }, layers: [], unembedding: { norm, rows } });
}

// p = softmax([ln 1, ln 2, ln 3, ln 4]) = [0.1, 0.2, 0.3, 0.4]
const LOGITS = [Math.log(1), Math.log(2), Math.log(3), Math.log(4)];
// The clean run's distribution, for kl: uniform.
const CLEAN = [0, 0, 0, 0];
const PAIR = pairOf([1, 3], [0]);

describe("values and gradients by hand", () => {
  it.each<[string, number, number[]]>([
    // (ln 2 + ln 4)/2 − ln 1
    ["logit-diff", Math.log(8) / 2, [-1, 0.5, 0, 0.5]],
    ["logit", Math.log(8) / 2, [0, 0.5, 0, 0.5]],
    // log(0.2 + 0.4); restricted to the answers p is [1/3, 2/3]
    ["logprob", Math.log(0.6), [-0.1, 1 / 3 - 0.2, -0.3, 2 / 3 - 0.4]],
    ["nll", -Math.log(0.6), [0.1, 0.2 - 1 / 3, 0.3, 0.4 - 2 / 3]],
    // 0.6; p·(m − 0.6)
    ["prob", 0.6, [0.1 * -0.6, 0.2 * 0.4, 0.3 * -0.6, 0.4 * 0.4]],
    // 0.6 − 0.1 = 0.5; p·(m − 0.5) with m = [−1, 1, 0, 1]
    ["prob-diff", 0.5, [0.1 * -1.5, 0.2 * 0.5, 0.3 * -0.5, 0.4 * 0.5]],
    // Σ ¼·(log ¼ − log p) = −log 4 − ¼·log(0.0024)
    ["kl", -Math.log(4) - Math.log(0.0024) / 4, [0.1 - 0.25, 0.2 - 0.25, 0.3 - 0.25, 0.4 - 0.25]],
  ])("%s", async (name, value, gradient) => {
    const metric = await prepare(name, [PAIR], [CLEAN]);
    const final = tf.tensor2d([LOGITS]);
    expect(metric.read(final, [0])[0]).toBeCloseTo(value, 5);
    expect(largestError(metric.gradient(final).dataSync(), gradient)).toBeLessThan(TOLERANCE);
  });

  it.each([
    // The best answer is token 3, the top one; without it, token 1 has two tokens above.
    ["rank", pairOf([1, 3], []), 1],
    ["rank", pairOf([1], []), 3],
    ["accuracy", pairOf([1, 3], []), 1],
    ["accuracy", pairOf([1], []), 0],
  ])("%s %#", async (name, pair, value) => {
    expect([...(await prepare(name, [pair], [CLEAN])).read(tf.tensor2d([LOGITS]), [0])]).toEqual([value]);
  });
});

describe("every metric", () => {
  const pairs = [PAIR, pairOf([0], [2, 3])];

  it.each(METRICS.map(({ name }) => name))("%s: each row reads its own pair's tokens", async (name) => {
    const clean = [CLEAN, [1, 0, 2, 0]];
    const finals = [LOGITS, [0.3, -1, 0.5, 0.2], [2, 1, 0, -1]];
    const rows = [1, 0, 1];
    const together = (await prepare(name, pairs, clean)).read(tf.tensor2d(finals), rows);
    for (const [r, pair] of rows.entries()) {
      const alone = (await prepare(name, [pairs[pair]], [clean[pair]])).read(tf.tensor2d([finals[r]]), [0]);
      expect(together[r]).toBeCloseTo(alone[0], 5);
    }
  });

  it.each(METRICS.filter((metric) => metric.differentiable).map(({ name }) => name))(
    "%s: gradient through a real unembedding equals finite differences",
    async (name) => {
      const rows = tf.randomNormal([4, 3], 0, 1, "float32", 1) as tf.Tensor2D;
      const final = tf.randomNormal([2, 3], 0, 1, "float32", 2) as tf.Tensor2D;
      const weights = unembeddingOf(rows);
      const cleanFinal = tf.randomNormal([2, 3], 0, 1, "float32", 3) as tf.Tensor2D;
      const metric = await metricByName(name).prepare({
        pairs,
        weights,
        cleanFinal,
        budgetBytes: DEFAULT_BUDGET,
      });
      const gradient = metric.gradient(final).dataSync();
      const epsilon = 1e-2; // truncation ε² = 1e-4, rounding 1e-7/ε = 1e-5
      for (let at = 0; at < 6; at++) {
        const moved = (by: number) => {
          const data = Float32Array.from(final.dataSync());
          data[at] += by;
          return metric.read(tf.tensor2d(data, [2, 3]), [0, 1])[Math.floor(at / 3)];
        };
        expect((moved(epsilon) - moved(-epsilon)) / (2 * epsilon)).toBeCloseTo(gradient[at], 2);
      }
    },
  );

  it("disposes what it prepared", async () => {
    const cleanFinal = tf.tensor2d([CLEAN, CLEAN]);
    const weights = unembeddingOf(tf.eye(4));
    const before = tf.memory().numTensors;
    for (const metric of METRICS) {
      const prepared = await metric.prepare({ pairs, weights, cleanFinal, budgetBytes: DEFAULT_BUDGET });
      prepared.read(cleanFinal, [0, 1]);
      if (metric.differentiable) prepared.gradient(cleanFinal).dispose();
      prepared.dispose();
    }
    expect(tf.memory().numTensors).toBe(before);
  });

  it("gives the unembedding back where it cannot be read", async () => {
    const weights = unembeddingOf(tf.eye(4));
    let inUse = 0;
    const counted: WeightsProvider = {
      ...weights,
      unembedding() {
        inUse++;
        return weights.unembedding();
      },
      releaseUnembedding() {
        inUse--;
      },
    };
    const model = { name: "test", config: TINY_CONFIGS.plain, weights: counted, dispose() {} };
    // Of another model: its final stream has another width.
    const final = tf.zeros<tf.Rank.R2>([1, 5]);
    const finals = { base: final, source: final };
    const before = tf.memory().numTensors;
    const input = {
      model,
      pairs: [PAIR],
      direction: "noising" as const,
      finals,
      budgetBytes: DEFAULT_BUDGET,
    };
    await expect(prepareOnRuns(kl, input)).rejects.toThrow(
      "product: expected equal inner sizes, got 5 and 4",
    );
    expect(inUse).toBe(0);
    expect(tf.memory().numTensors).toBe(before);
  });

  it("an unknown name is refused with the known ones", () => {
    expect(() => metricByName("logits")).toThrow(
      'metricByName: expected one of logit-diff, logit, logprob, prob, prob-diff, nll, kl, rank, accuracy, got "logits"',
    );
  });
});

describe("logit differences", () => {
  it("multiply no vocabulary-sized matrix", async () => {
    // A vocabulary of 50,000 by width 64 takes 12.8 MB of logits per 64 rows: the memory in use shows whether it ran.
    const rows = tf.randomNormal([50_000, 64]) as tf.Tensor2D;
    const final = tf.randomNormal([64, 64]) as tf.Tensor2D;
    const metric = await metricByName("logit-diff").prepare({
      pairs: [PAIR],
      weights: unembeddingOf(rows),
      cleanFinal: final,
      budgetBytes: DEFAULT_BUDGET,
    });
    const pairOfRow = Array.from({ length: 64 }, () => 0);
    const kernels = tf.profile(() => {
      metric.read(final, pairOfRow);
      return final;
    });
    return kernels.then(({ kernels: ran }) => {
      const largest = Math.max(...ran.flatMap(({ outputShapes }) => outputShapes.map(tf.util.sizeFromShape)));
      expect(largest).toBe(64 * 64);
    });
  });
});

describe("a budget of logits", () => {
  const V = 500;
  const rows = 24;
  const pairs = [PAIR, pairOf([0], [2, 3]), pairOf([9, 400], [7])];

  it.each(METRICS.map(({ name }) => name))("%s: parts of it give what all rows together do", async (name) => {
    const metric = metricByName(name);
    const weights = unembeddingOf(tf.randomNormal([V, 8], 0, 1, "float32", 1) as tf.Tensor2D);
    const cleanFinal = tf.randomNormal([3, 8], 0, 1, "float32", 2) as tf.Tensor2D;
    const final = tf.randomNormal([rows, 8], 0, 1, "float32", 3) as tf.Tensor2D;
    const pairOfRow = Array.from({ length: rows }, (_, r) => (r * 2) % 3);
    const input = { pairs, weights, cleanFinal };
    const whole = await metric.prepare({ ...input, budgetBytes: DEFAULT_BUDGET });
    const parted = await metric.prepare({ ...input, budgetBytes: 1 });
    expect(largestError(parted.read(final, pairOfRow), whole.read(final, pairOfRow))).toBeLessThan(TOLERANCE);
    if (!metric.differentiable) return;
    const [a, b] = [parted.gradient(cleanFinal), whole.gradient(cleanFinal)];
    expect(a.shape).toEqual([3, 8]);
    expect(largestError(a.dataSync(), b.dataSync())).toBeLessThan(TOLERANCE);
  });

  it.each(METRICS.map(({ name }) => name))("%s keeps to it, of whatever pairs the rows are", async (name) => {
    const metric = metricByName(name);
    const weights = unembeddingOf(tf.randomNormal([V, 8]) as tf.Tensor2D);
    const many = Array.from({ length: rows }, () => PAIR);
    const final = tf.randomNormal([rows, 8]) as tf.Tensor2D;
    const budgetBytes = 4 * 10 * V * 4;
    const prepared = await metric.prepare({ pairs: many, weights, cleanFinal: final, budgetBytes });
    const everyPair = many.map((_, pair) => pair);
    const peaks = [
      await tensorPeak(async () => prepared.read(final, everyPair)),
      await tensorPeak(async () =>
        prepared.read(
          final,
          everyPair.map(() => 0),
        ),
      ),
      ...(metric.differentiable ? [await tensorPeak(async () => prepared.gradient(final))] : []),
    ];
    // Beside the logits there are the rows themselves and what is read off them.
    for (const peak of peaks) expect(peak).toBeLessThan(budgetBytes + 16 * 4 * rows * 8);
    if (name !== "logit-diff" && name !== "logit")
      expect(Math.max(...peaks)).toBeGreaterThan(budgetBytes / 4);
  });
});

describe("logits that are not finite", () => {
  it.each(METRICS.map(({ name }) => name))("%s is not finite either", async (name) => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      // A direction sees the tokens that it is made of; the metrics of all tokens see every one of them.
      const places = name === "logit-diff" || name === "logit" ? [1] : [0, 1, 2];
      for (const place of places) {
        const logits = LOGITS.with(place, bad);
        const metric = await prepare(name, [PAIR], [CLEAN]);
        const value = metric.read(tf.tensor2d([LOGITS, logits]), [0, 0]);
        expect([bad, place, Number.isFinite(value[0]), Number.isFinite(value[1])]).toEqual([
          bad,
          place,
          true,
          false,
        ]);
      }
    }
  });
});
