import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { randomModel } from "../../bench/random-model.js";
import { costAhead } from "../../src/exact/cost-ahead.js";
import { BLOCK_LIMITS } from "../../src/exact/node-sets.js";
import { exactEffects, type PatchOptions, patchSets } from "../../src/exact/patch-sets.js";
import {
  formatWindow,
  nodesOfWindow,
  parseWindow,
  parseWindowShape,
  setsOfWindows,
  type Window,
  type WindowShape,
  windowAt,
  windowStarts,
} from "../../src/exact/windows.js";
import type { Model } from "../../src/model/model.js";
import { SITES, siteIndex, sitesOf } from "../../src/model/sites.js";
import { indexOfNode, makeNodeSpace, type NodeSpace } from "../../src/nodes/node-space.js";
import { positionLabels } from "../../src/nodes/positions.js";
import { METRICS, metricByName } from "../../src/prompts/metrics/index.js";
import type { Pair } from "../../src/prompts/pair.js";
import { noiseSource } from "../../src/sources/noise.js";
import { rankedWindows, sweepWindows } from "../../src/sweep-windows.js";
import { startTestEngine } from "../support/engine.js";
import { largestError } from "../support/errors.js";
import { TINY_CONFIGS } from "../support/tiny-config.js";
import { tokenPair } from "../support/token-pair.js";

/** Float32, metrics of order 1, the same product in batches of different sizes. */
const TOLERANCE = 2e-5;

const LAYERS_2: WindowShape = { over: "layers", width: 2 };
const POSITIONS_3: WindowShape = { over: "positions", width: 3 };

const PAIRS: Pair[] = [
  tokenPair([1, 2, 3, 4, 5], [1, 7, 3, 4, 5], { changed: 1, end: 4 }),
  tokenPair([4, 4, 1], [4, 10, 1], { changed: 1 }),
  tokenPair([9, 8, 7, 6, 5], [9, 8, 2, 6, 5], { changed: 2, end: 4 }),
];

const { layers: L, heads: H } = TINY_CONFIGS.plain;
/** The longest prompt. */
const T = 5;

function patchWindows(
  model: Model,
  pairs: readonly Pair[],
  space: NodeSpace,
  { starts, ...shape }: WindowShape & { readonly starts: Uint32Array },
  options: PatchOptions,
  runsAtOnce = BLOCK_LIMITS.runs,
) {
  const sets = setsOfWindows(space, shape, starts);
  return patchSets(model, pairs, space, sets, options, { ...BLOCK_LIMITS, runs: runsAtOnce });
}

describe("ids of windows", () => {
  it.each<[string, Window]>([
    ["L3-5.mlpOut@7", { over: "layers", width: 3, first: { layer: 3, site: "mlpOut", position: 7 } }],
    ["L3-4.mlpOut@-1", { over: "layers", width: 2, first: { layer: 3, site: "mlpOut", position: -1 } }],
    ["L0-1.k[2]@s2", { over: "layers", width: 2, first: { layer: 0, site: "k", index: 2, position: "s2" } }],
    ["L9-10.residPre@*", { over: "layers", width: 2, first: { layer: 9, site: "residPre", position: "*" } }],
    ["L3.z[2]@7-9", { over: "positions", width: 3, first: { layer: 3, site: "z", index: 2, position: 7 } }],
  ])("%s", (id, window) => {
    expect(parseWindow(id)).toEqual(window);
    expect(formatWindow(window)).toBe(id);
  });

  it("round-trip for every window", () => {
    const role = fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_-]{0,9}$/);
    const windows = fc
      .tuple(
        fc.constantFrom(...SITES),
        fc.nat(500),
        fc.nat(20_000),
        fc.oneof(fc.nat(100_000), fc.constant("*"), role),
        fc.integer({ min: 2, max: 100 }),
        fc.boolean(),
      )
      .map(
        ([site, layer, index, position, width, overLayers]): Window => ({
          over: overLayers || typeof position === "string" ? "layers" : "positions",
          width,
          first: { site, layer, ...(siteIndex(site) !== "none" && { index }), position },
        }),
      );
    fc.assert(
      fc.property(windows, (window) => {
        expect(parseWindow(formatWindow(window))).toEqual(window);
      }),
    );
  });

  it.each(["", "L3.z[2]@7", "L3-3.z[2]@7", "L5-3.z[2]@7", "L3.z[2]@9-7", "L3.z[2]@end-9", "L3-5.z[2]"])(
    "does not take %j for one",
    (id) => {
      expect(() => parseWindow(id)).toThrow(/^parseWindow: (expected the id of a window such as|"L3-5.z)/);
    },
  );

  it("says what is wrong with an id", () => {
    expect(() => parseWindow("L3.z[2]@7")).toThrow(
      'parseWindow: expected the id of a window such as "L3-5.mlpOut@7" or "L3.z[2]@7-9", got "L3.z[2]@7"',
    );
    expect(() => parseWindow("L3-5.heads@7")).toThrow(
      'parseWindow: "L3-5.heads@7": parseNodeId: expected one of the sites',
    );
    expect(() => parseWindow("L3-5.z[1]@7-9")).toThrow(
      'parseWindow: "L3-5.z[1]@7-9": parseNodeId: expected a node id',
    );
  });
});

