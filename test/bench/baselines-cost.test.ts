/** What patching is said to cost, against what the calls that patch report; and the counter, by hand. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CostCounter, passesOf } from "../../bench/baselines/cost-counter.js";
import { byGradients, exhaustive, oracle } from "../../bench/baselines/in-order.js";
import { costsOfNodes } from "../../bench/baselines/node-cost.js";
import { bestFirst, candidatesOf, contributionsOf, costsOfSets, sumOf } from "../../bench/baselines/study.js";
import { randomSubsets } from "../../bench/baselines/subsets.js";
import { randomModel } from "../../bench/random-model.js";
import { estimateBy } from "../../src/atpstar/estimate.js";
import { METHODS } from "../../src/atpstar/methods.js";
import { patchSets } from "../../src/exact/patch-sets.js";
import { sweepNodes } from "../../src/exact/sweep/sweep.js";
import type { Model } from "../../src/model/model.js";
import { sitesOf } from "../../src/model/sites.js";
import { formatNodeId } from "../../src/nodes/node-id.js";
import { makeNodeSpace, nodeAt } from "../../src/nodes/node-space.js";
import { positionLabels } from "../../src/nodes/positions.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import type { Pair } from "../../src/prompts/pair.js";
import { startTestEngine } from "../support/engine.js";
import { TINY_CONFIGS } from "../support/tiny-config.js";
import { tokenPair } from "../support/token-pair.js";

/** Two lengths, and one pair whose metric is read before its end. */
const PAIRS: Pair[] = [
  tokenPair([1, 2, 3, 4, 5, 6], [1, 7, 3, 4, 5, 6]),
  tokenPair([4, 4, 1], [4, 10, 1]),
  { ...tokenPair([9, 8, 7, 6, 5, 4], [9, 8, 2, 6, 11, 4]), metricPosition: 4 },
];
const CONTROL = { metric: metricByName("logit-diff"), direction: "noising" as const, batchSize: 8 };
const OPTIONS = { metrics: [CONTROL.metric], direction: CONTROL.direction, batchSize: CONTROL.batchSize };
/** Sums of float64 numbers of order 1 to 1,000. */
const DIGITS = 9;

