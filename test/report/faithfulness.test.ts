import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RunError } from "../../src/errors.js";
import type { FaithfulnessPoint } from "../../src/exact/faithfulness.js";
import { writeFaithfulnessCsv } from "../../src/report/faithfulness-csv.js";
import { faithfulnessTable } from "../../src/report/faithfulness-table.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "atpkit-curve-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const FULL: FaithfulnessPoint[] = [
  {
    k: 0,
    share: 0,
    keep: { metric: -11.25, se: 0.5, faithfulness: -0.0004, faithfulnessSe: 0.00125 },
    remove: { metric: 10.75, se: 0.25, faithfulness: 1, faithfulnessSe: 0 },
    negative: 0,
  },
  {
    k: 3,
    share: 1,
    keep: { metric: 10.75, se: 0.25, faithfulness: 1, faithfulnessSe: 0 },
    remove: { metric: 1 / 3, se: 0.5, faithfulness: -0.0004, faithfulnessSe: 0.00125 },
    negative: 2,
  },
];

/** One pair, base = source, nothing verified. */
const BARE: FaithfulnessPoint[] = [{ k: 0, share: 0, keep: { metric: 0.5 }, remove: { metric: 0.5 } }];

describe("writeFaithfulnessCsv", () => {
  const text = async (points: readonly FaithfulnessPoint[]) => {
    await writeFaithfulnessCsv(join(folder, "faithfulness.csv"), points);
    return readFile(join(folder, "faithfulness.csv"), "utf8");
  };

  it("writes a row per k in float32 precision", async () => {
    expect(await text(FULL)).toBe(
      "k,share,keep_metric,keep_se,keep_faithfulness,keep_faithfulness_se," +
        "remove_metric,remove_se,remove_faithfulness,remove_faithfulness_se,negative\n" +
        "0,0,-11.25,0.5,-0.0004,0.00125,10.75,0.25,1,0,0\n" +
        "3,1,10.75,0.25,1,0,0.33333334,0.5,-0.0004,0.00125,2\n",
    );
  });

  it("leaves cells empty that were not computed", async () => {
    expect((await text(BARE)).split("\n")[1]).toBe("0,0,0.5,,,,0.5,,,,");
  });

  it("leaves no file behind where the disk refuses", async () => {
    const missing = writeFaithfulnessCsv(join(folder, "missing", "a.csv"), BARE);
    await expect(missing).rejects.toThrow(RunError);
    expect(await readdir(folder)).toEqual(["faithfulness.csv"]);
  });
});

describe("faithfulnessTable", () => {
  it("lines up both curves, metrics with as many digits as the largest needs", () => {
    expect(faithfulnessTable(FULL)).toBe(
      [
        "k     share    keep  ± se       f   ± se  remove  ± se       f   ± se  negative",
        "0    0.00 %  -11.25  0.50  -0.000  0.001  +10.75  0.25   1.000  0.000         0",
        "3  100.00 %  +10.75  0.25   1.000  0.000   +0.33  0.50  -0.000  0.001         2",
      ].join("\n"),
    );
  });

  it("leaves out columns without values", () => {
    expect(faithfulnessTable(BARE)).toBe(
      ["k   share     keep   remove", "0  0.00 %  +0.5000  +0.5000"].join("\n"),
    );
  });
});
