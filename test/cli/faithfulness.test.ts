/** `atp faithfulness`: from a ranked list to its curves. */

import { mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseFile } from "fast-csv";
import { beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { loadModel } from "../../src/checkpoint/load-model.js";
import { EXAMPLES } from "../../src/cli/help.js";
import { faithfulness } from "../../src/exact/faithfulness.js";
import { localize } from "../../src/localize.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import { readPairs } from "../../src/prompts/read-pairs.js";
import { samplePairs } from "../../src/prompts/sample-pairs.js";
import { FAITHFULNESS_HEADER } from "../../src/report/faithfulness-csv.js";
import { RANKED_HEADER } from "../../src/report/ranked-csv.js";
import { projectRoot } from "../support/child-process.js";
import { startTestEngine, testBackend } from "../support/engine.js";
import { largestError } from "../support/errors.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { DEMO, IOI, RUN, runCli, runHere } from "./run-cli.js";

let cwd: string;
let list: string;
const MODEL = ["--model", "models/demo", "--pairs", "models/demo/pairs/ioi.jsonl"];
const QUICK = ["--max-pairs", "3", "--seed", "1", "--engine", testBackend()];

// A list of z and mlpOut nodes at the roles, ten of them verified.
beforeAll(async () => {
  cwd = await temporaryFolder();
  await symlink(join(projectRoot, "models"), join(cwd, "models"));
  list = join(cwd, "atp-out", "ranked.csv");
  const selection = ["--nodes", "z,mlpOut", "--positions", "roles", "--top-k", "10"];
  const { code } = await runHere(["localize", ...MODEL, ...selection, ...QUICK], { cwd });
  expect(code).toBe(0);
});

/** What the library computes for the same list. */
async function byLibrary() {
  await startTestEngine();
  const model = await loadModel(DEMO);
  const metric = metricByName("logit-diff");
  const pairs = samplePairs(await readPairs(IOI, model, metric.needs), 3, 1);
  const ranking = await localize(model, pairs, { nodes: "z,mlpOut", positions: "roles", topK: 10 });
  const curve = await faithfulness(model, pairs, ranking, { metric, direction: "noising", batchSize: 16 });
  model.dispose();
  return curve;
}

const curveDocument = z.looseObject({
  command: z.literal("faithfulness"),
  metric: z.object({ name: z.string(), base: z.number(), source: z.number() }),
  keepArea: z.object({ share: z.number(), logShare: z.number() }),
  removeArea: z.object({ share: z.number(), logShare: z.number() }),
  nodes: z.object({ ranked: z.number(), space: z.number() }),
  points: z.array(z.looseObject({ k: z.number() })),
  verified: z.array(z.looseObject({ node: z.string(), negative: z.boolean() })).optional(),
  forwardEquivalents: z.number(),
  seconds: z.object({ load: z.number(), patch: z.number() }),
});

describe("the example of the help", () => {
  it("writes what the library computes, and prints it", async () => {
    const [, command, ...args] = EXAMPLES.faithfulness[0].split(" ");
    const { code, stdout, stderr } = await runCli([command, ...args, ...QUICK], { cwd });
    expect(stderr).not.toMatch(/error|warning/);
    expect(code).toBe(0);
    expect((await readdir(join(cwd, "atp-out"))).sort()).toEqual([
      "faithfulness.csv",
      "faithfulness.json",
      "ranked.csv",
      "summary.json",
    ]);

    const expected = await byLibrary();
    const rows: Record<string, string>[] = [];
    for await (const row of parseFile(join(cwd, "atp-out", "faithfulness.csv"), { headers: true })) {
      rows.push(row);
    }
    const column = (name: string) => rows.map((row) => Number(row[name]));
    expect(Object.keys(rows[0])).toEqual([...FAITHFULNESS_HEADER, "run"]);
    expect(column("k")).toEqual(expected.points.map(({ k }) => k));
    expect(column("negative")).toEqual(expected.points.map(({ negative }) => negative));
    for (const name of ["keep", "remove"] as const) {
      const wanted = (field: "metric" | "se" | "faithfulness" | "faithfulnessSe") =>
        expected.points.map((point) => point[name][field] ?? Number.NaN);
      // The same runs: nothing but float32 text in between.
      expect(largestError(column(`${name}_metric`), wanted("metric"))).toBeLessThan(1e-5);
      expect(largestError(column(`${name}_se`), wanted("se"))).toBeLessThan(1e-5);
      expect(largestError(column(`${name}_faithfulness`), wanted("faithfulness"))).toBeLessThan(1e-6);
      expect(largestError(column(`${name}_faithfulness_se`), wanted("faithfulnessSe"))).toBeLessThan(1e-6);
    }

    const document = curveDocument.parse(
      JSON.parse(await readFile(join(cwd, "atp-out", "faithfulness.json"), "utf8")),
    );
    expect(document.nodes).toEqual(expected.nodes);
    expect(document.keepArea.share).toBeCloseTo(expected.keepArea?.share ?? Number.NaN, 6);
    expect(document.removeArea.logShare).toBeCloseTo(expected.removeArea?.logShare ?? Number.NaN, 6);
    const marks = (verified: typeof document.verified) =>
      verified?.map(({ node, negative }) => ({ node, negative }));
    expect(marks(document.verified)).toEqual(
      expected.verified?.map(({ node, negative }) => ({ node, negative })),
    );

    expect(stdout).toMatch(/^metric +logit-diff: base \+\d/m);
    expect(stdout).toMatch(/^ +k +share +keep +± se +f /m);
    const areas = [expected.keepArea?.share, expected.removeArea?.share].map((area) => area?.toFixed(3));
    expect(stdout).toContain(`area       over k/n: keep ${areas[0]}, remove ${areas[1]}; over ln(1 + k)`);
    expect(stdout).toMatch(/^negative +.*, of 10 verified$/m);
  });
});

describe("atp faithfulness", () => {
  it("takes a grid, prints JSON, and marks no signs of another metric's effects", async () => {
    const args = [
      "--from",
      list,
      "--grid",
      "3,1",
      "--metric",
      "prob-diff",
      "--out",
      join(cwd, "new"),
      "--json",
    ];
    const { code, stdout, stderr } = await runHere(["faithfulness", ...MODEL, ...args, ...QUICK], { cwd });
    expect(stderr).toContain(
      `atp: warning: ${list} was computed with metric logit-diff (now prob-diff): its numbers and the new ones do not compare, its negative nodes are not marked\n`,
    );
    expect(code).toBe(0);
    const document = curveDocument.parse(JSON.parse(stdout));
    expect(document).toMatchObject({
      metric: { name: "prob-diff" },
      files: { csv: join(cwd, "new/faithfulness.csv") },
    });
    expect(document.points.map(({ k }) => k)).toEqual([0, 1, 3, document.nodes.ranked]);
    expect(document.verified).toBeUndefined();
  });

  it("has help that fits a terminal, with columns and exit codes", async () => {
    const { code, stdout } = await runHere(["faithfulness", "--help"]);
    expect(code).toBe(0);
    for (const name of FAITHFULNESS_HEADER) expect(stdout).toContain(name);
    expect(stdout).toMatch(/^Exit codes$/m);
    expect(stdout).toContain("where faithfulness.csv and faithfulness.json go");
    expect(Math.max(...stdout.split("\n").map((line) => line.length))).toBeLessThanOrEqual(104);
  });
});

describe("exit code 2 and one line on stderr for", () => {
  const ROW = "1,L0.z[3]@14,z,0,3,14,,0.5,0.5,-0.25,,,,,,false,4,,";
  let folder: string;
  beforeAll(async () => {
    folder = await temporaryFolder();
    const rows = (...lines: string[]) => `${[RANKED_HEADER.join(), ...lines].join("\n")}\n`;
    await Promise.all([
      writeFile(join(folder, "good.csv"), rows(ROW)),
      writeFile(join(folder, "twice.csv"), rows(ROW, ROW)),
      writeFile(join(folder, "cut.csv"), rows(ROW, "2,L0.z[1]@14,z")),
      writeFile(join(folder, "head.csv"), rows(ROW, ROW.replace("z[3]", "z[9]").replace("z,0,3", "z,0,9"))),
      writeFile(join(folder, "role.csv"), rows(ROW, ROW.replace("@14", "@verb").replace(",14,", ",verb,"))),
      mkdir(join(folder, "taken", "faithfulness.csv"), { recursive: true }),
    ]);
  });

  it.each([
    ["no list", [], "required option '--from <ranked.csv>' not specified"],
    [
      "a list that is not there",
      ["--from", "{}/none.csv"],
      "--from: expected a file, got nothing at {}/none.csv",
    ],
    [
      "a list that is cut",
      ["--from", "{}/cut.csv"],
      "readRankedCsv: {}/cut.csv:3: expected 19 columns, got 3",
    ],
    [
      "a node that is there twice",
      ["--from", "{}/twice.csv"],
      '{}/twice.csv:3: column "node": expected each node once, got L0.z[3]@14, as in line 2',
    ],
    [
      "a node that the model lacks",
      ["--from", "{}/head.csv"],
      '{}/head.csv:3: column "node": indexOfNode: expected a node of this model, these sites and these pairs, got L0.z[9]@14 (no index 9)',
    ],
    [
      "a role that no pair has",
      ["--from", "{}/role.csv"],
      '{}/role.csv:3: column "node": spaceOfNodes: expected a position or role that some pair has, got verb in L0.z[3]@verb',
    ],
    [
      "a grid that is no list of numbers",
      ["--from", "{}/good.csv", "--grid", "1,,2"],
      "option '--grid <k,...>' argument '1,,2' is invalid. Expected whole numbers separated by commas.",
    ],
    [
      "a grid beyond the list",
      ["--from", "{}/good.csv", "--grid", "1,2"],
      "faithfulness: expected a grid of whole numbers from 0 to 1, the number of ranked nodes, got 2",
    ],
    [
      "a folder where a result should go",
      ["--from", "{}/good.csv", "--out", "{}/taken"],
      "--out: expected a file that can be replaced, got the folder {}/taken/faithfulness.csv",
    ],
  ])("%s", async (_, args, expected) => {
    const here = (text: string) => text.replaceAll("{}", folder);
    const { code, stdout, stderr } = await runHere(["faithfulness", ...RUN, ...args].map(here));
    expect(stderr).toMatch(/^atp: error: [^\n]+\n$/);
    expect(stderr).toContain(here(expected));
    expect(stdout).toBe("");
    expect(code).toBe(2);
  });
});