describe.each(["plain", "parallel", "gated"] as const)("%s model", (kind) => {
  let model: Model;

  beforeAll(async () => {
    await startTestEngine();
    model = randomModel(TINY_CONFIGS[kind], { gain: 1.5 });
  });
  afterAll(() => model.dispose());

  const taskOf = (pairs: readonly Pair[], mode: "each" | "all" = "each") => {
    const space = makeNodeSpace(model.config, sitesOf(model.config), positionLabels(mode, pairs));
    return { model, pairs, space, control: CONTROL };
  };

  it.each([
    ["a pair", [PAIRS[0]], "each"],
    ["a pair that is read before its end", [PAIRS[2]], "each"],
    ["a pair at all positions together", [PAIRS[2]], "all"],
  ] as const)("counts a node's run alone as its sweep does, on %s", async (_name, pairs, mode) => {
    const { space } = taskOf(pairs, mode);
    // One index of every site, layer and position: the others cost the same.
    const nodes = Uint32Array.from(
      space.groups.flatMap(({ offset, indices }) => space.labels.map((_, p) => offset + p * indices)),
    );
    const costs = costsOfNodes(model.config, pairs, space, nodes);
    expect(costs.some(({ run }) => run > 0.3)).toBe(true);
    for (const [at, { run, patches }] of costs.entries()) {
      const node = nodes.subarray(at, at + 1);
      const { forwardEquivalents } = await sweepNodes(model, pairs, space, node, OPTIONS);
      const name = formatNodeId(nodeAt(space, nodes[at]));
      expect(run, name).toBeCloseTo(forwardEquivalents - 2, DIGITS);
      if (run > 0) expect(patches, name).toBe(1);
    }
  });

  it("adds up the runs of all pairs, and what runs together costs no less", async () => {
    const task = taskOf(PAIRS);
    const { candidates, costs } = candidatesOf(task);
    const ofPairs = PAIRS.map((pair) => sumOf(costsOfNodes(model.config, [pair], task.space, candidates)));
    expect(sumOf(costs).run).toBeCloseTo(sumOf(ofPairs).run, DIGITS);
    expect(sumOf(costs).patches).toBe(sumOf(ofPairs).patches);
    const { forwardEquivalents } = await sweepNodes(model, PAIRS, task.space, candidates, OPTIONS);
    const together = (forwardEquivalents - 2 * PAIRS.length) / sumOf(costs).run;
    expect(together).toBeGreaterThanOrEqual(1);
    // The attention alone is computed on rectangles, and at the few tokens of these prompts it is a small share.
    expect(together).toBeLessThan(1.2);
  });

  it("leaves out only nodes without effect", async () => {
    const task = taskOf(PAIRS);
    const { candidates } = candidatesOf(task);
    const others = Uint32Array.from({ length: task.space.size }, (_, node) => node).filter(
      (node) => !candidates.includes(node),
    );
    expect(others.length).toBeGreaterThan(10);
    const effects = await contributionsOf(task, others);
    expect(effects.every((effect) => effect === 0)).toBe(true);
  });

  it("counts joint patches as patchSets does, on all pairs or on one each", async () => {
    const task = taskOf(PAIRS);
    const study = { ...task, ...candidatesOf(task) };
    const ofOnePair = randomSubsets(study, 12, { probability: 0.1, seed: 3 });
    const ofAll = Array.from(
      { length: 12 },
      (_, set) => ofOnePair.at(3 * Math.floor(set / 3) + 1) ?? candidatesOf(task).candidates,
    );
    for (const sets of [ofOnePair, ofAll]) {
      const { forwardEquivalents } = await patchSets(model, PAIRS, task.space, sets, OPTIONS);
      const { run, patches } = sumOf(costsOfSets(task, sets));
      expect(run).toBeCloseTo(forwardEquivalents - 2 * PAIRS.length, DIGITS);
      expect(patches).toBeGreaterThan(sets.length / 2);
    }
  });

  it("spends what its calls report before it verifies, for every method that knows its order", async () => {
    const task = taskOf(PAIRS);
    const study = { ...task, ...candidatesOf(task) };
    const truth = await contributionsOf(task, study.candidates);
    const whole = sumOf(study.costs);
    for (const counter of [exhaustive(study, 1), oracle({ ...study, truth })]) {
      expect(counter.total.run).toBeCloseTo(2 * PAIRS.length + whole.run, DIGITS);
      expect(counter.total.patches).toBe(whole.patches);
    }
    for (const method of METHODS) {
      const { total, verified } = await byGradients(study, method);
      const { forwardEquivalents } = await estimateBy(method, model, PAIRS, {
        ...CONTROL,
        space: task.space,
      });
      expect(total.run).toBeCloseTo(forwardEquivalents + 2 * PAIRS.length + whole.run, DIGITS);
      expect(total.patches).toBe(PAIRS.length * passesOf(method, 3) + whole.patches);
      expect(new Set(verified.map(({ place }) => place)).size).toBe(study.candidates.length);
    }
  });
});

describe("the counter", () => {
  it("adds up both units, and notes what had been spent at each verified node", () => {
    const counter = new CostCounter();
    counter.addUnpatched(3); // 6 forward passes, no patches
    counter.addPatches({ run: 1.5, patches: 3 });
    const costs = [
      { run: 0.5, patches: 2 },
      { run: 0.25, patches: 1 },
    ];
    counter.verifyAll([1, 0], costs);
    expect(counter.verified).toEqual([
      { place: 1, run: 7.75, patches: 4 },
      { place: 0, run: 8.25, patches: 6 },
    ]);
    expect(counter.total).toEqual({ run: 8.25, patches: 6 });
  });

  it("counts a gradient method as it reports and as the paper does", () => {
    const counter = new CostCounter();
    counter.addEstimates("atp*", 2, 6, 11);
    // Two forward passes and one backward pass per layer, on two pairs.
    expect(counter.total).toEqual({ run: 11, patches: 2 * (2 + 6) });
    expect(METHODS.map((method) => passesOf(method, 6))).toEqual([3, 3, 8, 8]);
  });
});

describe("orders", () => {
  it("puts the largest first, equal ones in their order, what is unknown last", () => {
    expect([...bestFirst([0.5, Number.NaN, 2, 0.5])]).toEqual([2, 0, 3, 1]);
  });

  it("verifies every node once, in another order for another seed", () => {
    const costs = Array.from({ length: 50 }, () => ({ run: 1, patches: 1 }));
    const [first, again, other] = [1, 1, 2].map((seed) =>
      exhaustive({ pairs: [], costs }, seed).verified.map(({ place }) => place),
    );
    expect(again).toEqual(first);
    expect(other).not.toEqual(first);
    expect([...first].sort((a, b) => a - b)).toEqual([...costs.keys()]);
  });
});
