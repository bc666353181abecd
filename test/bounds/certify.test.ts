import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Certificate, certificateOf } from "../../src/bounds/certificate.js";
import { certify, certifyWith } from "../../src/bounds/certify.js";
import { type Measurements, measureHere } from "../../src/bounds/measurements.js";
import { loadModel } from "../../src/checkpoint/load-model.js";
import { estimate, type LocalizeOptions, localize, sweep } from "../../src/localize.js";
import type { Model } from "../../src/model/model.js";
import { type Ranking, rankedNodes } from "../../src/nodes/ranking.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import type { Pair } from "../../src/prompts/pair.js";
import { readPairs } from "../../src/prompts/read-pairs.js";
import { noiseSource } from "../../src/sources/noise.js";
import { startTestEngine } from "../support/engine.js";

const metric = metricByName("logit-diff");

let model: Model;
let pairs: Pair[];

beforeAll(async () => {
  await startTestEngine();
  model = await loadModel("models/demo");
  pairs = (await readPairs("models/demo/pairs/ioi.jsonl", model, metric.needs)).slice(0, 8);
});
afterAll(() => model.dispose());

/** Heads and MLPs at each position: about 1,500 nodes. */
const SELECTION = { nodes: "q,k,v,z,mlpOut", positions: "each" } as const;

function topOf(ranking: Ranking, k: number): string[] {
  return [...rankedNodes(ranking, { limit: k })].map(({ node }) => node);
}

async function certified(options: LocalizeOptions) {
  const before = tf.memory().numTensors;
  const { certificate, ...ranking } = await localize(model, pairs, { ...SELECTION, ...options });
  expect(tf.memory().numTensors).toBe(before);
  if (!certificate) throw new Error("expected a certificate, got none");
  return { certificate, ranking };
}

describe("by sampling on the demo model", () => {
  let certificate: Certificate;
  let ranking: Ranking;
  const handedOver: Uint32Array[] = [];

  beforeAll(async () => {
    const onVerified = ({ verified }: Ranking) => {
      handedOver.push(verified?.nodes ?? new Uint32Array());
    };
    const options = { topK: 5, confidence: 0.95, inclusion: 0.2, onVerified };
    ({ certificate, ranking } = await certified(options));
  });

  it("certifies the true top k, for less than patching every node", async () => {
    const truth = await sweep(model, pairs, SELECTION);
    expect(certificate.certified).toBe(true);
    expect(topOf(ranking, 5)).toEqual(topOf(truth, 5));
    const { nodes, bound = Number.POSITIVE_INFINITY, threshold, sampling, cost } = certificate;
    expect(nodes.verified).toBeLessThan(nodes.total / 2);
    expect(nodes.verified).toBe(ranking.verified?.nodes.length);
    expect(bound).toBeLessThan(threshold);
    expect([...rankedNodes(ranking, { limit: 5 })][4].contribution).toBe(threshold);
    expect(cost.verify + cost.sample).toBeLessThanOrEqual(cost.budget);
    const looks = sampling?.looks ?? [];
    expect(looks.map(({ look }) => look)).toEqual(looks.map((_, at) => at + 1));
    expect(Math.min(...looks.map(({ controlled }) => controlled.bound ?? Number.POSITIVE_INFINITY))).toBe(
      bound,
    );
    expect(certificate.claims[0]).toMatch(
      /^By average marginal effects the top 5 are certain: with 95 % confidence none of the \d+ unverified nodes has an average marginal effect of [\d.]+ or more, and the k-th verified contribution is [\d.]+\. Patched alone, a node can have more\.$/,
    );
    // The bound is a statement on average marginal effects; where it speaks of nodes alone it holds here, too.
    const unverified = [...rankedNodes(truth)].filter(
      ({ node }) => !topOf(ranking, nodes.verified).includes(node),
    );
    const missed = unverified.filter(({ effectMean = 0 }) => Math.abs(effectMean) >= threshold);
    expect(missed).toEqual([]);
  });

  it("hands over what is verified as it goes, and counts each node once", () => {
    for (const nodes of handedOver) expect(new Set(nodes).size).toBe(nodes.length);
    expect(handedOver[0].length).toBe(5);
    expect(handedOver[1].length).toBe(105);
    expect(handedOver.at(-1)?.length).toBe(certificate.nodes.verified);
  });
});

