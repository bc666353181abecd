/** Which nodes a sweep runs nothing for, against float64 effects of every node. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadModel } from "../../../src/checkpoint/load-model.js";
import { canHaveEffect, chunksWithin, type SweepRun } from "../../../src/exact/sweep/plan.js";
import type { Model } from "../../../src/model/model.js";
import { sitesOf } from "../../../src/model/sites.js";
import { makeNodeSpace, nodeAt } from "../../../src/nodes/node-space.js";
import { positionLabels } from "../../../src/nodes/positions.js";
import { startTestEngine } from "../../support/engine.js";
import { entriesOf, pairOfGolden } from "../../support/golden-nodes.js";
import { goldenFolder, readGolden } from "../../support/goldens.js";

const FLOAT64_ROUNDING = 1e-12;

describe.each(["gpt2", "gpt_neox"])("%s", (variant) => {
  const golden = readGolden(variant);
  const pair = pairOfGolden(golden);
  let model: Model;

  beforeAll(async () => {
    await startTestEngine();
    model = await loadModel(goldenFolder(variant));
  });
  afterAll(() => model.dispose());

  it("leaves out nodes without any effect, and nearly all of them", () => {
    const space = makeNodeSpace(model.config, sitesOf(model.config), positionLabels("each", [pair]));
    const { nodes, values } = entriesOf(space, golden.exact, golden.shapes);
    expect(nodes.length).toBeGreaterThan(100);
    const able = nodes.map((flat) => {
      const { site, layer, position } = nodeAt(space, flat);
      if (typeof position !== "number") throw new Error(`unexpected node at ${position}`);
      const span = { first: position, end: position + 1 };
      return canHaveEffect(model.config, pair, { site, layer, span }, true);
    });
    const hasEffect = values.map((value) => Math.abs(value) > FLOAT64_ROUNDING);
    expect(nodes.filter((_, i) => hasEffect[i] && !able[i])).toEqual([]);
    // One neuron of gpt_neox has the same value in both runs by chance.
    expect(nodes.filter((_, i) => able[i] && !hasEffect[i]).length).toBeLessThanOrEqual(1);
  });
});

describe("chunksWithin", () => {
  const group = { site: "z", layer: 0, indices: 4, offset: 0 } as const;
  const runsAt = (positions: readonly number[]): SweepRun[] =>
    positions.map((first, patch) => ({
      patch,
      pairIndex: 0,
      group,
      index: 0,
      span: { first, end: first + 1 },
      metricPosition: 99,
    }));
  const sizes = (positions: readonly number[], budget: number) =>
    [
      ...chunksWithin(runsAt(positions), budget, {
        ofRun: ({ span }) => 100 - span.first,
        ofEach: (first, end) => end - first,
      }),
    ].map((chunk) => chunk.map(({ span }) => span.first));

  it("counts the positions that all runs of a chunk are laid out over", () => {
    // One run at 90 takes 10 and 10, two of them 20 and 20; beside one at 0 each takes 100.
    expect(sizes([90, 90, 90], 40)).toEqual([[90, 90], [90]]);
    expect(sizes([0, 90], 200)).toEqual([[0], [90]]);
    // 100 + 10 for themselves, and 100 for each.
    expect(sizes([0, 90], 310)).toEqual([[0, 90]]);
    expect(sizes([0, 90], 309)).toEqual([[0], [90]]);
  });

  it("gives every run once, one alone if nothing more fits", () => {
    expect(sizes([0, 5, 50, 99], 1)).toEqual([[0], [5], [50], [99]]);
    expect(sizes([], 100)).toEqual([]);
  });
});
