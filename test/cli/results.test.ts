/** Results of whole runs, in files and on the terminal. */

import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { loadModel } from "../../src/checkpoint/load-model.js";
import { localize, verify } from "../../src/localize.js";
import { rankedNodes } from "../../src/nodes/ranking.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import { readPairs } from "../../src/prompts/read-pairs.js";
import { samplePairs } from "../../src/prompts/sample-pairs.js";
import { describeAveraged } from "../../src/sources/averaged.js";
import { meanSource } from "../../src/sources/mean.js";
import { noiseSource } from "../../src/sources/noise.js";
import { zeroSource } from "../../src/sources/zero.js";
import { startTestEngine, testBackend } from "../support/engine.js";
import { largestError, relativeError } from "../support/errors.js";
import { siteOfKind } from "../support/golden-nodes.js";
import { type GoldenTable, goldenFolder, readGolden } from "../support/goldens.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { ESTIMATE_TOLERANCE, EXACT_TOLERANCE } from "../support/tolerances.js";
import { DEMO, IOI, type Row, RUN, rowsOf, runCli, runHere } from "./run-cli.js";

let out: string;
beforeAll(async () => {
  out = await temporaryFolder();
});

const summaryFile = z.object({
  atpkit: z.string(),
  command: z.string(),
  date: z.iso.datetime(),
  options: z.looseObject({ topK: z.number(), batchSize: z.number(), nodes: z.string() }),
  model: z.object({ name: z.string(), family: z.string(), layers: z.number() }),
  pairs: z.object({ files: z.array(z.string()), available: z.number(), used: z.number() }),
  metric: z.object({ name: z.string(), base: z.number(), source: z.number() }),
  direction: z.string(),
  nodes: z.object({ ranked: z.number(), verified: z.number() }),
  engine: z.object({ backend: z.string(), device: z.string(), reason: z.string() }),
  forwardEquivalents: z.object({ estimate: z.number(), verify: z.number() }),
  seconds: z.object({ load: z.number(), estimate: z.number(), verify: z.number() }),
});

const jsonOutput = summaryFile.extend({
  files: z.object({ ranked: z.string(), summary: z.string() }),
  nodes: z.array(z.looseObject({ rank: z.number(), node: z.string(), verified: z.boolean() })),
});