describe("on the demo model", () => {
  it("verifies every node where that costs less than sampling, and then needs no bound", async () => {
    const { certificate, ranking } = await certified({
      nodes: "mlpOut",
      topK: 3,
      confidence: 0.99,
      prevalenceSample: 0,
    });
    expect(certificate.nodes).toEqual({ total: 90, verified: 90 });
    expect(certificate).not.toHaveProperty("bound");
    expect(certificate).not.toHaveProperty("prevalence");
    expect(certificate.certified).toBe(true);
    expect(certificate.claims).toEqual([
      "All 90 nodes were verified by exact patching: the top 3 are the top 3.",
    ]);
    const truth = await sweep(model, pairs, { nodes: "mlpOut" });
    expect(topOf(ranking, 90)).toEqual(topOf(truth, 90));
  });

  it("says what it could not prove where the budget is used up, and keeps to it", async () => {
    // Enough for the top 5 and the random sample, not for a first look of 5 % subsets.
    const { certificate, ranking } = await certified({
      topK: 5,
      confidence: 0.99,
      budget: 350,
      prevalenceSample: 10,
    });
    expect(certificate.certified).toBe(false);
    expect(certificate.claims[0]).toBe(
      "Not certified: the budget of 350 forward equivalents was used up before there were enough samples for a bound.",
    );
    expect(certificate.cost.verify + certificate.cost.sample).toBeLessThanOrEqual(350);
    expect(ranking.verified?.nodes.length).toBe(15);
  });

  it("verifies every node where the k-th contribution is 0, or says that nothing can be certain", async () => {
    // Positions 0 to 9 are the same in both prompts: most MLPs have no effect.
    const options = { nodes: "mlpOut", topK: 60, confidence: 0.9 };
    const { certificate } = await certified(options);
    expect(certificate).toMatchObject({ threshold: 0, certified: true, nodes: { total: 90, verified: 90 } });
    const cut = await certified({ ...options, budget: 1 });
    expect(cut.certificate.certified).toBe(false);
    expect(cut.certificate.claims).toEqual([
      "Not certified: the k-th verified contribution is 0, and nothing can be bounded below that; 30 nodes were not verified. Ask for a smaller top 60.",
    ]);
  });

  it("verifies every node before sampling that says nothing has used up what that takes", async () => {
    const estimated = await estimate(model, pairs, SELECTION);
    const { space } = estimated;
    const exact = { metric, direction: "noising", batchSize: 64 } as const;
    const here = measureHere(model, pairs, space, exact);
    const random = fc.sample(fc.double({ min: -1, max: 1, noNaN: true }), { numRuns: 50_000, seed: 1 });
    // Samples of a system that nothing can be learnt of: effects of ±1000 that have nothing to do with the subsets, for a forward
    // pass each.
    const measurements: Measurements = {
      ...here,
      sample: async (_, { first, end }) => ({
        effects: Float64Array.from({ length: end - first }, (_sample, i) => 1000 * random[first + i]),
        forwardEquivalents: end - first,
      }),
    };
    const options = { topK: 5, confidence: 0.99, inclusion: 0.2, prevalenceSample: 0 };
    const { certificate } = await certifyWith(model.config, estimated, measurements, options);
    const { nodes, cost, sampling } = certificate;
    expect(sampling?.looks.length).toBeGreaterThan(0);
    expect(nodes.verified).toBe(nodes.total);
    expect(certificate.certified).toBe(true);
    expect(cost.verify + cost.sample).toBeLessThanOrEqual(cost.budget);
  });

  it("counts every draw of a noise source as a run", async () => {
    const source = await noiseSource(model, { at: [10], draws: 3 });
    const options = { source, topK: 3, confidence: 0.9, inclusion: 0.3, prevalenceSample: 10 };
    const { certificate } = await certified({ ...options, budget: 1000 });
    const { cost } = certificate;
    expect(cost.verify + cost.sample).toBeLessThanOrEqual(1000);
    const looks = certificate.sampling?.looks ?? [];
    expect(looks.length).toBeGreaterThan(0);
    // 3 runs a sample and 2·3·8 unpatched ones a look, none longer than from position 10 on; and 3·3·8 for the estimates.
    for (const { samples } of looks) expect(cost.sample).toBeGreaterThan(3 * samples * 0.2);
  });

  it("gives the same certificate for the same seed, and other samples for another", async () => {
    const options = { topK: 3, confidence: 0.9, inclusion: 0.3, prevalenceSample: 20 };
    const [one, again, other] = [
      await certified({ ...options, seed: 7 }),
      await certified({ ...options, seed: 7 }),
      await certified({ ...options, seed: 8 }),
    ].map(({ certificate }) => certificate);
    expect(again).toEqual(one);
    expect(other.sampling?.looks[0].plain.bound).not.toBe(one.sampling?.looks[0].plain.bound);
  });
});

