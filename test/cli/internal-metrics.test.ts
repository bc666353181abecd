/** `--metric` inside the model: in every command that has effects, and what is wrong with it. */

import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { INTERNAL_FORMS } from "../../src/prompts/metrics/parse-metric.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { DEMO, RUN, rowsOf, runHere } from "./run-cli.js";

const FEW = [...RUN, "--max-pairs", "4"];

/** Attention weights are at most 1; each of the engines computes them in batches of other sizes. */
const TOLERANCE = 1e-5;

const WEIGHT = "L3.pattern[1]@end:s2";

let folder: string;
let out: string;
let direction: string;
beforeAll(async () => {
  folder = await temporaryFolder();
  out = join(folder, "out");
  direction = join(folder, "direction.json");
  await Promise.all([
    writeFile(direction, JSON.stringify(Array.from({ length: 128 }, (_, d) => (d % 5) - 2))),
    writeFile(join(folder, "short.json"), "[1, 2]"),
    writeFile(join(folder, "text.json"), '["a"]'),
    writeFile(
      join(folder, "no-role.jsonl"),
      '{"clean": [1, 5], "corrupted": [2, 5], "answers": [3], "wrong": [4]}\n',
    ),
  ]);
});

describe("results", () => {
  it("of localize: queries and keys of the head are estimated exactly, verified nodes above it are 0", async () => {
    const here = join(folder, "localize");
    const args = [
      ...["localize", ...FEW, "--metric", WEIGHT, "--method", "atp+qkfix", "--positions", "roles"],
      ...["--nodes", "q,k,residPre", "--top-k", "200", "--out", here],
    ];
    const { code, stdout, stderr } = await runHere(args);
    expect(stderr).not.toMatch(/error|warning/);
    expect(code).toBe(0);
    expect(stdout).toContain(`metric     ${WEIGHT}: base +`);
    const rows = await rowsOf(join(here, "ranked.csv"));
    const ofHead = rows.filter(({ node }) => /^L3\.[qk]\[1\]@/.test(node));
    expect(ofHead.length).toBe(8);
    for (const row of ofHead) {
      expect(row.verified).toBe("true");
      const gap = Math.abs(Number(row.estimate_mean) - Number(row.effect_mean));
      expect(gap, row.node).toBeLessThan(TOLERANCE);
    }
    expect(Math.max(...ofHead.map((row) => Number(row.effect_contribution)))).toBeGreaterThan(0.01);
    const above = rows.filter(({ layer }) => Number(layer) > 3);
    expect(above.length).toBe(2 * 4 * (4 + 4 + 1));
    expect(new Set(above.map((row) => row.contribution))).toEqual(new Set(["0"]));
    const summary = JSON.parse(await readFile(join(here, "summary.json"), "utf8"));
    expect(summary.metric.name).toBe(WEIGHT);
  });

  it("of estimate with AtP* and verify: a neuron's own node gives source − base", async () => {
    const neuron = "L4.neuron[100]@end";
    const estimated = join(folder, "estimate");
    const estimate = ["estimate", ...FEW, "--metric", neuron, "--nodes", "z,mlpOut", "--out", estimated];
    expect((await runHere(estimate)).code).toBe(0);
    const [best] = await rowsOf(join(estimated, "ranked.csv"));
    expect(Number(best.estimate_contribution)).toBeGreaterThan(0);
    const verify = ["verify", ...FEW, "--metric", neuron, "--node", neuron, "L5.mlpOut@*", "--json"];
    const { code, stdout } = await runHere([...verify, "--out", join(folder, "verify")]);
    expect(code).toBe(0);
    const { metric, nodes } = JSON.parse(stdout);
    expect(nodes[0].node).toBe(neuron);
    expect(nodes[0].effectMean).toBeCloseTo(metric.source - metric.base, 5);
    expect(nodes[0].recovered).toBeCloseTo(1, 5);
    expect(nodes[1]).toMatchObject({ node: "L5.mlpOut@*", effectMean: 0 });
  });

  it("of sweep: several metrics of the same runs, a projection from a file among them", async () => {
    const here = join(folder, "sweep");
    const metric = `L2.residPost@end:${direction}`;
    const args = ["sweep", ...FEW, "--metric", metric, "--also-metric", WEIGHT, "logit-diff"];
    const { code, stderr } = await runHere([
      ...args,
      "--nodes",
      "attnOut",
      "--positions",
      "all",
      "--out",
      here,
    ]);
    expect(stderr).not.toMatch(/error|warning/);
    expect(code).toBe(0);
    const rows = await rowsOf(join(here, "metrics.csv"));
    const change = (node: string, of: string) => {
      const row = rows.find((candidate) => candidate.node === node) ?? {};
      return Math.abs(Number(row[of]) - Number(row[`${of}_base`]));
    };
    expect(change("L3.attnOut@*", metric)).toBe(0);
    expect(change("L3.attnOut@*", WEIGHT)).toBe(0);
    expect(change("L3.attnOut@*", "logit-diff")).toBeGreaterThan(0.01);
    expect(change("L2.attnOut@*", metric)).toBeGreaterThan(0.01);
    expect(change("L1.attnOut@*", WEIGHT)).toBeGreaterThan(1e-4);
  });

  it("of faithfulness: a curve of the weight", async () => {
    const args = ["faithfulness", ...FEW, "--metric", WEIGHT, "--from", join(folder, "localize/ranked.csv")];
    const { code, stdout } = await runHere([
      ...args,
      "--grid",
      "5",
      "--out",
      join(folder, "curve"),
      "--json",
    ]);
    expect(code).toBe(0);
    const { points, allPatched } = JSON.parse(stdout);
    expect(points.length).toBe(3);
    // Every node of the list's sites and positions is in it: none kept is all patched, all kept is the base run.
    expect(points[0].keep).toEqual(allPatched);
    expect(points[2].remove).toEqual(allPatched);
    expect([points[0].remove.faithfulness, points[2].keep.faithfulness]).toEqual([1, 1]);
    expect(allPatched.faithfulness).toBeLessThan(0.9);
  });
});

