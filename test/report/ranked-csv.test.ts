import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { RunError } from "../../src/errors.js";
import type { RankedNode } from "../../src/nodes/ranking.js";
import { writeRankedCsv } from "../../src/report/ranked-csv.js";
import { readRankedCsv } from "../../src/report/read-ranked-csv.js";
import { anyRankedList, row } from "./rows.js";

const HEADER =
  "rank,node,site,layer,index,position,token,contribution,estimate_contribution,estimate_mean,estimate_se," +
  "effect_contribution,effect_mean,effect_se,recovered,verified,pairs,saturation_gap,cancellation_ratio";

let folder: string;
let file: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "atpkit-csv-"));
  file = join(folder, "ranked.csv");
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function readBack(path: string): Promise<RankedNode[]> {
  const rows: RankedNode[] = [];
  for await (const entry of readRankedCsv(path)) rows.push(entry.row);
  return rows;
}

/** The text of a float32 is shorter than that of the same number in float64. */
function inFloat32(row: RankedNode): object {
  return Object.fromEntries(
    Object.entries(row).map(([field, value]) => [
      field,
      typeof value === "number" ? Math.fround(value) : value,
    ]),
  );
}

describe("writeRankedCsv", () => {
  it("writes every column, and an empty cell for what was not computed", async () => {
    await writeRankedCsv(file, [
      {
        rank: 1,
        node: "L3.z[5]@12",
        site: "z",
        layer: 3,
        index: 5,
        position: 12,
        token: " Paul",
        contribution: 2.5,
        estimateContribution: 0.1,
        estimateMean: -0.1,
        estimateSe: 0.01,
        effectContribution: 2.5,
        effectMean: -2.5,
        effectSe: 1 / 3,
        recovered: 0.125,
        verified: true,
        pairs: 64,
        saturationGap: 0.25,
        cancellationRatio: Number.POSITIVE_INFINITY,
      },
      row({ rank: 2, node: "L0.mlpOut@*", site: "mlpOut", layer: 0, index: undefined, position: "*" }),
    ]);
    expect(await readFile(file, "utf8")).toBe(
      `${HEADER}\n` +
        "1,L3.z[5]@12,z,3,5,12, Paul,2.5,0.1,-0.1,0.01,2.5,-2.5,0.33333334,0.125,true,64,0.25,Infinity\n" +
        "2,L0.mlpOut@*,mlpOut,0,,*,,0.5,0.5,-0.25,,,,,,false,4,,\n",
    );
  });

  it("quotes tokens with quotes, commas and line breaks", async () => {
    const tokens = ['"', ',"', "\n", "a\r\nb", "'"];
    await writeRankedCsv(
      file,
      tokens.map((token) => row({ token })),
    );
    const text = await readFile(file, "utf8");
    expect(text.slice(HEADER.length)).toBe(
      ['""""', '","""', '"\n"', '"a\r\nb"', "'"]
        .map((cell) => `\n1,L3.z[5]@12,z,3,5,12,${cell},0.5,0.5,-0.25,,,,,,false,4,,`)
        .join("")
        .concat("\n"),
    );
  });

  it("writes the header alone for no rows", async () => {
    await writeRankedCsv(file, []);
    expect(await readFile(file, "utf8")).toBe(`${HEADER}\n`);
  });

  it("reads back to the same rows, whatever is in them", async () => {
    await fc.assert(
      fc.asyncProperty(anyRankedList, async (rows) => {
        await writeRankedCsv(file, rows);
        expect((await readBack(file)).map(inFloat32)).toEqual(rows);
      }),
      { numRuns: 200 },
    );
  });

  it("writes more rows than fit into its buffers", async () => {
    const count = 20_000;
    function* rows() {
      for (let place = 0; place < count; place++) {
        yield row({ rank: place + 1, contribution: count - place, token: `"${place}"` });
      }
    }
    await writeRankedCsv(file, rows());
    const back = await readBack(file);
    expect(back.length).toBe(count);
    expect(back[count - 1]).toEqual(row({ rank: count, contribution: 1, token: `"${count - 1}"` }));
  });

  it("leaves an older file as it was, and no temporary one, when the rows break off", async () => {
    await writeFile(file, "older");
    function* rows() {
      yield row();
      throw new RunError("no more rows");
    }
    await expect(writeRankedCsv(file, rows())).rejects.toThrow("no more rows");
    expect(await readdir(folder)).toEqual(["ranked.csv"]);
    expect(await readFile(file, "utf8")).toBe("older");
  });

  it("leaves an older file as it was, and no temporary one, when it is aborted", async () => {
    await writeFile(file, "older");
    const abort = new AbortController();
    async function* rows() {
      for (;;) {
        yield row();
        if (!abort.signal.aborted && (await readdir(folder)).length === 2) abort.abort();
      }
    }
    await expect(writeRankedCsv(file, rows(), { signal: abort.signal })).rejects.toThrow(/abort/i);
    expect(await readdir(folder)).toEqual(["ranked.csv"]);
    expect(await readFile(file, "utf8")).toBe("older");
  });

  it("throws a RunError that names the file when the disk refuses", async () => {
    const path = join(folder, "missing", "ranked.csv");
    const error: unknown = await writeRankedCsv(path, [row()]).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(RunError);
    expect(String(error)).toContain(`writeAtomically: ${path}: ENOENT`);
  });
});