describe("a golden, all of its nodes verified", () => {
  const golden = readGolden("qwen2");
  let rows: Row[];

  beforeAll(async () => {
    const { answer, wrong } = golden.metric;
    const pair = {
      clean: golden.clean,
      corrupted: golden.corrupted,
      answers: [answer],
      wrong: [wrong],
    };
    const pairs = join(out, "golden.jsonl");
    await writeFile(pairs, `${JSON.stringify(pair)}\n`);
    const folder = join(out, "golden");
    const args = ["--model", goldenFolder("qwen2"), "--pairs", pairs, "--engine", testBackend()];
    const { code, stderr } = await runCli([
      "localize",
      ...args,
      "--nodes",
      "q,k,v,z,mlpOut,residMid",
      "--top-k",
      "100000",
      "--out",
      folder,
    ]);
    expect(stderr).not.toContain("error");
    expect(code).toBe(0);
    rows = await rowsOf(join(folder, "ranked.csv"));
  });

  /** The reference numbers of the rows, in their order. */
  function reference(table: GoldenTable): number[] {
    const values = new Map<string, number>();
    for (const [key, flat] of Object.entries(table)) {
      const [kind, layer] = key.split(".");
      const shape = golden.shapes[key];
      flat.forEach((value, at) => {
        const index = shape.length === 2 ? `[${Math.floor(at / shape[1])}]` : "";
        values.set(
          `L${layer}.${siteOfKind(kind)}${index}@${at % (shape[1] ?? Number.POSITIVE_INFINITY)}`,
          value,
        );
      });
    }
    return rows.map(({ node }) => values.get(node) ?? Number.NaN);
  }

  it("has every selected node, best first", () => {
    const T = golden.clean.length;
    const [H, K] = [golden.shapes["q.0"][0], golden.shapes["k.0"][0]];
    const layers = Object.keys(golden.shapes).filter((key) => key.startsWith("q.")).length;
    expect(rows.length).toBe(layers * T * (2 * H + 2 * K + 2));
    expect(new Set(rows.map(({ node }) => node)).size).toBe(rows.length);
    expect(rows.map(({ rank }) => rank)).toEqual(rows.map((_, place) => String(place + 1)));
    const contributions = rows.map(({ contribution }) => Number(contribution));
    expect(contributions).toEqual([...contributions].sort((a, b) => b - a));
  });

  it("has the AtP* estimates of the float64 reference: signed, contributions, and how far AtP is off", () => {
    const estimates = rows.map(({ estimate_mean }) => Number(estimate_mean));
    expect(relativeError(estimates, reference(golden.qkfix))).toBeLessThan(ESTIMATE_TOLERANCE);
    const contributions = rows.map(({ estimate_contribution }) => Number(estimate_contribution));
    expect(relativeError(contributions, reference(golden.atpstar))).toBeLessThan(ESTIMATE_TOLERANCE);

    const [plain, fixed, dropped] = [golden.atp, golden.qkfix, golden.graddrop].map(reference);
    const gaps = rows.map(({ saturation_gap }) => Number(saturation_gap));
    const expectedGaps = fixed.map((value, r) => Math.abs(value - plain[r]));
    expect(relativeError(gaps, expectedGaps)).toBeLessThan(ESTIMATE_TOLERANCE);
    // Ratios of nodes whose plain estimate is not itself rounding noise.
    const clear = rows.flatMap((_, r) => (Math.abs(plain[r]) > 1e-2 ? [r] : []));
    expect(clear.length).toBeGreaterThan(100);
    const ratios = clear.map((r) => Number(rows[r].cancellation_ratio));
    const expectedRatios = clear.map((r) => dropped[r] / Math.abs(plain[r]));
    expect(relativeError(ratios, expectedRatios)).toBeLessThan(10 * ESTIMATE_TOLERANCE);
  });

  it("has the exact effects of the float64 reference", () => {
    const effects = rows.map(({ effect_mean }) => Number(effect_mean));
    const span = Math.abs(golden.corruptedMetric - golden.cleanMetric);
    expect(largestError(effects, reference(golden.exact))).toBeLessThan(EXACT_TOLERANCE * span);
    const recovered = rows.map((row) => Number(row.recovered));
    const gap = golden.corruptedMetric - golden.cleanMetric;
    const expected = reference(golden.exact).map((effect) => effect / gap);
    expect(largestError(recovered, expected)).toBeLessThan(2 * EXACT_TOLERANCE);
  });

  it("leaves cells empty that one pair cannot fill, and shows ids where there is no tokenizer", () => {
    for (const row of rows) {
      expect(row).toMatchObject({ estimate_se: "", effect_se: "", verified: "true", pairs: "1" });
      const position = Number(row.position);
      const same = golden.clean[position] === golden.corrupted[position];
      expect(row.token).toBe(same ? String(golden.clean[position]) : "");
    }
  });
});

