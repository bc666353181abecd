/**
 * The model of two paths, worked out on paper: the metric is o + w·relu(o), with o the head's output (node Z) and relu(o)
 * the neuron (node N); o = 1 in the base run, −2 in the source run. What is knocked out has the source's value:
 *
 *   knocked out   o    neuron    metric       w = −1
 *   nothing       1    1         1 + w         0
 *   Z            −2    0        −2            −2
 *   N             1    0         1             1
 *   Z, N         −2    0        −2            −2
 *
 * The space has two more nodes, which do nothing.
 */

import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { randomModel } from "../../bench/random-model.js";
import { InputError } from "../../src/errors.js";
import { completeness, minimality } from "../../src/exact/circuits.js";
import { exactEffects } from "../../src/exact/patch-sets.js";
import type { Model } from "../../src/model/model.js";
import { parseNodeId } from "../../src/nodes/node-id.js";
import { indexOfNode, makeNodeSpace, type NodeSpace } from "../../src/nodes/node-space.js";
import { positionLabels } from "../../src/nodes/positions.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import type { Pair } from "../../src/prompts/pair.js";
import { zeroSource } from "../../src/sources/zero.js";
import { startTestEngine } from "../support/engine.js";
import { A, ASK_A, ASK_B, askingModel, B, twoPathModel } from "../support/hand-made.js";
import { rounded } from "../support/rounded.js";
import { TINY_CONFIGS } from "../support/tiny-config.js";
import { tokenPair } from "../support/token-pair.js";

const OPTIONS = { metric: metricByName("logit-diff"), direction: "noising", batchSize: 8 } as const;

let model: Model;
let space: NodeSpace;
let Z: number;
let N: number;
const PAIR: Pair = { ...tokenPair([A], [B]), answers: [A], wrong: [B] };

beforeAll(async () => {
  await startTestEngine();
  model = twoPathModel(-1);
  space = makeNodeSpace(model.config, ["z", "neuron"], positionLabels("each", [PAIR]));
  Z = indexOfNode(space, parseNodeId("L0.z[0]@0"));
  N = indexOfNode(space, parseNodeId("L1.neuron[0]@0"));
});
afterAll(() => model.dispose());

/** Runs it and checks that no tensor stays behind. */
async function clean<Result>(run: () => Promise<Result>): Promise<Result> {
  const before = tf.memory().numTensors;
  const result = await run();
  expect(tf.memory().numTensors).toBe(before);
  return result;
}

describe("completeness", () => {
  const completenessOf = async (circuit: number[], options = {}) => {
    const of = Uint32Array.from(circuit);
    return rounded(
      await clean(() => completeness(model, [PAIR], space, of, { ...OPTIONS, randomSubsets: 0, ...options })),
    );
  };

  it("of both nodes: the circuit breaks as the model does", async () => {
    const result = await completenessOf([Z, N]);
    expect(result).toMatchObject({ model: 0, circuit: 0, nothing: -2, source: -2, worst: 0 });
    expect(result.subsets).toEqual([
      { removed: [], circuit: 0, model: 0, score: 0, difference: 0 },
      // F({N}): Z knocked out, the neuron computes relu(−2). F(M \ {Z}) likewise.
      { removed: ["L0.z[0]@0"], circuit: -2, model: -2, score: 0, difference: 0, negative: false },
      // F({Z}): the neuron at 0. From 0 the metric rises to 1, while the source run has −2.
      { removed: ["L1.neuron[0]@0"], circuit: 1, model: 1, score: 0, difference: 0, negative: true },
    ]);
  });

  it("of the head alone: 1 off, because the neuron that is missing takes 1 away", async () => {
    const { subsets, worst, circuit } = await completenessOf([Z]);
    expect(circuit).toBe(1);
    expect(worst).toBe(1);
    expect(subsets).toEqual([
      // F(C) = 1, F(M) = 0
      { removed: [], circuit: 1, model: 0, score: 1, difference: 1 },
      { removed: ["L0.z[0]@0"], circuit: -2, model: -2, score: 0, difference: 0, negative: false },
    ]);
  });

  it("of the neuron alone: faithful nowhere, and knocking it out shows what else there is", async () => {
    const { subsets, worst } = await completenessOf([N]);
    expect(worst).toBe(3);
    expect(subsets.map(({ circuit, model: whole, difference }) => [circuit, whole, difference])).toEqual([
      [-2, 0, -2], // F({N}) − F(M)
      [-2, 1, -3], // F(∅) − F(M \ {N})
    ]);
  });

  it("draws random subsets of the circuit, the same ones for the same seed", async () => {
    const drawnWith = (seed: number) => completenessOf([0, 1, 2, 3], { randomSubsets: 10, seed });
    const [one, same, other] = [await drawnWith(3), await drawnWith(3), await drawnWith(4)];
    expect(same).toEqual(one);
    const drawn = one.subsets.slice(5);
    expect(drawn.length).toBe(10);
    expect(other.subsets.slice(5)).not.toEqual(drawn);
    // What a run without K gives depends on Z and N only, as in the table above.
    for (const { removed, model: whole } of drawn) {
      const [z, n] = ["L0.z[0]@0", "L1.neuron[0]@0"].map((id) => removed.includes(id));
      expect(whole).toBe(z ? -2 : n ? 1 : 0);
    }
    expect(new Set(drawn.map(({ removed }) => removed.join())).size).toBeGreaterThan(3);
  });

  it("agrees with exact effects on every pair of a random model", async () => {
    const pairs = [tokenPair([1, 2, 3, 4], [1, 7, 3, 4]), tokenPair([9, 8, 7, 6], [9, 8, 2, 6])];
    const random = randomModel(TINY_CONFIGS.gated);
    const all = makeNodeSpace(random.config, ["z", "mlpOut"], positionLabels("each", pairs));
    const circuit = Uint32Array.from({ length: all.size / 2 }, (_, i) => 2 * i);
    const { subsets } = await clean(() =>
      completeness(random, pairs, all, circuit, { ...OPTIONS, randomSubsets: 2 }),
    );
    const others = Uint32Array.from({ length: all.size / 2 }, (_, i) => 2 * i + 1);
    // F(C) − F(M) is the effect of all that is not in C.
    const { effects } = await exactEffects(random, pairs, all, [others], OPTIONS);
    random.dispose();
    const mean = (effects[0] + effects[1]) / 2;
    expect(subsets[0].difference).toBeCloseTo(mean, 5);
    expect(subsets[0].se).toBeCloseTo(Math.abs(effects[0] - effects[1]) / 2, 5);
    expect(Math.abs(mean)).toBeGreaterThan(1e-3);
  });

  it.each([
    [[], {}, "completeness: expected at least one node, got none"],
    [[0, 0], {}, "completeness: expected each node once, got L0.z[0]@0 twice"],
    [
      [0],
      { randomSubsets: -1 },
      "completeness: expected randomSubsets to be 0 or a positive integer, got -1",
    ],
    [[0], { seed: 0.5 }, "completeness: expected seed to be an integer from -2^31 to 2^31 - 1, got 0.5"],
  ])("refuses %j with %j", async (circuit, options, message) => {
    await expect(completenessOf(circuit, options)).rejects.toThrow(new InputError(message));
  });
});

