import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { pathRows } from "../../src/report/path-rows.js";
import { writePathsCsv } from "../../src/report/paths-csv.js";
import { pathsTable } from "../../src/report/paths-table.js";

const PATHS = [
  { sender: "L0.z[0]@*", receiver: "final" },
  { sender: "L0.z[1]@1", receiver: "final" },
  { sender: "L5.z[0]@*", receiver: "L1.q[0]@*" },
  { sender: "L0.z[2]@*", receiver: "L1.q[0]@* L2.mlp@3" },
];

// Three pairs, the metric goes from 4 to 0 on the mean; the second path is in one pair only, where it goes from 5 to 0, the third
// in none.
const EFFECTS = {
  // biome-ignore format: a row per pair
  effects: Float32Array.from([
    1, Number.NaN, Number.NaN, -3,
    -1, -2, Number.NaN, -4,
    3, Number.NaN, Number.NaN, -8,
  ]),
  baseMetric: Float64Array.of(4, 5, 3),
  sourceMetric: Float64Array.of(0, 0, 0),
  forwardEquivalents: 0,
};

const ROWS = [
  // −3, −4, −8: mean −5, deviations 2, 1, −3, so √(14/(3·2)).
  {
    ...PATHS[3],
    effectContribution: 5,
    effectMean: -5,
    effectSe: Math.sqrt(14 / 6),
    recovered: 1.25,
    pairs: 3,
  },
  { ...PATHS[1], effectContribution: 2, effectMean: -2, recovered: 0.4, pairs: 1 },
  // 1, −1, 3: mean 1, of absolute values 5/3; deviations 0, −2, 2.
  {
    ...PATHS[0],
    effectContribution: 5 / 3,
    effectMean: 1,
    effectSe: Math.sqrt(8 / 6),
    recovered: -0.25,
    pairs: 3,
  },
];

it("are largest first, over the pairs that have the path; a path of no pair is left out", () => {
  expect(pathRows(EFFECTS, PATHS)).toEqual(ROWS);
});

it("have no share recovered where base and source runs have the same mean metric", () => {
  for (const row of pathRows({ ...EFFECTS, sourceMetric: EFFECTS.baseMetric }, PATHS)) {
    expect(row).not.toHaveProperty("recovered");
  }
});

it("as CSV, with empty cells for what is not computed", async () => {
  const folder = await mkdtemp(join(tmpdir(), "atpkit-paths-"));
  const file = join(folder, "paths.csv");
  await writePathsCsv(file, ROWS);
  const text = await readFile(file, "utf8");
  await rm(folder, { recursive: true });
  expect(text.split("\n")).toEqual([
    "sender,receiver,effect_contribution,effect_mean,effect_se,recovered,pairs",
    "L0.z[2]@*,L1.q[0]@* L2.mlp@3,5,-5,1.5275252,1.25,3",
    "L0.z[1]@1,final,2,-2,,0.4,1",
    "L0.z[0]@*,final,1.6666666,1,1.1547005,-0.25,3",
    "",
  ]);
});

it("as a table, all numbers with the same decimals", () => {
  expect(pathsTable(ROWS).split("\n")).toEqual([
    "sender     receiver            contribution  effect   ± se  recovered",
    "L0.z[2]@*  L1.q[0]@* L2.mlp@3         5.000  -5.000  1.528   +125.0 %",
    "L0.z[1]@1  final                      2.000  -2.000           +40.0 %",
    "L0.z[0]@*  final                      1.667  +1.000  1.155    -25.0 %",
  ]);
});

it("as a table that says over how many pairs, where that is not all of the run's", () => {
  expect(pathsTable(ROWS, 3).split("\n")).toEqual([
    "sender     receiver            contribution  effect   ± se  recovered  pairs",
    "L0.z[2]@*  L1.q[0]@* L2.mlp@3         5.000  -5.000  1.528   +125.0 %      3",
    "L0.z[1]@1  final                      2.000  -2.000           +40.0 %      1",
    "L0.z[0]@*  final                      1.667  +1.000  1.155    -25.0 %      3",
  ]);
  expect(pathsTable([ROWS[0]], 3)).not.toContain("pairs");
});