describe("--source", () => {
  const nodes = ["L0.z[3]@end", "L2.mlpOut@*"];

  it.each(["zero", "mean", "models/demo/pairs/ioi-mixed.jsonl"])(
    "%s: effects of the library's source",
    async (what) => {
      const folder = join(out, `source-${what.replaceAll("/", "-")}`);
      const args = ["--max-pairs", "3", "--source", what, "--out", folder];
      const { code, stdout, stderr } = await runHere(["verify", ...RUN, ...args, "--node", ...nodes]);
      expect(code).toBe(0);
      expect(stdout).toMatch(
        new RegExp(`^source +${what}, in place of the other prompt's activations$`, "m"),
      );
      const rows = await rowsOf(join(folder, "ranked.csv"));

      await startTestEngine();
      const model = await loadModel(DEMO);
      const { needs } = metricByName("logit-diff");
      const pairs = samplePairs(await readPairs(IOI, model, needs), 3, 0);
      const averaged = what === "mean" ? pairs : what === "zero" ? [] : await readPairs(what, model, needs);
      const source =
        what === "zero"
          ? zeroSource()
          : await meanSource(model, averaged, {
              direction: "noising",
              sites: ["z", "mlpOut"],
              batchSize: 16,
              studied: pairs,
            });
      const ranking = await verify(model, pairs, nodes, { source });
      const expected = [...rankedNodes(ranking)];
      expect(rows.map(({ node, effect_mean }) => [node, Math.fround(Number(effect_mean))])).toEqual(
        expected.map(({ node, effectMean }) => [node, Math.fround(effectMean ?? Number.NaN)]),
      );
      source.dispose();
      model.dispose();
      const summary: unknown = JSON.parse(await readFile(join(folder, "summary.json"), "utf8"));
      expect(summary).toMatchObject({ source: what });
      if (what === "zero") {
        expect(summary).not.toHaveProperty("averaged");
      } else {
        const { averaged: lengths } = z
          .looseObject({ averaged: z.array(z.object({ tokens: z.number(), prompts: z.number() })) })
          .parse(summary);
        const lengthOf = (tokens: number) => averaged.filter(({ clean }) => clean.length === tokens).length;
        expect(lengths.map(({ tokens }) => lengthOf(tokens))).toEqual(lengths.map(({ prompts }) => prompts));
        const text = describeAveraged(lengths);
        expect(stdout).toContain(`\naveraged   ${text}\n`);
        expect(stderr).toContain(`atp: source: ${text}\n`);
      }
    },
  );

  it("noise: effects of the library's source, of pairs without corrupted prompts", async () => {
    const clean = join(out, "clean.jsonl");
    const lines = (await readFile(IOI, "utf8")).split("\n").slice(0, 3);
    const written = lines.map((line) => {
      const { corrupted: _, ...pair } = z.looseObject({ corrupted: z.string() }).parse(JSON.parse(line));
      return JSON.stringify(pair);
    });
    await writeFile(clean, written.join("\n"));
    const folder = join(out, "source-noise");
    const noise = ["--noise-at", "s1,s2", "--noise-scale", "0.5", "--noise-draws", "2", "--noise-seed", "-4"];
    const run = [
      ...["--model", DEMO, "--pairs", clean, "--engine", testBackend()],
      "--direction",
      "denoising",
    ];
    const args = [...run, "--source", "noise", ...noise, "--node", ...nodes, "--out", folder];
    const { code, stdout, stderr } = await runHere(["verify", ...args]);
    expect(stderr).not.toContain("error");
    expect(code).toBe(0);
    const description = "noise of 0.5 σ at s1,s2, 2 draws, seed -4";
    const rows = await rowsOf(join(folder, "ranked.csv"));

    await startTestEngine();
    const model = await loadModel(DEMO);
    const pairs = (await readPairs(IOI, model, metricByName("logit-diff").needs)).slice(0, 3);
    const source = await noiseSource(model, { at: ["s1", "s2"], multiple: 0.5, draws: 2, seed: -4 });
    const ranking = await verify(model, pairs, nodes, { source, direction: "denoising" });
    const expected = [...rankedNodes(ranking)];
    expect(rows.map(({ node, effect_mean }) => [node, Math.fround(Number(effect_mean))])).toEqual(
      expected.map(({ node, effectMean }) => [node, Math.fround(effectMean ?? Number.NaN)]),
    );
    model.dispose();
    expect(stdout).toContain(
      `${description}, σ = ${source.embeddingDeviation.toPrecision(4)}: the clean prompt noised, in place of the corrupted one\n`,
    );
    const summary: unknown = JSON.parse(await readFile(join(folder, "summary.json"), "utf8"));
    expect(summary).toMatchObject({
      source: description,
      embeddingDeviation: source.embeddingDeviation,
      options: { source: "noise", noiseAt: ["s1", "s2"], noiseScale: 0.5, noiseDraws: 2, noiseSeed: -4 },
    });

    const list = join(folder, "ranked.csv");
    const again = ["verify", ...args, "--from", list, "--top-k", "1"];
    expect((await runHere(again)).stderr).not.toContain("warning");
    const other = await runHere([...again.slice(0, -2), "--noise-seed", "0"]);
    expect(other.stderr).toContain(
      `atp: warning: ${list} was computed with source ${description} (now noise of 0.5 σ at s1,s2, 2 draws, seed 0)`,
    );
  });
});

