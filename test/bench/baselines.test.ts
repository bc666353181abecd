/** The methods without gradients, on a model in which one neuron alone matters, worked out by hand. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { planBlocks } from "../../bench/baselines/blocks.js";
import { planHierarchy } from "../../bench/baselines/hierarchical.js";
import { carryOut } from "../../bench/baselines/joint-plan.js";
import { outcomesOf } from "../../bench/baselines/methods.js";
import { neighbours } from "../../bench/baselines/neighbours.js";
import { candidatesOf, contributionsOf, type Study } from "../../bench/baselines/study.js";
import { bySubsets, differencesOfMeans, patchSubsets, randomSubsets } from "../../bench/baselines/subsets.js";
import { makeNodeSpace } from "../../src/nodes/node-space.js";
import { positionLabels } from "../../src/nodes/positions.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import { startTestEngine } from "../support/engine.js";
import { NOBEL, nobelModel, OSLO, PEACE, PRIZE, TALKS } from "../support/logic-models.js";
import { TINY_CONFIGS } from "../support/tiny-config.js";
import { tokenPair } from "../support/token-pair.js";

/** "Nobel Peace" and "Nobel Oslo": at the second word neuron 42 of layer 1 is on, or off, and nothing else hears of it. */
const PAIR = { ...tokenPair([NOBEL, PEACE], [NOBEL, OSLO]), answers: [PRIZE], wrong: [TALKS] };
/** 43 neurons in each of two layers at the second position; neuron 42 of layer 1 is the last of them. */
const [NEURONS, PLANTED] = [86, 85];
/** The norm that does nothing does it in float32. */
const ROUNDING = 1e-5;

describe("one neuron among many", () => {
  let study: Study;

  beforeAll(async () => {
    await startTestEngine();
    const model = nobelModel();
    const space = makeNodeSpace(model.config, ["neuron"], positionLabels("each", [PAIR]));
    const control = { metric: metricByName("logit-diff"), direction: "noising", batchSize: 4 } as const;
    const task = { model, pairs: [PAIR], space, control };
    const { candidates, costs } = candidatesOf(task);
    study = { ...task, candidates, costs, truth: await contributionsOf(task, candidates) };
  });
  afterAll(() => study.model.dispose());

  it("is alone", () => {
    expect(study.candidates.length).toBe(NEURONS);
    expect(study.truth[PLANTED]).toBeCloseTo(1, 5);
    expect([...study.truth.entries()].filter(([, value]) => value > ROUNDING).length).toBe(1);
  });

  it("is found by blocks: all of them, then the best one from its first node on", async () => {
    // ⌈86 ÷ 8⌉ = 11 blocks; the last one begins at 80, and 85 is its sixth node. Two kinds of patching: 2 · 2 unpatched runs.
    const [{ verified, total }] = await carryOut(study, [planBlocks(study, { along: "site", size: 8 })]);
    expect(verified.slice(0, 6).map(({ place }) => place)).toEqual([80, 81, 82, 83, 84, 85]);
    expect(verified[5].patches).toBe(11 + 6);
    expect(total.patches).toBe(11 + NEURONS);
    // Layer 1 of a position is half of what layer 0 and 1 are there, and of two positions one: see costsOfSets.
    const joint = 5 * (1 / 2) + 1 / 2 + 5 * (1 / 4);
    const single = study.costs.slice(80, 86).reduce((sum, { run }) => sum + run, 0);
    expect(verified[5].run).toBeCloseTo(4 + joint + single, 9);
  });

  it("is found by going down a tree", async () => {
    // 86 = 43 + 43, then the second piece of each cut: 22 of 43, 11 of 22, 6 of 11, 3 of 6, 2 of 3, 1 of 2. Seven cuts in two.
    const plan = planHierarchy(study, { along: "site", branching: 2 });
    const [{ verified, total }] = await carryOut(study, [plan]);
    expect(verified.slice(0, 3).map(({ place }) => place)).toEqual([83, 84, 85]);
    expect(verified[2].patches).toBe(7 * 2);
    // A binary tree of 86 leaves has 85 inner nodes, of which the root is not patched.
    expect(total.patches).toBe(84 + NEURONS);
    expect(new Set(verified.map(({ place }) => place)).size).toBe(NEURONS);
  });

  it("is found by subsets", async () => {
    const sets = randomSubsets(study, 32, { probability: 0.3, seed: 5 });
    const patched = await patchSubsets(study, sets);
    // −1 in the subsets with it, 0 in those without it: whichever subsets there are, the difference is 1.
    expect(differencesOfMeans(study, patched, 32)[PLANTED]).toBeCloseTo(1, 5);
    const { verified } = bySubsets(study, patched, 32);
    expect(verified[0].place).toBe(PLANTED);
    expect(verified[0].patches).toBe(32 + 1);
  });

  it("is verified by every method in every setting, as is every other one", async () => {
    const settings = { probabilities: [0.2], budgets: [4, 8], blockSizes: [16], branchings: [3] };
    const found = [];
    for await (const { method, setting, counters } of outcomesOf(study, settings)) {
      found.push(`${method} ${setting}`);
      for (const { verified } of counters) {
        expect(new Set(verified.map(({ place }) => place)).size).toBe(NEURONS);
      }
    }
    expect(found).toEqual([
      "exhaustive ",
      "subsets 4 subsets, p = 0.2",
      "subsets 8 subsets, p = 0.2",
      "blocks 16 nodes by site",
      "hierarchical 3 pieces by site",
      "blocks 16 nodes by position",
      "hierarchical 3 pieces by position",
      "atp ",
      "atp+qkfix ",
      "atp+graddrop ",
      "atp* ",
    ]);
  });
});

