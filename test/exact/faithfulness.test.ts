import * as tf from "@tensorflow/tfjs-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { randomModel } from "../../bench/random-model.js";
import { loadModel } from "../../src/checkpoint/load-model.js";
import { InputError } from "../../src/errors.js";
import { type FaithfulnessOptions, faithfulness, type OrderedNodes } from "../../src/exact/faithfulness.js";
import { metricOfSet, type PatchedSet, patchedMetrics } from "../../src/exact/patched-metrics.js";
import { DEFAULT_SITES } from "../../src/localize.js";
import type { Model } from "../../src/model/model.js";
import { sitesOf } from "../../src/model/sites.js";
import { logits } from "../../src/model/transformer.js";
import { parseNodeId } from "../../src/nodes/node-id.js";
import {
  indexOfNode,
  makeNodeSpace,
  type NodeSpace,
  nodeAt,
  parseSites,
} from "../../src/nodes/node-space.js";
import { positionLabels } from "../../src/nodes/positions.js";
import { addScore, makeScoreTable } from "../../src/nodes/score-table.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import type { Pair } from "../../src/prompts/pair.js";
import { readPairs } from "../../src/prompts/read-pairs.js";
import { zeroSource } from "../../src/sources/zero.js";
import { startTestEngine } from "../support/engine.js";
import { largestError } from "../support/errors.js";
import { A, B, twoPathModel } from "../support/hand-made.js";
import { rounded } from "../support/rounded.js";
import { TINY_CONFIGS } from "../support/tiny-config.js";
import { tokenPair } from "../support/token-pair.js";

/** Float32, metrics of order 1. */
const TOLERANCE = 2e-5;

const OPTIONS = { metric: metricByName("logit-diff"), direction: "noising", batchSize: 8 } as const;

const PAIRS: Pair[] = [
  tokenPair([1, 2, 3, 4, 5], [1, 7, 3, 4, 5], { changed: 1, end: 4 }),
  tokenPair([4, 4, 1], [4, 10, 1], { changed: 1 }),
  tokenPair([9, 8, 7, 6, 5], [9, 8, 2, 6, 5], { changed: 2, end: 4 }),
];

beforeAll(() => startTestEngine());

/** Runs it and checks that no tensor stays behind. */
async function curve(
  model: Model,
  pairs: readonly Pair[],
  ranking: OrderedNodes,
  options: Partial<FaithfulnessOptions> = {},
) {
  const before = tf.memory().numTensors;
  const result = await faithfulness(model, pairs, ranking, { ...OPTIONS, ...options });
  expect(tf.memory().numTensors).toBe(before);
  return result;
}

/** All nodes of a space, in an order that has nothing to do with their numbers. */
function shuffled({ size }: NodeSpace): Uint32Array {
  return Uint32Array.from({ length: size }, (_, i) => i).sort((a, b) => Math.sin(a) - Math.sin(b));
}