describe("localize on the demo model", () => {
  const args = [
    "--positions",
    "roles",
    "--max-pairs",
    "6",
    "--seed",
    "3",
    "--top-k",
    "4",
    "--nodes",
    "z,mlpOut",
  ];

  it("writes what the library computes, to the last bit", async () => {
    const folder = join(out, "demo");
    const { code, stdout, stderr } = await runCli(["localize", ...RUN, ...args, "--out", folder]);
    expect(code).toBe(0);
    expect((await readdir(folder)).sort()).toEqual(["ranked.csv", "summary.json"]);

    await startTestEngine();
    const model = await loadModel(DEMO);
    const all = await readPairs(IOI, model, metricByName("logit-diff").needs);
    const ranking = await localize(model, samplePairs(all, 6, 3), {
      nodes: ["z", "mlpOut"],
      positions: "roles",
      topK: 4,
    });
    const expected = [...rankedNodes(ranking, { tokenizer: model.tokenizer })];
    const float = (cell: string) => (cell === "" ? undefined : Number(cell));
    // CSV has no −0.
    const bits = (value: number | undefined) => (value === undefined ? undefined : Math.fround(value) + 0);
    const rows = await rowsOf(join(folder, "ranked.csv"));
    expect(
      rows.map((row) => ({
        node: row.node,
        token: row.token,
        contribution: Math.fround(Number(row.contribution)),
        estimateMean: bits(float(row.estimate_mean)),
        estimateSe: bits(float(row.estimate_se)),
        effectMean: bits(float(row.effect_mean)),
        effectSe: bits(float(row.effect_se)),
        recovered: bits(float(row.recovered)),
        verified: row.verified,
      })),
    ).toEqual(
      expected.map((row) => ({
        node: row.node,
        token: row.token ?? "",
        contribution: bits(row.contribution),
        estimateMean: bits(row.estimateMean),
        estimateSe: bits(row.estimateSe),
        effectMean: bits(row.effectMean),
        effectSe: bits(row.effectSe),
        recovered: bits(row.recovered),
        verified: String(row.verified),
      })),
    );
    expect(rows.filter(({ verified }) => verified === "true").length).toBe(4);

    const summary = summaryFile.parse(JSON.parse(await readFile(join(folder, "summary.json"), "utf8")));
    const mean = (values: Float64Array) => values.reduce((sum, value) => sum + value, 0) / 6;
    expect(summary).toMatchObject({
      command: "localize",
      options: { topK: 4, batchSize: 16, nodes: "z,mlpOut" },
      model: { name: DEMO, family: "gpt_neox", layers: 6 },
      pairs: { files: [IOI], available: 64, used: 6 },
      metric: { name: "logit-diff", base: mean(ranking.baseMetric), source: mean(ranking.sourceMetric) },
      direction: "noising",
      nodes: { ranked: rows.length, verified: 4 },
      engine: { backend: testBackend() },
      forwardEquivalents: ranking.forwardEquivalents,
    });
    model.dispose();

    // The table: one line per row of the top 20, effect beside estimate, in the order of the file.
    const lines = stdout.split("\n");
    const head = lines.findIndex((line) => line.startsWith("rank"));
    expect(lines[head]).toMatch(/^rank +node +token +contribution +effect +± se +estimate +± se +recovered$/);
    const shown = lines.slice(head + 1, head + 21);
    expect(shown.map((line) => line.split(/ +/)[2])).toEqual(rows.slice(0, 20).map(({ node }) => node));
    expect(lines.slice(0, head).join("\n")).toContain(`pairs      6 (a sample of 64) from ${IOI}`);
    expect(lines.slice(head + 21).join("\n")).toContain(join(folder, "ranked.csv"));
    expect(lines.slice(head + 21).join("\n")).toMatch(/estimate 33\.0 forward equivalents in \d+\.\d\d s/);

    // Not a terminal: plain lines, no cursor movement.
    expect(stderr).toMatch(/^atp: estimate: 6 of 6 pairs, \d+\.\d s$/m);
    expect(stderr).toMatch(/^atp: verify: 24 of 24 patched runs, \d+\.\d s$/m);
    for (const control of ["\u001b", "\r"]) expect(stderr + stdout).not.toContain(control);
  });

  it("says how far the list can be trusted, with the command that settles it", async () => {
    const folder = join(out, "it's open");
    const first = await runCli(["localize", ...RUN, ...args, "--out", folder, "--report"]);
    expect(first.code).toBe(0);
    const summaryOf = async () => JSON.parse(await readFile(join(folder, "summary.json"), "utf8"));
    const { agreement } = await summaryOf();

    // The same by its definition, from the cells of the list.
    const rows = (await rowsOf(join(folder, "ranked.csv"))).map((row) => ({
      node: row.node,
      verified: row.verified === "true",
      contribution: Number(row.contribution),
      factor: Number(row.effect_contribution) / Number(row.estimate_contribution),
    }));
    const best = rows.slice(0, 4).filter(({ verified }) => verified);
    const [most] = best.toSorted((a, b) => b.factor - a.factor);
    const unverified = rows.flatMap((row, place) => (row.verified ? [] : [{ ...row, rank: place + 1 }]));
    const reachable = unverified.filter(
      ({ rank, contribution }) => rank <= 4 || contribution * most.factor > rows[3].contribution,
    );
    expect(most.factor).toBeGreaterThan(1);
    expect(reachable.length).toBeGreaterThan(0);
    const settled = best.findIndex(
      ({ contribution }) => contribution <= unverified[0].contribution * most.factor,
    );
    expect(agreement).toMatchObject({
      topK: 4,
      compared: 4,
      mostUnderestimated: { node: most.node, factor: expect.closeTo(most.factor, 5) },
      threshold: expect.closeTo(rows[3].contribution, 5),
      settledRows: settled,
      reachable: reachable.length,
      lastRank: reachable.at(-1)?.rank,
    });

    const [open] = first.stdout.match(/^open .*$/m) ?? [];
    expect(open).toContain(`${reachable.length} unverified node`);
    const ranks = first.stdout.split("\n").flatMap((line) => line.match(/^ *(\d+\??) +L\d/)?.[1] ?? []);
    expect(ranks.slice(0, 5)).toEqual([1, 2, 3, 4, 5].map((n) => (n > settled && n <= 4 ? `${n}?` : `${n}`)));
    expect(await readFile(join(folder, "report.html"), "utf8")).toContain(
      `Rows ${settled + 1} to 4 are open`,
    );

    // The command runs as it is printed, quotes and all, and verifies them.
    const words = [...agreement.settle.verify.matchAll(/'((?:[^']|'\\'')*)'|(\S+)/g)].map(
      ([, quoted, plain]) => quoted?.replaceAll("'\\''", "'") ?? plain,
    );
    expect(words[0]).toBe("atp");
    const second = await runCli(words.slice(1));
    expect(second.stderr).not.toMatch(/error|warning/);
    expect(second.code).toBe(0);
    const after = await rowsOf(join(folder, "ranked.csv"));
    const now = after.filter(({ verified }) => verified === "true").map(({ node }) => node);
    expect(now).toEqual(expect.arrayContaining(reachable.map(({ node }) => node)));
    // Still about the first four rows, and of estimates.
    expect(await summaryOf()).toMatchObject({
      method: "atp*",
      agreement: { topK: 4, compared: now.length },
    });
    expect((await runHere(["report", folder])).code).toBe(0);
    expect(await readFile(join(folder, "report.html"), "utf8")).not.toContain("every value is exact");
  });

  it("prints one JSON document with --json, and nothing else on stdout", async () => {
    const folder = join(out, "json");
    const { code, stdout } = await runCli([
      "localize",
      ...RUN,
      ...args,
      "--out",
      folder,
      "--json",
      "--verbose",
    ]);
    expect(code).toBe(0);
    const result = jsonOutput.parse(JSON.parse(stdout));
    const rows = await rowsOf(join(folder, "ranked.csv"));
    expect(result.files).toEqual({
      ranked: join(folder, "ranked.csv"),
      summary: join(folder, "summary.json"),
    });
    expect(result.nodes.map(({ node }) => node)).toEqual(
      rows.filter(({ rank, verified }) => Number(rank) <= 20 || verified === "true").map(({ node }) => node),
    );
    expect(result.nodes.filter(({ verified }) => verified).length).toBe(4);
  });
});