describe("shapes", () => {
  it("are read from text", () => {
    expect(parseWindowShape("layers:3")).toEqual({ over: "layers", width: 3 });
    expect(parseWindowShape("positions:12")).toEqual({ over: "positions", width: 12 });
  });

  it.each(["", "layers", "layers:", "layers:1", "layers:x", "heads:3", "layers:3:4", "layers:2.5"])(
    "are not read from %j",
    (text) => {
      expect(() => parseWindowShape(text)).toThrow(
        `parseWindowShape: expected layers or positions, a colon and a width of 2 or more, such as layers:3, got "${text}"`,
      );
    },
  );

  const each = makeNodeSpace(TINY_CONFIGS.plain, ["z", "mlpOut"], positionLabels("each", PAIRS));

  it("slide over all nodes, one step at a time", () => {
    // Layers 0-1 and 1-2 of three; 5 positions; 4 heads and an MLP.
    const layers = Array.from(windowStarts(each, LAYERS_2), (start) =>
      formatWindow(windowAt(each, LAYERS_2, start)),
    );
    expect(layers.length).toBe(2 * T * (H + 1));
    expect(new Set(layers).size).toBe(layers.length);
    expect(layers).toContain("L0-1.z[3]@4");
    expect(layers).toContain("L1-2.mlpOut@0");
    expect(layers).not.toContain("L2-3.mlpOut@0");
    // Positions 0-2, 1-3 and 2-4; three layers.
    const positions = Array.from(windowStarts(each, POSITIONS_3), (start) =>
      formatWindow(windowAt(each, POSITIONS_3, start)),
    );
    expect(positions.length).toBe(3 * L * (H + 1));
    expect(positions).toContain("L2.z[0]@2-4");
    expect(positions).not.toContain("L2.z[0]@3-5");
  });

  it("have the nodes that their id says", () => {
    const node = (layer: number, position: number) =>
      indexOfNode(each, { layer, site: "z", index: 2, position });
    expect([...nodesOfWindow(each, LAYERS_2, node(1, 3))]).toEqual([node(1, 3), node(2, 3)]);
    expect([...nodesOfWindow(each, POSITIONS_3, node(1, 1))]).toEqual([node(1, 1), node(1, 2), node(1, 3)]);
  });

  it("that do not fit are refused", () => {
    expect(() => windowStarts(each, { over: "layers", width: 4 })).toThrow(
      "windowStarts: expected windows of 2 to 3 layers, as many as there are, got 4",
    );
    expect(() => windowStarts(each, { over: "positions", width: 6 })).toThrow(
      "windowStarts: expected windows of 2 to 5 positions, as many as there are, got 6",
    );
    expect(() => windowStarts(each, { over: "layers", width: 1 })).toThrow("2 to 3 layers");
    const roles = makeNodeSpace(TINY_CONFIGS.plain, ["z"], positionLabels("roles", PAIRS));
    expect(() => windowStarts(roles, POSITIONS_3)).toThrow(
      'windowStarts: expected positions "each" for windows over positions, got changed, end',
    );
  });
});