describe("bad input", () => {
  const run = (options: Partial<LocalizeOptions>, of: readonly Pair[] = pairs) =>
    localize(model, of, { ...SELECTION, topK: 5, confidence: 0.99, ...options });

  it.each([
    [{ confidence: 1 }, "certify: expected a confidence from 0.5 to below 1, got 1"],
    [{ confidence: 0.4 }, "certify: expected a confidence from 0.5 to below 1, got 0.4"],
    [{ topK: 5000 }, "certify: expected topK from 1 to 1530, the number of nodes, got 5000"],
    [{ budget: 0 }, "certify: expected a positive budget, got 0"],
    [{ inclusion: 1 }, "certify: expected an inclusion between 0 and 1, got 1"],
    [{ seed: 0.5 }, "certify: expected seed to be an integer from -2^31 to 2^31 - 1, got 0.5"],
    [{ prevalenceSample: -1 }, "certify: expected prevalenceSample to be 0 or a positive integer, got -1"],
  ])("%j", async (options, message) => {
    await expect(run(options)).rejects.toThrow(message);
  });

  it("refuses pairs of which some lack nodes", async () => {
    const short = {
      ...pairs[1],
      clean: pairs[1].clean.slice(0, 12),
      corrupted: pairs[1].corrupted.slice(0, 12),
    };
    await expect(run({}, [pairs[0], { ...short, metricPosition: 11 }])).rejects.toThrow(
      /checkComplete: .*: expected pairs that have every position of the nodes, got one without 12: use positions "roles" or "all", or pairs of one length/,
    );
  });

  it("refuses a ranking without estimates", async () => {
    const ranking = await sweep(model, pairs.slice(0, 1), { nodes: "mlpOut", positions: "all" });
    const options = { metric, direction: "noising" as const, batchSize: 4, topK: 1, confidence: 0.9 };
    await expect(certify(model, pairs, ranking, options)).rejects.toThrow(
      "certify: expected a ranking with estimates, got one without",
    );
    const estimated = await estimate(model, pairs, { nodes: "mlpOut", positions: "all" });
    const { certificate } = await certify(model, pairs, estimated, options);
    expect(certificate.certified).toBe(true);
  });
});

describe("certificateOf", () => {
  const facts = {
    topK: 20,
    confidence: 0.99,
    threshold: 0.5,
    nodes: { total: 1000, verified: 120 },
    cost: { estimate: 3, verify: 40, sample: 60, budget: 200 },
  };
  const words = (certificate: Certificate) => certificate.claims.join("\n");

  it("is certain only where the bound is below the threshold", () => {
    expect(certificateOf({ ...facts, bound: 0.499 }).certified).toBe(true);
    expect(certificateOf({ ...facts, bound: 0.5 }).certified).toBe(false);
    expect(certificateOf(facts).certified).toBe(false);
    expect(words(certificateOf({ ...facts, bound: 0.75 }))).toBe(
      "Not certified within the budget of 200 forward equivalents: with 99 % confidence none of the 880 unverified nodes has an average marginal effect of 0.750 or more, but the k-th verified contribution is 0.500.",
    );
  });

  it("says what a random sample showed of the rest", () => {
    const prevalence = { nodes: 980, sampled: 100, strata: 3, threshold: 0.4, found: 2, left: 44 };
    const certificate = certificateOf({ ...facts, bound: 0.3, prevalence });
    expect(certificate.claims[1]).toBe(
      "Of 980 unverified nodes 100 were drawn at random and patched one by one, and 2 had a contribution of 0.400 or more: with 99 % confidence at most 44 of the other 880 (5 %) have a contribution of 0.400 or more, patched alone.",
    );
    expect(certificate.assumptions.at(-1)).toMatch(
      /^The statement on the random sample rests on the drawing alone/,
    );
  });
});