describe.each(["plain", "parallel", "gated"] as const)("%s model", (kind) => {
  let model: Model;
  beforeAll(() => {
    model = randomModel(TINY_CONFIGS[kind]);
  });
  afterAll(() => model.dispose());

  it("tells the sign of a node by the pairs that have it, whatever others are in the file", async () => {
    const [long, short] = PAIRS;
    const space = makeNodeSpace(model.config, ["mlpOut"], [4]);
    const order = Uint32Array.of(0);
    const alone = async (pair: Pair) => {
      const { baseMetric, sourceMetric } = await curve(model, [pair], { space, order });
      return sourceMetric - baseMetric;
    };
    const gap = await alone(long);
    const turned = { ...short, clean: short.corrupted, corrupted: short.clean };
    const against = gap * (await alone(short)) < 0 ? short : turned;
    const pairs = [long, ...Array.from({ length: 40 }, () => against)];
    const scores = makeScoreTable(1);
    // Only the long pair has position 4, and there it goes half of the way.
    addScore(scores, 0, gap / 2);
    const result = await curve(model, pairs, { space, order, verified: { nodes: order, scores } });
    expect((result.sourceMetric - result.baseMetric) * gap).toBeLessThan(0);
    expect(result.verified).toMatchObject([{ effectMean: gap / 2, negative: false }]);
  });

  it("goes from the source runs to the base runs, and back, where the space has all that differs", async () => {
    const space = makeNodeSpace(model.config, sitesOf(model.config), positionLabels("each", PAIRS));
    const { points, allPatched, ...result } = await curve(model, PAIRS, { space, order: shuffled(space) });
    const [first, last] = [points[0], points[points.length - 1]];
    expect(first.k).toBe(0);
    expect(last).toMatchObject({ k: space.size, share: 1 });
    // Nothing patched: the base run itself.
    expect(last.keep.metric).toBe(result.baseMetric);
    expect(last.keep.faithfulness).toBe(1);
    expect(first.remove).toEqual(last.keep);
    // Everything patched: the source run.
    expect(first.keep.metric).toBeCloseTo(result.sourceMetric, 4);
    expect(first.keep.faithfulness).toBeCloseTo(0, 4);
    expect(last.remove).toEqual(first.keep);
    expect(allPatched).toEqual(first.keep);
    expect(Math.abs(result.sourceMetric - result.baseMetric)).toBeGreaterThan(0.01);
  });

  it("runs every pair as if it were alone: nodes that it lacks are passed over", async () => {
    const everyone = makeNodeSpace(model.config, ["z", "mlpOut"], positionLabels("each", PAIRS));
    const order = shuffled(everyone);
    const sets: PatchedSet[] = [0, 1, 7, 30].flatMap((k) => [
      { nodes: order.subarray(0, k) },
      { nodes: order.subarray(0, k), complement: true },
    ]);
    const together = await patchedMetrics(model, PAIRS, everyone, sets, OPTIONS);
    for (const [index, pair] of PAIRS.entries()) {
      const own = makeNodeSpace(model.config, ["z", "mlpOut"], positionLabels("each", [pair]));
      const ownSets = sets.map(({ nodes, ...rest }) => {
        const kept = [...nodes].map((node) => nodeAt(everyone, node));
        const present = kept.filter(({ position }) => Number(position) < pair.clean.length);
        return { nodes: Uint32Array.from(present, (node) => indexOfNode(own, node)), ...rest };
      });
      const alone = await patchedMetrics(model, [pair], own, ownSets, OPTIONS);
      const row = together.metric.slice(index * sets.length, (index + 1) * sets.length);
      expect(largestError(row, alone.metric)).toBeLessThan(TOLERANCE);
      expect(new Set(row).size).toBeGreaterThan(4);
    }
    expect(metricOfSet(together, 0)).toEqual(together.baseMetric);
  });

  it("counts its runs once, up to their number", async () => {
    const space = makeNodeSpace(model.config, ["z"], positionLabels("roles", PAIRS));
    const seen: number[] = [];
    const { points } = await curve(
      model,
      PAIRS,
      { space, order: shuffled(space) },
      {
        onProgress: ({ stage, done, total }) => {
          expect(stage).toBe("patch");
          // Both curves, but for the run with all patched, which is the same in both.
          expect(total).toBe(PAIRS.length * (2 * defaultPoints(space.size) - 1));
          seen.push(done);
        },
      },
    );
    expect(points.length).toBe(defaultPoints(space.size));
    expect(seen).toEqual([...new Set(seen)].sort((a, b) => a - b));
    expect(seen[seen.length - 1]).toBe(PAIRS.length * (2 * points.length - 1));
  });
});

/** Points of the default grid: 0, 1, 2, 5, 10, 20, … below n, and n. */
function defaultPoints(n: number): number {
  return [0, 1, 2, 5, 10, 20, 50, 100].filter((k) => k < n).length + 1;
}

/**
 * The metric is o + w·relu(o), with o the head's output (node Z) and relu(o) the neuron (node N); o = 1 in the base run,
 * −2 in the source run. For w = −1:
 *
 *   patched    o    neuron   metric   f = (metric + 2)/(0 + 2)
 *   nothing    1    1         0       1
 *   Z         −2    0        −2       0      the neuron is computed from what reaches it
 *   N          1    0         1       1.5
 *   Z, N      −2    0        −2       0      as in the source run
 */