describe("minimality", () => {
  const minimalityOf = async (circuit: number[], subsets?: number[][]) => {
    const options = {
      ...OPTIONS,
      ...(subsets && { subsets: subsets.map((nodes) => Uint32Array.from(nodes)) }),
    };
    return rounded(await clean(() => minimality(model, [PAIR], space, Uint32Array.from(circuit), options)));
  };

  it("compares the circuit with and without each node", async () => {
    const idle = indexOfNode(space, parseNodeId("L1.z[0]@0"));
    const result = await minimalityOf([Z, N, idle]);
    expect(result).toMatchObject({ model: 0, circuit: 0, nothing: -2, source: -2 });
    const [z, n, nothing] = result.nodes;
    // F({N, idle}) − F(C) = −2 − 0
    expect(z).toEqual({
      node: "L0.z[0]@0",
      removed: [],
      without: -2,
      with: 0,
      score: 2,
      difference: -2,
      effectMean: -2,
      negative: false,
    });
    // F({Z, idle}) − F(C) = 1 − 0
    expect(n).toMatchObject({ without: 1, with: 0, score: 1, difference: 1, effectMean: 1, negative: true });
    // Does nothing: the circuit is not minimal.
    expect(nothing).toMatchObject({ node: "L1.z[0]@0", score: 0, effectMean: 0, negative: false });
  });

  it("takes for each node the subset that shows it best", async () => {
    const { nodes, circuit } = await minimalityOf([Z, N], [[N], [Z]]);
    expect(circuit).toBe(0);
    // v = Z: K = {N} gives F(∅) − F({Z}) = −2 − 1; K = {Z} without Z is ∅ and gives F({N}) − F(C) = −2.
    expect(nodes[0]).toMatchObject({ removed: ["L1.neuron[0]@0"], without: -2, with: 1, score: 3 });
    // v = N: K = {N} without N is ∅ and gives 1; K = {Z} gives F(∅) − F({N}) = −2 + 2.
    expect(nodes[1]).toMatchObject({ removed: [], without: 1, with: 0, score: 1 });
  });

  it("needs both ends of a path: a query and the output of its head", async () => {
    const asking = askingModel(100);
    const pair = { ...tokenPair([A, B, ASK_A], [A, B, ASK_B]), answers: [A], wrong: [B] };
    const both = makeNodeSpace(asking.config, ["q", "z"], positionLabels("each", [pair]));
    const circuit = Uint32Array.from(["L1.q[0]@2", "L1.z[0]@2"], (id) => indexOfNode(both, parseNodeId(id)));
    const { nodes, ...means } = rounded(
      await clean(() => minimality(asking, [pair], both, circuit, OPTIONS)),
    );
    asking.dispose();
    expect(means).toMatchObject({ model: 1, circuit: 1, nothing: -1, source: -1 });
    // Without the query the head looks at B, although it is left alone; without its output it does not matter where it looks.
    for (const node of nodes) expect(node).toMatchObject({ without: -1, with: 1, score: 2, effectMean: -2 });
  });

  it("tells signs from the run with all knocked out where zeros are patched in", async () => {
    // w = −2: o − 2·relu(o) is −1 in the base run, 0 with zeros, −2 in the source run, which has no part in it.
    const steep = twoPathModel(-2);
    const options = { ...OPTIONS, source: zeroSource() };
    const result = await clean(() => minimality(steep, [PAIR], space, Uint32Array.of(Z, N), options));
    steep.dispose();
    expect(rounded(result)).toMatchObject({
      model: -1,
      nothing: 0,
      // o = 0; and o = 1 without the neuron: both rise, as from −1 to 0.
      nodes: [
        { effectMean: 1, negative: false },
        { effectMean: 2, negative: false },
      ],
    });
  });

  it.each([
    [[], undefined, "minimality: expected at least one node, got none"],
    [[0], [], "minimality: expected at least one subset, got none"],
    [[0], [[0, 2]], "minimality: expected subsets of the circuit, got one with L1.z[0]@0"],
    [[0], [[9]], "minimality: expected subsets of the circuit, got one with node 9"],
  ])("refuses %j with %j", async (circuit, subsets, message) => {
    await expect(minimalityOf(circuit, subsets)).rejects.toThrow(new InputError(message));
  });
});