describe("verify", () => {
  it("merges new values into an estimated list and ranks it anew", async () => {
    const folder = join(out, "estimated");
    const run = [...RUN, "--max-pairs", "4"];
    const first = await runHere(["estimate", ...run, "--nodes", "mlpOut", "--out", folder]);
    expect(first.code).toBe(0);
    const estimated = await rowsOf(join(folder, "ranked.csv"));
    expect(estimated.every(({ verified }) => verified === "false")).toBe(true);

    // Into the same folder: the list is read while its successor is written.
    const last = estimated[estimated.length - 1].node;
    const second = await runHere([
      "verify",
      ...run,
      "--from",
      join(folder, "ranked.csv"),
      "--top-k",
      "3",
      "--node",
      "L0.z[3]@end",
      last,
      "--out",
      folder,
    ]);
    expect(second.stderr).not.toMatch(/error|warning/);
    expect(second.code).toBe(0);
    const merged = await rowsOf(join(folder, "ranked.csv"));

    const chosen = ["L0.z[3]@end", last, ...estimated.slice(0, 3).map(({ node }) => node)];
    const verified = merged.filter((row) => row.verified === "true");
    expect(verified.map(({ node }) => node).sort()).toEqual(chosen.sort());
    expect(merged.length).toBe(estimated.length + 1);
    expect(merged.map(({ rank }) => Number(rank))).toEqual(merged.map((_, place) => place + 1));
    const contributions = merged.map(({ contribution }) => Number(contribution));
    expect(contributions).toEqual([...contributions].sort((a, b) => b - a));

    const before = new Map(estimated.map((row) => [row.node, row]));
    for (const row of merged) {
      const { estimate_contribution = "", estimate_mean = "", estimate_se = "" } = before.get(row.node) ?? {};
      expect(row).toMatchObject({ estimate_contribution, estimate_mean, estimate_se });
      if (row.verified === "true") expect(row.contribution).toBe(row.effect_contribution);
      else expect(row).toEqual({ ...before.get(row.node), rank: row.rank, run: row.run });
    }
  });

  it("warns when a list was made with another metric, and reports chosen nodes alone without a list", async () => {
    const folder = join(out, "other-metric");
    const run = [...RUN, "--max-pairs", "2"];
    const ids = ["L0.z[3]@end", "L5.mlpOut@*"];
    const first = await runHere([
      "verify",
      ...run,
      "--node",
      ...ids,
      "--metric",
      "accuracy",
      "--out",
      folder,
    ]);
    expect(first.code).toBe(0);
    const rows = await rowsOf(join(folder, "ranked.csv"));
    expect(rows.map(({ node }) => node)).toEqual(ids);
    expect(rows[0]).toMatchObject({
      estimate_mean: "",
      effect_mean: "-1",
      position: "end",
      verified: "true",
    });
    expect(first.stdout).not.toContain("estimate");

    const list = join(folder, "ranked.csv");
    const second = await runHere(["verify", ...run, "--from", list, "--metric", "prob", "--out", folder]);
    expect(second.stderr).toContain(
      `atp: warning: ${list} was computed with metric accuracy (now prob): its numbers and the new ones do not compare, only its choice of nodes is used`,
    );
    expect(second.code).toBe(0);
  });
});