describe("two paths that cancel", () => {
  let model: Model;
  let pair: Pair;
  let space: NodeSpace;
  let order: Uint32Array;
  beforeAll(() => {
    model = twoPathModel(-1);
    pair = { ...tokenPair([A], [B]), answers: [A], wrong: [B] };
    space = makeNodeSpace(model.config, ["z", "neuron"], positionLabels("all", [pair]));
    // The other two nodes do nothing.
    order = Uint32Array.from(["L0.z[0]@*", "L1.neuron[0]@*", "L0.neuron[0]@*", "L1.z[0]@*"], (id) =>
      indexOfNode(space, parseNodeId(id)),
    );
  });
  afterAll(() => model.dispose());

  it("has the curves, areas and signs worked out on paper", async () => {
    const scores = makeScoreTable(2);
    addScore(scores, 0, -2);
    addScore(scores, 1, 1);
    const verified = { nodes: order.slice(0, 2), scores };
    const result = rounded(await curve(model, [pair], { space, order, verified }, { grid: [2, 1, 2] }));
    expect(result.points.map(({ k, share }) => [k, share])).toEqual([
      [0, 0],
      [1, 0.25],
      [2, 0.5],
      [4, 1],
    ]);
    expect(result.points.map(({ keep }) => keep.metric)).toEqual([-2, 1, 0, 0]);
    expect(result.points.map(({ remove }) => remove.metric)).toEqual([0, -2, -2, -2]);
    expect(result.points.map(({ keep }) => keep.faithfulness)).toEqual([0, 1.5, 1, 1]);
    expect(result.points.map(({ remove }) => remove.faithfulness)).toEqual([1, 0, 0, 0]);
    expect(result).toMatchObject({ baseMetric: 0, sourceMetric: -2, nodes: { ranked: 4, space: 4 } });
    // One pair has no standard error.
    expect(Object.keys(result.allPatched)).toEqual(["metric", "faithfulness"]);

    // ¼·(0 + 1.5)/2 + ¼·(1.5 + 1)/2 + ½·1 and ¼·(1 + 0)/2
    expect(result.keepArea?.share).toBeCloseTo(1, 5);
    expect(result.removeArea?.share).toBeCloseTo(0.125, 5);
    const [ln2, ln3, ln5] = [2, 3, 5].map(Math.log);
    expect(result.keepArea?.logShare).toBeCloseTo(
      (ln2 * 0.75 + (ln3 - ln2) * 1.25 + (ln5 - ln3) * 1) / ln5,
      5,
    );
    expect(result.removeArea?.logShare).toBeCloseTo((ln2 * 0.5) / ln5, 5);

    // The metric falls from base to source; patching the neuron raises it.
    expect(result.verified).toEqual([
      { node: "L0.z[0]@*", rank: 1, effectMean: -2, negative: false },
      { node: "L1.neuron[0]@*", rank: 2, effectMean: 1, negative: true },
    ]);
    expect(result.points.map(({ negative }) => negative)).toEqual([0, 0, 1, 1]);
  });

  it("patches all other nodes of the space, ranked or not", async () => {
    const ranked = order.slice(0, 1);
    const { points, allPatched, nodes, verified } = rounded(
      await curve(model, [pair], { space, order: ranked }),
    );
    expect(nodes).toEqual({ ranked: 1, space: 4 });
    expect(points.map(({ k, share }) => [k, share])).toEqual([
      [0, 0],
      [1, 1],
    ]);
    // N is not ranked, and patched even where Z is kept.
    expect(points.map(({ keep }) => keep.metric)).toEqual([-2, 1]);
    expect(points.map(({ remove }) => remove.metric)).toEqual([0, -2]);
    expect(allPatched.metric).toBe(-2);
    expect(verified).toBeUndefined();
    expect(points[0]).not.toHaveProperty("negative");
  });

  it("has no f, and no area, where base and source runs have the same mean", async () => {
    const back = { ...pair, clean: pair.corrupted, corrupted: pair.clean };
    const result = rounded(await curve(model, [pair, back], { space, order }));
    expect([result.baseMetric, result.sourceMetric]).toEqual([-1, -1]);
    for (const { keep, remove } of result.points) {
      expect(keep).not.toHaveProperty("faithfulness");
      expect(remove).not.toHaveProperty("faithfulness");
    }
    expect(result.keepArea).toBeUndefined();
    expect(result.removeArea).toBeUndefined();
    // −2 and 0 over two pairs.
    expect(result.allPatched).toEqual({ metric: -1, se: 1 });
  });

  it("counts from the run with all patched where zeros are patched in", async () => {
    const one = twoPathModel(1);
    // o + relu(o) is 2 in the base run; o = 0 gives 0; the neuron alone at 0 leaves 1, halfway.
    const result = rounded(await curve(one, [pair], { space, order }, { source: zeroSource() }));
    one.dispose();
    expect(result).toMatchObject({ baseMetric: 2, sourceMetric: 0 });
    expect(result.points.map(({ k, keep }) => [k, keep.metric, keep.faithfulness])).toEqual([
      [0, 0, 0],
      [1, 1, 0.5],
      [2, 2, 1],
      [4, 2, 1],
    ]);
  });

  it.each([
    [{ order: [] }, {}, "faithfulness: expected at least one node, got none"],
    [{ order: [1, 0, 1] }, {}, "faithfulness: expected each node once, got L0.neuron[0]@* twice"],
    [{ order: [4] }, {}, "faithfulness: expected nodes from 0 to 3, got 4"],
    [
      { order: [0, 1] },
      { grid: [1, 3] },
      "faithfulness: expected a grid of whole numbers from 0 to 2, the number of ranked nodes, got 3",
    ],
    [
      { order: [0, 1] },
      { grid: [0.5] },
      "faithfulness: expected a grid of whole numbers from 0 to 2, the number of ranked nodes, got 0.5",
    ],
  ])("refuses %j with %j", async ({ order: nodes }, options, message) => {
    const run = curve(model, [pair], { space, order: Uint32Array.from(nodes) }, options);
    await expect(run).rejects.toThrow(new InputError(message));
  });

  it("refuses no pairs", async () => {
    await expect(curve(model, [], { space, order })).rejects.toThrow("expected at least one pair, got none");
  });
});