describe("neighbours", () => {
  it("are heads, then positions; or within a position heads, sites and layers", () => {
    const space = makeNodeSpace({ ...TINY_CONFIGS.plain, layers: 2 }, ["z", "mlpOut"], [0, 1]);
    // Places of L0.z[0..3]@0, L0.z[0..3]@1, L0.mlpOut@0, @1, and the same in layer 1; without L0.z[0]@0.
    const candidates = Uint32Array.from({ length: 19 }, (_, at) => at + 1);
    expect([...neighbours(space, candidates, "site")]).toEqual([...candidates.keys()]);
    const atFirst = [1, 2, 3, 8, 10, 11, 12, 13, 18];
    const atSecond = [4, 5, 6, 7, 9, 14, 15, 16, 17, 19];
    expect([...neighbours(space, candidates, "position")].map((place) => candidates[place])).toEqual([
      ...atFirst,
      ...atSecond,
    ]);
  });
});

describe("subsets", () => {
  const pairs = [tokenPair([1, 2, 3], [4, 2, 3]), tokenPair([1, 2], [4, 2])];
  const space = makeNodeSpace(TINY_CONFIGS.plain, ["neuron"], positionLabels("each", pairs));
  const candidates = Uint32Array.from({ length: space.size }, (_, node) => node);

  it("are the same for the same seed, and have each node of their pair with the probability", () => {
    const options = { probability: 0.2, seed: 7 };
    const sets = randomSubsets({ pairs, space, candidates }, 2000, options);
    const again = randomSubsets({ pairs, space, candidates }, 10, options);
    expect(again.at(3)).toEqual(sets.at(3));
    const count = new Uint32Array(space.size);
    for (let subset = 0; subset < 2000; subset++) {
      expect(sets.pairOf(subset)).toBe(subset % 2);
      for (const node of sets.at(subset) ?? []) count[node]++;
    }
    // 10 neurons at 3 positions in 3 layers; the second pair has no third position.
    const isThird = (node: number) => Math.floor(node / 10) % 3 === 2;
    for (const node of candidates) {
      const subsets = isThird(node) ? 1000 : 2000;
      // Five standard deviations of a binomial count.
      const allowed = 5 * Math.sqrt(subsets * 0.2 * 0.8);
      expect(Math.abs(count[node] - 0.2 * subsets)).toBeLessThan(allowed);
    }
  });

  it("score a node by the difference of means, each pair's effects taken from their mean", () => {
    const members = [[0, 1], [0], [], [1], [0, 20], [0, 1]];
    const sets = {
      length: members.length,
      at: (subset: number) => Uint32Array.from(members[subset]),
      pairOf: (subset: number) => subset % 2,
    };
    const patched = { sets, effects: Float64Array.of(4, 13, 1, 10, 1, 16) };
    const scores = differencesOfMeans({ pairs, space, candidates }, patched, 6);
    // Means 2 and 13 of the pairs: centred 2, 0, −1, −3, −1, 3.
    // Node 0 is in subsets 0, 1, 4, 5: (2 + 0 − 1 + 3)/4 = 1; without it (−1 − 3)/2 = −2.
    expect(scores[0]).toBeCloseTo(3, 12);
    // Node 1 is in 0, 3, 5: (2 − 3 + 3)/3 = 2/3; without it (0 − 1 − 1)/3 = −2/3.
    expect(scores[1]).toBeCloseTo(4 / 3, 12);
    // Node 20 is at the third position, which only the first pair has: in 4, −1; in 0 and 2 not, (2 − 1)/2.
    expect(scores[20]).toBeCloseTo(1.5, 12);
    // Node 2 is in none.
    expect(scores[2]).toBeNaN();
    // Of the first three subsets: means 2.5 and 13; 1.5, 0, −1.5.
    expect(differencesOfMeans({ pairs, space, candidates }, patched, 3)[1]).toBeCloseTo(1.5 + 0.75, 12);
  });
});
