import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { writeWindowsCsv } from "../../src/report/windows-csv.js";
import { windowsTable } from "../../src/report/windows-table.js";
import type { RankedWindow } from "../../src/sweep-windows.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "atpkit-windows-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const ROWS: readonly RankedWindow[] = [
  {
    rank: 1,
    window: "L3-5.mlpOut@end",
    site: "mlpOut",
    firstLayer: 3,
    lastLayer: 5,
    firstPosition: "end",
    lastPosition: "end",
    effectContribution: 2.5,
    effectMean: -2.5,
    effectSe: 1 / 3,
    recovered: 0.125,
    pairs: 64,
  },
  {
    rank: 2,
    window: "L0.z[1]@7-9",
    site: "z",
    firstLayer: 0,
    lastLayer: 0,
    index: 1,
    firstPosition: 7,
    lastPosition: 9,
    effectContribution: 0.1,
    effectMean: 0.1,
    pairs: 1,
  },
];

it("writes every column, and an empty cell for what was not computed", async () => {
  const file = join(folder, "windows.csv");
  await writeWindowsCsv(file, ROWS);
  expect(await readFile(file, "utf8")).toBe(
    [
      "rank,window,site,first_layer,last_layer,index,first_position,last_position,effect_contribution,effect_mean,effect_se,recovered,pairs",
      "1,L3-5.mlpOut@end,mlpOut,3,5,,end,end,2.5,-2.5,0.33333334,0.125,64",
      "2,L0.z[1]@7-9,z,0,0,1,7,9,0.1,0.1,,,1",
      "",
    ].join("\n"),
  );
});

it("shows the same as a table, without the columns that are empty throughout", () => {
  expect(windowsTable(ROWS)).toBe(
    [
      "rank  window           contribution  effect   ± se  recovered",
      "   1  L3-5.mlpOut@end         2.500  -2.500  0.333    +12.5 %",
      "   2  L0.z[1]@7-9             0.100  +0.100",
    ].join("\n"),
  );
  expect(windowsTable([ROWS[1]]).split("\n")[0]).toBe("rank  window       contribution   effect");
});