describe("info", () => {
  it("counts parameters and nodes from the headers", async () => {
    const { code, stdout } = await runCli(["info", goldenFolder("gpt2"), "--json"]);
    expect(code).toBe(0);
    // V 97, D 32, 64 positions, 3 layers, F 128; tied. Per layer: q, k, v, o; MLP; two layer norms.
    const perLayer = 4 * (32 * 32 + 32) + (32 * 128 + 128) + (128 * 32 + 32) + 4 * 32;
    expect(JSON.parse(stdout)).toMatchObject({
      family: "gpt2",
      layers: 3,
      width: 32,
      heads: 4,
      kvHeads: 4,
      headWidth: 8,
      mlpWidth: 128,
      vocabulary: 97,
      tiedEmbedding: true,
      parameters: (97 + 64) * 32 + 3 * perLayer + 2 * 32,
      dtypes: ["F32"],
      maxPromptTokens: 64,
      tokenizer: null,
      // q, k, v, z of 4 heads, 128 neurons, and residPre, attnOut, residMid, mlpOut, residPost, in 3 layers
      nodesPerPosition: 3 * (4 * 4 + 128 + 5),
    });
  });

  it("is readable", async () => {
    const { code, stdout } = await runHere(["info", goldenFolder("qwen2")]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^heads +4 of width 8 on 2 kv-heads$/m);
    expect(stdout).toMatch(/^vocabulary +97, tied$/m);
    expect(stdout).toMatch(/^parameters +24,256 \(BF16, 48,512 bytes\)$/m);
    expect(stdout).toMatch(/^k +kvHead +2 +6$/m);
    expect(stdout).toMatch(/^tokenizer +none: prompts and answers are token ids$/m);
  });
});
