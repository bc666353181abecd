import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { randomModel } from "../../bench/random-model.js";
import { blocksOfSets, setsPerBlock } from "../../src/exact/node-sets.js";
import { exactEffects, patchSets } from "../../src/exact/patch-sets.js";
import type { Model } from "../../src/model/model.js";
import { makeNodeSpace } from "../../src/nodes/node-space.js";
import { positionLabels } from "../../src/nodes/positions.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import { startTestEngine } from "../support/engine.js";
import { largestError } from "../support/errors.js";
import { TINY_CONFIGS } from "../support/tiny-config.js";
import { tokenPair } from "../support/token-pair.js";

/** Float32, metrics of order 1, the same product in batches of different sizes. */
const TOLERANCE = 2e-5;

describe("blocksOfSets", () => {
  it("gives every set once, in order, and no block beyond a limit but of a single set", () => {
    const sizes = fc.array(fc.nat(9), { maxLength: 40 });
    const limit = fc.integer({ min: 1, max: 30 });
    fc.assert(
      fc.property(sizes, limit, limit, fc.integer({ min: 1, max: 5 }), (given, runs, nodes, pairs) => {
        const sets = given.map((size, number) => new Uint32Array(size).fill(number));
        const blocks = [...blocksOfSets(sets, pairs, { runs, nodes })];
        expect(blocks.flatMap((block) => block.sets)).toEqual(sets);
        let next = 0;
        for (const { first, sets: inBlock } of blocks) {
          expect(first).toBe(next);
          next += inBlock.length;
          if (inBlock.length === 1) continue;
          expect(inBlock.length).toBeLessThanOrEqual(setsPerBlock(pairs, { runs, nodes }));
          expect(inBlock.reduce((sum, set) => sum + set.length, 0)).toBeLessThanOrEqual(nodes);
        }
      }),
    );
  });

  it("complains of a set that is not there", () => {
    expect(() => [...blocksOfSets({ length: 2, at: () => undefined }, 1)]).toThrow(
      "blocksOfSets: expected 2 sets, got none at 0",
    );
  });
});

describe("random halves of a large space", () => {
  /** 4 layers · (1250 neurons) · 20 positions. */
  const NODES = 100_000;
  const config = { ...TINY_CONFIGS.plain, layers: 4, mlpWidth: 1250, maxPositions: 32 };
  const pair = tokenPair(
    Array.from({ length: 20 }, (_, t) => t % 17),
    Array.from({ length: 20 }, (_, t) => (t + 5) % 17),
  );
  const options = { metric: metricByName("logit-diff"), direction: "noising" as const, batchSize: 8 };
  let model: Model;

  beforeAll(async () => {
    await startTestEngine();
    model = randomModel(config);
  });
  afterAll(() => model.dispose());

  const space = () => makeNodeSpace(model.config, ["neuron"], positionLabels("each", [pair]));

  /** Every node with probability ½, by a hash of set and node. */
  const half = (set: number) => {
    const nodes = new Uint32Array(NODES);
    let count = 0;
    for (let node = 0; node < NODES; node++) {
      const hash = Math.imul(Math.imul(node + 1, 0x9e3779b1) ^ Math.imul(set + 1, 0x85ebca6b), 0xc2b2ae35);
      if ((hash ^ (hash >>> 15)) & 1) nodes[count++] = node;
    }
    return nodes.slice(0, count);
  };

  it("makes each set when its turn comes, and gives what they give held all at once", async () => {
    const of = space();
    expect(of.size).toBe(NODES);
    const made: number[] = [];
    const lazy = {
      length: 24,
      at: (set: number) => {
        made.push(set);
        return half(set);
      },
    };
    const metrics = [options.metric];
    // Four halves at a time.
    const limits = { runs: 1000, nodes: 4 * 51_000 };
    const inBlocks = await patchSets(model, [pair], of, lazy, { ...options, metrics }, limits);
    expect(made).toEqual(Array.from({ length: 24 }, (_, set) => set));
    const held = await exactEffects(
      model,
      [pair],
      of,
      Array.from({ length: 24 }, (_, s) => half(s)),
      options,
    );
    const [{ patched, base }] = inBlocks.metrics;
    expect(
      largestError(
        patched.map((value) => value - base[0]),
        held.effects,
      ),
    ).toBeLessThan(TOLERANCE);
    // Two unpatched runs more for each of five blocks more.
    expect(inBlocks.forwardEquivalents - held.forwardEquivalents).toBeCloseTo(2 * 5, 8);
    expect(new Set(held.effects).size).toBe(24);
  });

  it("moves the metric as all neurons do where a half and the other half are patched together", async () => {
    const of = space();
    const [some] = [half(7)];
    const inside = new Set(some);
    const all = Uint32Array.from({ length: NODES }, (_, node) => node);
    const rest = all.filter((node) => !inside.has(node));
    expect(some.length).toBeGreaterThan(0.49 * NODES);
    expect(some.length).toBeLessThan(0.51 * NODES);
    const joined = Uint32Array.from([...rest, ...some]);
    const { effects } = await exactEffects(model, [pair], of, [all, joined], options);
    expect(effects[1]).toBe(effects[0]);
    expect(Math.abs(effects[0])).toBeGreaterThan(1e-3);
  });
});

describe("sets with a pair of their own", () => {
  const pairs = [
    tokenPair([1, 2, 3, 4], [1, 7, 3, 4]),
    tokenPair([9, 8, 7], [9, 2, 7]),
    tokenPair([5, 5, 6, 11], [5, 9, 6, 11]),
  ];
  const options = { direction: "noising" as const, batchSize: 2 };
  const metrics = [metricByName("logit-diff"), metricByName("prob")];

  it("are patched on that pair alone, as they would be on all of them", async () => {
    await startTestEngine();
    const model = randomModel(TINY_CONFIGS.plain);
    const space = makeNodeSpace(model.config, ["z", "mlpOut"], positionLabels("all", pairs));
    const sets = Array.from({ length: 11 }, (_, s) =>
      Uint32Array.of(s % space.size, (3 * s + 1) % space.size),
    );
    const distinct = sets.map((set) => new Uint32Array(new Set(set)));
    const pairOf = (set: number) => (2 * set) % 3;
    const seen: number[] = [];
    const own = await patchSets(
      model,
      pairs,
      space,
      { length: 11, at: (set) => distinct[set], pairOf },
      { ...options, metrics, onProgress: ({ done, total }) => seen.push(done / total) },
      { runs: 4, nodes: 100 },
    );
    const all = await patchSets(model, pairs, space, distinct, { ...options, metrics });
    own.metrics.forEach(({ patched }, m) => {
      patched.forEach((value, at) => {
        const [pair, set] = [Math.floor(at / 11), at % 11];
        if (pair !== pairOf(set)) expect(value).toBeNaN();
        else expect(Math.abs(value - all.metrics[m].patched[at])).toBeLessThan(TOLERANCE);
      });
    });
    expect(seen.at(-1)).toBe(1);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    model.dispose();
  });
});