describe.each(["plain", "parallel", "gated"] as const)("%s model", (kind) => {
  let model: Model;
  let space: NodeSpace;

  beforeAll(async () => {
    await startTestEngine();
    model = randomModel(TINY_CONFIGS[kind]);
    space = makeNodeSpace(model.config, sitesOf(model.config), positionLabels("each", PAIRS));
  });
  afterAll(() => model.dispose());

  const metric = metricByName("logit-diff");
  const control = { direction: "noising" as const, batchSize: 8 };

  it.each([LAYERS_2, POSITIONS_3])(
    "gives the effects of sets that are put together by hand: $over",
    async (shape) => {
      const before = tf.memory().numTensors;
      const starts = windowStarts(space, shape);
      const { metrics } = await patchWindows(
        model,
        PAIRS,
        space,
        { ...shape, starts },
        {
          ...control,
          metrics: [metric, metricByName("prob")],
        },
      );
      expect(tf.memory().numTensors).toBe(before);
      // Each window from its id, node by node.
      const sets = Array.from(starts, (start) => {
        const { first } = parseWindow(formatWindow(windowAt(space, shape, start)));
        return Uint32Array.from({ length: shape.width }, (_, j) =>
          indexOfNode(space, {
            ...first,
            ...(shape.over === "layers"
              ? { layer: first.layer + j }
              : { position: Number(first.position) + j }),
          }),
        );
      });
      for (const { name, patched, base, source } of metrics) {
        const wanted = await exactEffects(model, PAIRS, space, sets, {
          ...control,
          metric: metricByName(name),
        });
        expect([base, source]).toEqual([wanted.baseMetric, wanted.sourceMetric]);
        const effects = patched.map((value, at) => value - base[Math.floor(at / starts.length)]);
        expect([...effects].map(Number.isNaN)).toEqual([...wanted.effects].map(Number.isNaN));
        const present = (values: Float32Array) => values.filter((value) => !Number.isNaN(value));
        expect(largestError(present(effects), present(wanted.effects))).toBeLessThan(TOLERANCE);
        expect(Math.max(...present(effects).map(Math.abs))).toBeGreaterThan(name === "prob" ? 1e-3 : 0.1);
      }
    },
  );

  it("a pair that lacks a position of the window has no value for it", async () => {
    const starts = windowStarts(space, POSITIONS_3);
    const options = { ...control, metrics: [metric] };
    const { metrics } = await patchWindows(model, PAIRS, space, { ...POSITIONS_3, starts }, options);
    const [{ patched }] = metrics;
    // [pair, window]; the second pair has three tokens.
    starts.forEach((start, w) => {
      const { position } = windowAt(space, POSITIONS_3, start).first;
      const missing = [0, 1, 2].map((pair) => Number.isNaN(patched[pair * starts.length + w]));
      expect(missing).toEqual([false, Number(position) > 0, false]);
    });
  });

  it("gives source − base for all layers of the stream, and for all positions of the embeddings", async () => {
    const long = [PAIRS[0], PAIRS[2]];
    const all = await sweepWindows(model, long, {
      nodes: "residPre",
      positions: "all",
      window: { over: "layers", width: L },
    });
    const embedded = await sweepWindows(model, long, {
      nodes: "residPre",
      window: { over: "positions", width: T },
      alsoMetrics: METRICS.filter(({ name }) => name !== "logit-diff").map(({ name }) => name),
    });
    for (const { name, patched, base, source } of all.metrics) {
      const effects = patched.map((value, pair) => value - base[pair]);
      expect(
        largestError(
          effects,
          source.map((value, pair) => value - base[pair]),
        ),
        name,
      ).toBeLessThan(TOLERANCE);
    }
    expect([...rankedWindows(all)]).toMatchObject([
      { rank: 1, window: "L0-2.residPre@*", firstLayer: 0, lastLayer: 2, firstPosition: "*", pairs: 2 },
    ]);
    const rows = [...rankedWindows(embedded)];
    expect(rows.map(({ window }) => window).sort()).toEqual(
      Array.from({ length: L }, (_, l) => `L${l}.residPre@0-4`),
    );
    const inLayer0 = embedded.starts.indexOf(0);
    expect(embedded.metrics.length).toBe(METRICS.length);
    for (const { name, patched, base, source } of embedded.metrics) {
      const effects = [0, 1].map((pair) => patched[pair * L + inLayer0] - base[pair]);
      expect(
        largestError(
          effects,
          source.map((value, pair) => value - base[pair]),
        ),
        name,
      ).toBeLessThan(TOLERANCE);
    }
  });

  it("does not depend on how many windows are patched between two unpatched runs", async () => {
    const starts = windowStarts(space, LAYERS_2);
    const windows = { ...LAYERS_2, starts };
    const seen: number[] = [];
    const options = {
      ...control,
      metrics: [metric],
      onProgress: ({ done, total }: { done: number; total: number }) => {
        expect(total).toBe(PAIRS.length * starts.length);
        seen.push(done);
      },
    };
    const whole = await patchWindows(model, PAIRS, space, windows, options);
    expect(seen[seen.length - 1]).toBe(PAIRS.length * starts.length);
    seen.length = 0;
    const atOnce = Math.floor(starts.length / 4) + 1;
    const cut = await patchWindows(model, PAIRS, space, windows, options, PAIRS.length * atOnce);
    expect(seen).toEqual([...new Set(seen)].sort((a, b) => a - b));
    expect(seen[seen.length - 1]).toBe(PAIRS.length * starts.length);
    // Four blocks in place of one, each with two unpatched runs of every pair.
    expect(cut.forwardEquivalents - whole.forwardEquivalents).toBeCloseTo(3 * 2 * PAIRS.length, 8);
    const [one, other] = [whole, cut].map(({ metrics: [{ patched }] }) => patched);
    expect([...one].map(Number.isNaN)).toEqual([...other].map(Number.isNaN));
    const present = (values: Float32Array) => values.filter((value) => !Number.isNaN(value));
    expect(largestError(present(one), present(other))).toBeLessThan(TOLERANCE);
  });

  it("costs at most what is said ahead", async () => {
    const single = {
      space,
      starts: Uint32Array.of(indexOfNode(space, { layer: 1, site: "mlpOut", position: 2 })),
    };
    // Two of three layers, from position 2 of 5, 3 and 5 tokens; two unpatched runs of three pairs.
    const ahead = costAhead(model.config, PAIRS, single);
    expect(ahead.patchedRuns).toBe(3);
    expect(ahead.forwardEquivalents).toBeCloseTo(6 + (2 / 3) * (3 / 5 + 1 / 3 + 3 / 5), 10);
    for (const shape of [LAYERS_2, POSITIONS_3]) {
      const starts = windowStarts(space, shape);
      const runs = await patchWindows(
        model,
        PAIRS,
        space,
        { ...shape, starts },
        { ...control, metrics: [metric] },
      );
      const [{ patched }] = runs.metrics;
      const windows = costAhead(model.config, PAIRS, { space, starts, shape });
      expect(windows.patchedRuns).toBe(patched.filter((value) => !Number.isNaN(value)).length);
      expect(runs.forwardEquivalents).toBeLessThanOrEqual(windows.forwardEquivalents + 1e-9);
    }
  });

  it("averages over the draws of a noise source", async () => {
    const pairs = [PAIRS[0], PAIRS[2]];
    const starts = windowStarts(space, LAYERS_2).slice(0, 7);
    const source = await noiseSource(model, { at: [1], draws: 3 });
    const windows = { ...LAYERS_2, starts };
    const { metrics } = await patchWindows(model, pairs, space, windows, {
      ...control,
      metrics: [metric],
      source,
    });
    const sets = Array.from(starts, (start) => nodesOfWindow(space, LAYERS_2, start));
    const wanted = await exactEffects(model, pairs, space, sets, { ...control, metric, source });
    const [{ patched, base }] = metrics;
    const effects = patched.map((value, at) => value - base[Math.floor(at / starts.length)]);
    expect(largestError(effects, wanted.effects)).toBeLessThan(TOLERANCE);
    const once = costAhead(model.config, pairs, { space, starts, shape: LAYERS_2 });
    expect(costAhead(model.config, pairs, { space, starts, shape: LAYERS_2, draws: 3 })).toEqual({
      patchedRuns: 3 * once.patchedRuns,
      forwardEquivalents: 3 * once.forwardEquivalents,
    });
  });
});