describe("--help", () => {
  it.each(["estimate", "localize", "verify", "faithfulness"])("of %s has the forms", async (command) => {
    const { stdout } = await runHere([command, "--help"]);
    for (const [form] of INTERNAL_FORMS) expect(stdout).toContain(`  ${form}`);
    for (const [, text] of INTERNAL_FORMS) expect(stdout).toContain(`  ${text}\n`);
  });

  it("of path does not: paths end at the logits", async () => {
    const { stdout } = await runHere(["path", "--help"]);
    expect(stdout).not.toContain(INTERNAL_FORMS[0][0]);
  });
});

describe("exit code 2 and one line on stderr for", () => {
  it.each<[string, readonly string[], string]>([
    [
      "text that is no metric",
      ["localize", "--metric", "L3.pattern[1]@end"],
      "option '--metric <name>' argument 'L3.pattern[1]@end' is invalid. Expected one of logit-diff,",
    ],
    [
      "a further metric that is none",
      ["sweep", "--also-metric", "L3.pattern[1]"],
      "option '--also-metric <name...>' argument 'L3.pattern[1]' is invalid. Expected one of logit-diff,",
    ],
    [
      "a layer that the model does not have",
      ["verify", "--node", "L0.z[0]@1", "--metric", "L6.neuron[1]@end"],
      "checkModelForMetric: metric L6.neuron[1]@end: expected a layer from 0 to 5, got 6",
    ],
    [
      "a head that it does not have",
      ["estimate", "--metric", "L3.pattern[4]@end:0"],
      "checkModelForMetric: metric L3.pattern[4]@end:0: expected a head from 0 to 3, got 4",
    ],
    [
      "a site that it does not have",
      ["estimate", "--metric", "L3.residMid@end:{}/direction.json"],
      "expected a site of a gpt_neox model with parallel residual (residPre, attnOut, mlpOut, residPost), got residMid",
    ],
    [
      "a role that a pair does not have",
      ["estimate", "--metric", "L3.pattern[1]@end:subject"],
      'metric L3.pattern[1]@end:subject: key: expected one of io, s1, s2, end, got the role "subject"',
    ],
    [
      "a key behind the query",
      ["estimate", "--metric", "L3.pattern[1]@s1:s2"],
      "key: expected a position up to that of the query, 4, got 10: attention looks back only",
    ],
    [
      "a direction that is not there",
      ["localize", "--metric", "L3.residPost@end:{}/none.json"],
      "parseMetric: expected a direction in {}/none.json, got no such file",
    ],
    [
      "a direction that has text",
      ["localize", "--metric", "L3.residPost@end:{}/text.json"],
      'parseMetric: {}/text.json: [0]: expected a number that float32 can hold, got "a"',
    ],
    [
      "a direction of another width",
      ["localize", "--metric", "L3.residPost@end:{}/short.json"],
      "expected a direction of 128 numbers, the width of the residual stream, got 2",
    ],
    [
      "AtP* of a metric with nothing to drop",
      ["estimate", "--metric", "L1.pattern[1]@end:s2"],
      "estimateBy: expected a metric with at least 2 layers below it for method atp*, got L1.pattern[1]@end:s2 with 1: GradDrop averages over the other layers, and there are none; use atp or atp+qkfix",
    ],
    [
      "a path to it",
      ["path", "--direct", "--metric", WEIGHT],
      `pathEffects: expected a metric of the logits, where paths end, got ${WEIGHT}: use it with patched runs and estimates`,
    ],
  ])("%s", async (_what, [command, ...args], message) => {
    const here = args.map((text) => text.replaceAll("{}", folder));
    const { code, stdout, stderr } = await runHere([command, ...FEW, "--out", out, ...here]);
    expect(stderr).toMatch(/^atp: error: [^\n]+\n$/);
    expect(stderr).toContain(message.replaceAll("{}", folder));
    expect(stdout).toBe("");
    expect(code).toBe(2);
    expect(await readdir(folder)).not.toContain("out");
  });

  it("a pair without the role, by its line", async () => {
    const pairs = join(folder, "no-role.jsonl");
    const { code, stderr } = await runHere([
      ...["estimate", "--model", DEMO, "--pairs", pairs, "--metric", "L3.neuron[1]@end", "--out", out],
    ]);
    expect(stderr).toBe(
      `atp: error: checkPairsForMetric: ${pairs}:1: metric L3.neuron[1]@end: position: expected a number, as the pair has no roles, got the role "end"\n`,
    );
    expect(code).toBe(2);
  });
});
