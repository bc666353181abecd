import { describe, expect, it } from "vitest";
import { BASELINES, type Baseline } from "../../bench/baselines/methods.js";
import { recallPicture } from "../../bench/cost-of-recall-picture.js";
import { costOfRecall, geometricMean, inverseRankMean } from "../../bench/recall-cost.js";
import { bestSettings, meanCosts, type Result, summaries } from "../../bench/recall-results.js";

describe("costOfRecall", () => {
  const at = (place: number, run: number, patches: number) => ({ place, run, patches });
  // Before the first node 10 patches were spent; a node costs 2 patches.
  const verified = [at(3, 4, 12), at(0, 5, 14), at(2, 5.5, 16), at(1, 7, 18)];

  it("is what had been spent when the last of the true top k was verified", () => {
    // True order 0, 3, 1, 2: top 1 at the second, top 2 too, top 3 at the last, and so top 4.
    const costs = costOfRecall([0, 3, 1, 2], verified, 4);
    expect(costs.map(({ patches }) => patches)).toEqual([14, 14, 18, 18]);
    expect(costs.map(({ run }) => run)).toEqual([5, 5, 7, 7]);
  });

  it("refuses a node that is never verified", () => {
    expect(() => costOfRecall([0, 9], verified, 2)).toThrow(
      "costOfRecall: expected 9 to be verified, it is not",
    );
  });
});

describe("means", () => {
  it("weigh k by 1/k, on logarithms", () => {
    // 2¹, 2³, 2⁶ with weights 1, 1/2, 1/3: (1 + 3/2 + 2) ÷ (11/6) = 27/11.
    expect(inverseRankMean([2, 8, 64])).toBeCloseTo(2 ** (27 / 11), 12);
    expect(inverseRankMean([5, 5, 5, 5])).toBeCloseTo(5, 12);
    expect(geometricMean([1, 4, 16])).toBeCloseTo(4, 12);
  });

  it("are taken at every k that all have", () => {
    const mean = meanCosts([
      { run: [1, 2, 3], patches: [2, 2, 2] },
      { run: [4, 8], patches: [8, 18] },
    ]);
    expect(mean.run.map((value) => value.toFixed(9))).toEqual(["2.000000000", "4.000000000"]);
    expect(mean.patches.map((value) => value.toFixed(9))).toEqual(["4.000000000", "6.000000000"]);
  });
});

/** A result with the same cost at every k. */
const result = (
  behaviour: string,
  method: Baseline,
  setting: string,
  run: number,
  patches: number,
): Result => ({
  behaviour,
  method,
  setting,
  relative: { run: [run, run], patches: [patches, patches] },
});

describe("summaries", () => {
  const results = [
    result("a", "atp*", "", 2, 3),
    result("b", "atp*", "", 8, 3),
    result("a", "blocks", "small", 1, 9),
    result("b", "blocks", "small", 4, 9),
    result("a", "blocks", "large", 3, 5),
    result("b", "blocks", "large", 3, 5),
  ];

  it("have the best setting of each method first, in the unit that is asked for", () => {
    // √(1·4) = 2 is better than √(3·3) = 3, and 5 better than 9.
    const inRuns = bestSettings(summaries(results, "run"));
    expect(inRuns.map(({ method, setting, mean }) => [method, setting, mean.toFixed(9)])).toEqual([
      ["blocks", "small", "2.000000000"],
      ["atp*", "", "4.000000000"],
    ]);
    expect(inRuns[0].byBehaviour.get("b")).toBeCloseTo(4, 12);
    expect(bestSettings(summaries(results, "patches"))[0].setting).toBe("large");
    expect(summaries(results, "run").length).toBe(3);
  });
});

describe("the picture", () => {
  it("names every method and panel, and shows the means", async () => {
    const results = BASELINES.flatMap((method, m) => [
      result("a", method, "", 2 + m, 2),
      result("b", method, "", 2 + m, 2),
    ]);
    const best = bestSettings(summaries(results, "run"));
    const panels = ["heads", "neurons"].map((nodes) => ({ title: [nodes, "of a pair"], best }));
    const svg = await recallPicture(panels, { unit: "bananas", model: "a parrot" });
    expect(svg.startsWith("<svg ")).toBe(true);
    for (const text of [...BASELINES, "heads", "neurons", "of a pair", "2.00", "9.00"]) {
      expect(svg).toContain(`>${text}</`);
    }
    expect(svg).toContain("bananas");
    expect(svg).toContain("a parrot");
    expect(svg).not.toMatch(/NaN|undefined|Infinity/);
  });
});