describe("the demo's duplicate-token head and name movers", () => {
  const README = [
    "L0.z[3]@end",
    "L0.v[3]@s2",
    "L2.q[3]@end",
    "L2.z[3]@end",
    "L1.q[2]@end",
    "L1.z[2]@end",
    "L2.q[1]@end",
    "L2.z[1]@end",
  ];

  it("keep more than 40 % of the behaviour among 408 nodes, as a forward pass with edits by hand says too", async () => {
    const model = await loadModel("models/demo");
    const pairs = (await readPairs("models/demo/pairs/ioi.jsonl", model, OPTIONS.metric.needs)).slice(0, 6);
    const sites = parseSites(DEFAULT_SITES, model.config);
    const space = makeNodeSpace(model.config, sites, positionLabels("roles", pairs));
    const order = Uint32Array.from(README, (id) => indexOfNode(space, parseNodeId(id)));
    const { points, baseMetric, sourceMetric, nodes } = await curve(
      model,
      pairs,
      { space, order },
      { grid: [] },
    );
    expect(nodes).toEqual({ ranked: 8, space: 408 });
    expect(points.map(({ k }) => k)).toEqual([0, 8]);
    const { keep } = points[1];
    expect(keep.faithfulness).toBeGreaterThan(0.4);

    const kept = README.map(parseNodeId);
    const byHand: number[] = [];
    for (const pair of pairs) {
      const values = new Map<string, Float32Array>();
      const source = await logits(model, [pair.corrupted], (site, layer, value) => {
        values.set(`${layer} ${site}`, Float32Array.from(value.dataSync()));
        return value;
      });
      const patched = await logits(model, [pair.clean], (site, layer, value) => {
        if (!["q", "k", "v", "z", "mlpOut"].includes(site)) return value;
        const data = Float32Array.from(value.dataSync());
        const from = values.get(`${layer} ${site}`) ?? new Float32Array();
        const width = value.shape[value.rank - 1] ?? 0;
        const T = pair.clean.length;
        // [1, n, T, h] or [1, T, D]
        for (let row = 0; row < data.length / width; row++) {
          const role = [...pair.roles].find(([, position]) => position === row % T)?.[0];
          if (role === undefined) continue;
          const index = value.rank === 4 ? Math.floor(row / T) : undefined;
          const isKept = kept.some(
            (node) =>
              node.layer === layer && node.site === site && node.index === index && node.position === role,
          );
          if (!isKept) data.set(from.subarray(row * width, (row + 1) * width), row * width);
        }
        return tf.tensor(data, value.shape);
      });
      const last = patched.dataSync().slice(-model.config.vocabulary);
      byHand.push(last[pair.answers[0]] - last[pair.wrong[0]]);
      tf.dispose([source, patched]);
    }
    model.dispose();
    const mean = byHand.reduce((sum, value) => sum + value, 0) / byHand.length;
    expect(keep.metric).toBeCloseTo(mean, 3);
    expect(keep.faithfulness).toBeCloseTo((mean - sourceMetric) / (baseMetric - sourceMetric), 4);
  });
});
