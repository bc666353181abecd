/** The truth, against float64 effects of every node; and that what is kept is what was computed. */

import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { digestOfOrigin, exactContributions, type TruthOrigin } from "../../bench/exact-contributions.js";
import { loadModel } from "../../src/checkpoint/load-model.js";
import type { Model } from "../../src/model/model.js";
import { makeNodeSpace } from "../../src/nodes/node-space.js";
import { positionLabels } from "../../src/nodes/positions.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import { startTestEngine } from "../support/engine.js";
import { largestError } from "../support/errors.js";
import { entriesOf, pairOfGolden } from "../support/golden-nodes.js";
import { goldenFolder, readGolden } from "../support/goldens.js";
import { EXACT_TOLERANCE } from "../support/tolerances.js";

const SITES = ["q", "k", "v", "z", "neuron"] as const;
const METRIC = metricByName("logit-diff");

describe.each(["gpt2", "gpt_neox"])("%s", (variant) => {
  const golden = readGolden(variant);
  const pair = pairOfGolden(golden);
  const span = Math.abs(golden.corruptedMetric - golden.cleanMetric);
  /** Without its last token and read one earlier: has no node at the last position. */
  const shorter = {
    ...pair,
    clean: pair.clean.slice(0, -1),
    corrupted: pair.corrupted.slice(0, -1),
    metricPosition: pair.metricPosition - 1,
  };
  const folder = mkdtempSync(join(tmpdir(), "truth-"));
  let model: Model;
  let origin: TruthOrigin;

  beforeAll(async () => {
    const { backend } = await startTestEngine();
    model = await loadModel(goldenFolder(variant));
    origin = { model, digest: digestOfOrigin(goldenFolder(variant), backend), folder };
  });
  afterAll(() => {
    model.dispose();
    rmSync(folder, { recursive: true });
  });

  const spaceOf = (pairs: readonly (typeof pair)[], sites: readonly (typeof SITES)[number][] = SITES) =>
    makeNodeSpace(model.config, sites, positionLabels("each", pairs));
  const wanted = Object.fromEntries(
    Object.entries(golden.exact).filter(([key]) => SITES.some((site) => key.startsWith(`${site}.`))),
  );

  it("has the reference's effects, computed and kept", async () => {
    const space = spaceOf([pair]);
    const { nodes, values } = entriesOf(space, wanted, golden.shapes);
    const computed = await exactContributions(origin, [pair], space, METRIC);
    const got = nodes.map((node) => computed[node]);
    expect(largestError(got, values.map(Math.abs)) / span).toBeLessThan(EXACT_TOLERANCE);

    // A file per site, in which a study of fewer sites finds its own.
    expect(readdirSync(folder).length).toBe(SITES.length);
    const ofKeys = spaceOf([pair], ["k"]);
    const keys = space.groups
      .filter(({ site }) => site === "k")
      .flatMap(({ offset, indices }) => [...computed.slice(offset, offset + indices * space.labels.length)]);
    expect([...(await exactContributions(origin, [pair], ofKeys, METRIC))]).toEqual(keys);
    expect(readdirSync(folder).length).toBe(SITES.length);
  });

  it("is the mean over the pairs that have a node", async () => {
    const space = spaceOf([pair]);
    const ofOne = await exactContributions(origin, [pair], space, METRIC);
    const spaceOfOther = spaceOf([shorter]);
    const ofOther = await exactContributions(origin, [shorter], spaceOfOther, METRIC);
    const ofBoth = await exactContributions(origin, [shorter, pair], space, METRIC);
    const T = pair.clean.length;
    for (const [g, { offset, indices }] of space.groups.entries()) {
      for (let place = 0; place < T * indices; place++) {
        const one = ofOne[offset + place];
        // The same group of a space that has a position less.
        const other = ofOther[spaceOfOther.groups[g].offset + place];
        expect(ofBoth[offset + place]).toBe(place < (T - 1) * indices ? (one + other) / 2 : one);
      }
    }
  });
});
