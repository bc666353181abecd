import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { InputError } from "../../src/errors.js";
import { readRankedCsv } from "../../src/report/read-ranked-csv.js";

const HEADER =
  "rank,node,site,layer,index,position,token,contribution,estimate_contribution,estimate_mean,estimate_se," +
  "effect_contribution,effect_mean,effect_se,recovered,verified,pairs,saturation_gap,cancellation_ratio";
const FIRST = '1,L3.z[5]@12,z,3,5,12,"a\nb",2.5,0.1,-0.1,0.01,2.5,-2.5,,0.125,true,64,0.25,Infinity'; // lines 2 and 3
const SECOND = "2,L0.mlpOut@end,mlpOut,0,,end,,0.5,0.5,-0.25,,,,,,false,4,,"; // line 4

let folder: string;
let file: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "atpkit-read-"));
  file = join(folder, "list.csv");
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function read(path = file) {
  const entries = [];
  for await (const entry of readRankedCsv(path)) entries.push(entry);
  return entries;
}

async function errorOf(text: string): Promise<string> {
  await writeFile(file, text);
  const error: unknown = await read().catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(InputError);
  return error instanceof Error ? error.message : "";
}

describe("readRankedCsv", () => {
  it("reads rows with their lines, past line breaks in tokens, blank lines and CRLF", async () => {
    await writeFile(file, `\ufeff${HEADER}\r\n${FIRST}\r\n\r\n${SECOND}\r\n`);
    expect(await read()).toEqual([
      {
        line: 2,
        row: {
          rank: 1,
          node: "L3.z[5]@12",
          site: "z",
          layer: 3,
          index: 5,
          position: 12,
          token: "a\nb",
          contribution: 2.5,
          estimateContribution: 0.1,
          estimateMean: -0.1,
          estimateSe: 0.01,
          effectContribution: 2.5,
          effectMean: -2.5,
          recovered: 0.125,
          verified: true,
          pairs: 64,
          saturationGap: 0.25,
          cancellationRatio: Number.POSITIVE_INFINITY,
        },
      },
      {
        line: 5,
        row: {
          rank: 2,
          node: "L0.mlpOut@end",
          site: "mlpOut",
          layer: 0,
          position: "end",
          contribution: 0.5,
          estimateContribution: 0.5,
          estimateMean: -0.25,
          verified: false,
          pairs: 4,
        },
      },
    ]);
  });

  it.each([
    [
      "another table",
      `name,value\n${SECOND}\n`,
      `:1: expected the columns ${HEADER} and run, got "name,value"`,
    ],
    ["no rows", `${HEADER}\n`, ": expected at least one ranked node, got none"],
    ["nothing", "", ": expected at least one ranked node, got none"],
    ["a row that is cut", `${HEADER}\n${FIRST}\n2,L0.mlpOut@end,mlp`, ":4: expected 19 columns, got 3"],
    [
      "a node id that is none",
      `${HEADER}\n${FIRST}\n${SECOND.replace("L0.mlpOut@end", "L0.mlp@end")}`,
      ':4: column "node": parseNodeId: expected one of the sites residPre, q, k, v, z, attnOut, residMid, neuron, mlpOut, residPost, got "mlp" in "L0.mlp@end"',
    ],
    [
      "a node id that contradicts the columns after it",
      `${HEADER}\n${SECOND.replace("mlpOut,0", "mlpOut,1")}`,
      ':2: column "layer": expected "0", as L0.mlpOut@end says, got "1"',
    ],
    [
      "a contribution that is none",
      `${HEADER}\n${FIRST}\n${SECOND.replace("0.5,0.5", "-0.5,0.5")}`,
      ':4: column "contribution": expected a number of 0 or more, got "-0.5"',
    ],
    [
      "a contribution that is missing",
      `${HEADER}\n${FIRST}\n${SECOND.replace("0.5,0.5", ",0.5")}`,
      ':4: column "contribution": expected a number of 0 or more, got ""',
    ],
    [
      "text for a number",
      `${HEADER}\n${FIRST}\n${SECOND.replace("-0.25", "1,5".replace(",", ";"))}`,
      ':4: column "estimate_mean": expected a number or an empty cell, got "1;5"',
    ],
    [
      "something else than true or false",
      `${HEADER}\n${SECOND.replace("false", "no")}`,
      ':2: column "verified": expected true or false, got "no"',
    ],
    [
      "pairs that are no number",
      `${HEADER}\n${SECOND.replace("false,4", "false,0")}`,
      ':2: column "pairs": expected a positive integer, got "0"',
    ],
    [
      "rows that are not in order",
      `${HEADER}\n${SECOND}\n${FIRST}`,
      ':3: column "contribution": expected rows in order of contribution, at most 0.5 as in line 2, got 2.5',
    ],
    [
      "text behind a quote",
      `${HEADER}\n${FIRST}\n${SECOND.replace(",,0.5", ',"x"y,0.5')}\n${SECOND}`,
      ':4: expected a CSV record, got quotes that do not pair up in: 2,L0.mlpOut@end,mlpOut,0,,end,"x"y,0.5,0.5,-0.25,,,,,,false,4,,',
    ],
    [
      "a quote that does not end",
      `${HEADER}\n${FIRST}\n${SECOND.replace(",,0.5", ',"x,0.5')}\n${SECOND}`,
      ":4: expected a CSV record, got quotes that do not pair up before the file ends",
    ],
  ])("names file, line and column of %s", async (_, text, expected) => {
    expect(await errorOf(text)).toContain(`readRankedCsv: ${file}${expected}`);
  });

  it("takes not-a-number contributions at the end of the list", async () => {
    const broken = SECOND.replace("0.5,0.5", "NaN,NaN");
    await writeFile(file, `${HEADER}\n${SECOND}\n${broken}\n${broken}\n`);
    expect((await read()).map(({ row }) => row.contribution)).toEqual([0.5, Number.NaN, Number.NaN]);
    expect(await errorOf(`${HEADER}\n${broken}\n${SECOND}\n`)).toContain("at most NaN as in line 2, got 0.5");
  });

  it("names a file that cannot be read", async () => {
    const error: unknown = await read(folder).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(InputError);
    expect(String(error)).toContain(folder);
  });
});
