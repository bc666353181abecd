/** The parts that measure how often bounds are wrong. */

import { beforeAll, describe, expect, it } from "vitest";
import { gateSystem, madeUpSystem, randomModelSystem } from "../../bench/coverage/cases.js";
import { repeatDesign } from "../../bench/coverage/repeated-design.js";
import { type KnownSystem, largest } from "../../bench/coverage/system.js";
import { systemOfTable } from "../../bench/coverage/tabled-system.js";
import { percentBelow, stoppingSizes, violationTable } from "../../bench/coverage/tables.js";
import { wideSystem } from "../../bench/coverage/wide-system.js";
import { startTestEngine } from "../support/engine.js";

beforeAll(async () => {
  await startTestEngine();
});

function rowsOf(subset: number): Uint32Array {
  return Uint32Array.from([0, 1, 2, 3, 4].filter((row) => (subset >> row) & 1));
}

describe("systemOfTable", () => {
  it("weighs contexts as they are drawn, and prompt pairs alike", () => {
    // Subsets {}, {0}, {1}, {0, 1} on two prompt pairs: 3 + 4 and an interaction of 10 on the second one only.
    const system = systemOfTable("two", Float64Array.of(0, 3, 4, 7, 0, 3, 4, 17), 2, new Float64Array(2));
    expect([system.pairs, system.effect(1, Uint32Array.of(0, 1))]).toEqual([2, 17]);
    expect([...system.singles]).toEqual([3, 4]);
    expect(system.averageMarginals(0.3)[0]).toBeCloseTo(3 + (0.3 * 10) / 2, 12);
    expect(system.averageMarginals(0.3)[1]).toBeCloseTo(4 + (0.3 * 10) / 2, 12);
  });
});

describe("wideSystem", () => {
  it("has the marginals that its own effects have", () => {
    const wide = wideSystem(5, 2, 1);
    const effects = [0, 1].flatMap((pair) =>
      Array.from({ length: 32 }, (_, subset) => wide.effect(pair, rowsOf(subset))),
    );
    const tabled = systemOfTable("the same", Float64Array.from(effects), 5, wide.estimates);
    const [got, wanted] = [wide.averageMarginals(0.2), tabled.averageMarginals(0.2)];
    got.forEach((value, row) => {
      expect(value).toBeCloseTo(wanted[row], 12);
      expect(wide.singles[row]).toBeCloseTo(tabled.singles[row], 12);
    });
  });

  it("interacts", () => {
    const { row, size } = largest(madeUpSystem().singles);
    expect(row).toBe(0);
    expect(Math.abs(madeUpSystem().averageMarginals(0.5)[row])).not.toBeCloseTo(size, 3);
  });
});

describe("gates, by patched runs", () => {
  const p = 0.3;
  it.each([
    // A node changes the outcome if the other one of its row is out, and the other input is gone: one of its two is in.
    ["OR", 0, -(1 - p) * (1 - (1 - p) ** 2)],
    // A node changes the outcome if nothing else has.
    ["AND", -1, -((1 - p) ** 3)],
  ] as const)("%s", async (gate, single, marginal) => {
    const system = await gateSystem(gate);
    const marginals = system.averageMarginals(p);
    const carriers = [...marginals.keys()].filter((row) => Math.abs(marginals[row]) > 0.01);
    expect(carriers).toHaveLength(4);
    for (const row of carriers) {
      expect(system.singles[row]).toBeCloseTo(single, 5);
      expect(marginals[row]).toBeCloseTo(marginal, 5);
    }
  });
});

describe("repeatDesign", () => {
  let system: KnownSystem;
  beforeAll(async () => {
    system = await randomModelSystem(6);
  });

  it.each([
    { probability: 0.3, complementary: false },
    { probability: 0.5, complementary: true },
  ])("finds bounds that hold as often as they should: %j", (design) => {
    const repetitions = 200;
    const [plain, controlled] = repeatDesign(system, { ...design, sizes: [100, 200], repetitions });
    for (const { bySize, ofLooks } of [plain, controlled]) {
      expect(bySize[1].bounded).toBe(repetitions);
      // 10 %, and 4 standard deviations.
      expect(percentBelow(bySize[1].ofNode, 0.1)).toBeLessThan(10 + 400 * Math.sqrt(0.09 / repetitions));
      expect(percentBelow(bySize[1].ofMaximum, 0.1)).toBeLessThanOrEqual(percentBelow(bySize[1].ofNode, 0.1));
      expect(percentBelow(ofLooks, 0.1)).toBeLessThan(10 + 400 * Math.sqrt(0.09 / repetitions));
      // And says something: most differences are near the truth.
      expect(percentBelow(bySize[1].ofNode, 0.9)).toBeGreaterThan(50);
    }
    expect(controlled.rSquared).toBeGreaterThan(0.1);
  });

  it("is the same when it is run again", () => {
    const design = { probability: 0.3, complementary: false, sizes: [100], repetitions: 3 };
    expect(repeatDesign(system, design)).toEqual(repeatDesign(system, design));
  });
});

describe("tables", () => {
  const result = {
    bySize: [
      {
        byTAlone: Float64Array.of(0.01, 0.2),
        ofNode: Float64Array.of(1, 1),
        ofMaximum: Float64Array.of(1, 1),
        bounded: 0,
      },
      {
        byTAlone: Float64Array.of(0.01, 0.2),
        ofNode: Float64Array.of(0.03, 0.2),
        ofMaximum: Float64Array.of(0.3, 0.2),
        bounded: 2,
      },
    ],
    ofLooks: Float64Array.of(1, 1),
    above: Float64Array.of(1, 0.001, 0.5, 0.5),
    rSquared: 0.5,
  };

  it("tell what is violated, and where there is no bound", () => {
    const rows = [{ system: "S", design: "D", series: "plain", result }];
    const at5 = violationTable(rows, [50, 100], 0.05);
    expect(at5).toContain("50.0 -> –");
    expect(at5).toContain("50.0 -> 50.0");
    expect(violationTable(rows, [50, 100], 0.02)).toContain("50.0 -> 0.0");
  });

  it("stop at the first look that certifies, or never", () => {
    expect(stoppingSizes(result, [50, 100], 0.01)).toEqual([100]);
  });
});
