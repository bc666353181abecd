/** `atp sweep`, and the table of metrics that `atp verify` writes too. */

import { mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { loadModel } from "../../src/checkpoint/load-model.js";
import { EXAMPLES } from "../../src/cli/help.js";
import { metricByName } from "../../src/prompts/metrics/index.js";
import { readPairs } from "../../src/prompts/read-pairs.js";
import { samplePairs } from "../../src/prompts/sample-pairs.js";
import { RANKED_HEADER } from "../../src/report/ranked-csv.js";
import { WINDOWS_HEADER } from "../../src/report/windows-csv.js";
import { rankedWindows, sweepWindows } from "../../src/sweep-windows.js";
import { projectRoot } from "../support/child-process.js";
import { startTestEngine, testBackend } from "../support/engine.js";
import { largestError } from "../support/errors.js";
import { siteOfKind } from "../support/golden-nodes.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { EXACT_TOLERANCE } from "../support/tolerances.js";
import { DEMO, IOI, type Row, RUN, rowsOf, runCli, runHere } from "./run-cli.js";

const FEW = [...RUN, "--max-pairs", "4"];
const MIXED = join(DEMO, "pairs/ioi-mixed.jsonl");

/** Logits of the demo model differ by about 20: float32 in batches of other sizes. */
const TOLERANCE = 1e-3;
/** The same numbers, but for the last digits of a float32 of about 20 as text. */
const TEXT_TOLERANCE = 1e-5;

let out: string;
beforeAll(async () => {
  out = await temporaryFolder();
});

/** Runs to a folder of its own. */
async function run(name: string, command: string, args: readonly string[], how = runHere) {
  const folder = join(out, name);
  const result = await how([command, ...args, "--out", folder]);
  expect(result.stderr).not.toMatch(/error|warning/);
  expect(result.code).toBe(0);
  const rows = (file: string) => rowsOf(join(folder, file));
  const summary = async (): Promise<unknown> =>
    JSON.parse(await readFile(join(folder, "summary.json"), "utf8"));
  return { ...result, folder, rows, summary };
}

const numbers = (rows: readonly Row[], column: string) => rows.map((row) => Number(row[column]));

const table = z.record(z.string(), z.array(z.number()));
const truthFile = z.object({
  pair: z.looseObject({}),
  metric: z.object({ type: z.string() }),
  clean_metric: z.number(),
  corrupted_metric: z.number(),
  shapes: table,
  exact: table,
});

describe.each(["ioi", "greater"])("every node of the float64 reference: %s", (behaviour) => {
  it("has its exact effect, best first", async () => {
    const file = new URL(`../fixtures/truth/neox-${behaviour}.json`, import.meta.url);
    const truth = truthFile.parse(JSON.parse(await readFile(file, "utf8")));
    const pairs = join(out, `${behaviour}.jsonl`);
    await writeFile(pairs, `${JSON.stringify(truth.pair)}\n`);
    const metric = truth.metric.type.replace("_", "-");
    const wanted = new Map<string, number>();
    for (const [key, flat] of Object.entries(truth.exact)) {
      const [kind, layer] = key.split(".");
      const shape = truth.shapes[key];
      const [index, T] = shape.length === 2 ? [true, shape[1]] : [false, shape[0]];
      flat.forEach((value, at) => {
        wanted.set(`L${layer}.${siteOfKind(kind)}${index ? `[${Math.floor(at / T)}]` : ""}@${at % T}`, value);
      });
    }

    const args = ["--model", DEMO, "--pairs", pairs, "--engine", testBackend(), "--metric", metric];
    const nodes = ["--nodes", "q,k,v,z,attnOut,mlpOut"];
    const { folder, rows, stdout } = await run(`truth-${behaviour}`, "sweep", [...args, ...nodes], runCli);
    expect((await readdir(folder)).sort()).toEqual(["metrics.csv", "ranked.csv", "summary.json"]);
    const ranked = await rows("ranked.csv");
    expect(ranked.length).toBe(wanted.size);
    const span = Math.abs(truth.corrupted_metric - truth.clean_metric);
    const reference = ranked.map(({ node }) => wanted.get(node) ?? Number.NaN);
    expect(largestError(numbers(ranked, "effect_mean"), reference) / span).toBeLessThan(EXACT_TOLERANCE);
    const contributions = numbers(ranked, "contribution");
    expect(contributions).toEqual([...contributions].sort((a, b) => b - a));
    expect(numbers(ranked, "rank")).toEqual(ranked.map((_, place) => place + 1));
    expect(ranked.every((row) => row.verified === "true" && row.estimate_mean === "")).toBe(true);

    const metrics = await rows("metrics.csv");
    expect(metrics.map(({ node }) => node)).toEqual(["base", "source", ...ranked.map(({ node }) => node)]);
    const [base, source] = numbers(metrics, metric);
    expect(Math.abs(base - truth.clean_metric) / span).toBeLessThan(EXACT_TOLERANCE);
    expect(Math.abs(source - truth.corrupted_metric) / span).toBeLessThan(EXACT_TOLERANCE);
    const patched = numbers(metrics, metric).slice(2);
    expect(
      largestError(
        patched,
        reference.map((effect) => truth.clean_metric + effect),
      ) / span,
    ).toBeLessThan(2 * EXACT_TOLERANCE);
    expect(stdout).toContain(`${wanted.size}, of which ${wanted.size} verified by exact patching`);
  });
});

describe("several metrics of prompts of different lengths", () => {
  const others = ["prob", "kl", "rank", "L2.pattern[3]@end:io"];
  const mixed = ["--model", DEMO, "--pairs", MIXED, "--max-pairs", "4", "--engine", testBackend()];
  let swept: Awaited<ReturnType<typeof run>>;
  let ranked: Row[];
  let metrics: Row[];

  beforeAll(async () => {
    swept = await run("mixed", "sweep", [...mixed, "--nodes", "z", "--also-metric", ...others]);
    [ranked, metrics] = [await swept.rows("ranked.csv"), await swept.rows("metrics.csv")];
  });

  it("are in one table, a row per patch and a column per metric", async () => {
    const names = ["logit-diff", ...others];
    expect(Object.keys(metrics[0])).toEqual([
      "node",
      "site",
      "layer",
      "index",
      "position",
      "pairs",
      ...names,
      ...names.map((name) => `${name}_base`),
      "run",
    ]);
    expect(metrics.length).toBe(ranked.length + 2);
    expect(metrics.slice(2).map(({ node, pairs }) => [node, pairs])).toEqual(
      ranked.map(({ node, pairs }) => [node, pairs]),
    );
    expect(new Set(ranked.map(({ pairs }) => pairs)).size).toBeGreaterThan(1);
    expect(await swept.summary()).toMatchObject({
      command: "sweep",
      metric: { name: "logit-diff" },
      alsoMetrics: others.map((name) => ({ name, base: expect.any(Number), source: expect.any(Number) })),
      nodes: { ranked: ranked.length, verified: ranked.length },
    });
  });

  it("of which the first has the changes of the ranked list, over the pairs that have the node", () => {
    const rows = metrics.slice(2);
    const base = numbers(rows, "logit-diff_base");
    const changes = numbers(rows, "logit-diff").map((value, row) => value - base[row]);
    expect(largestError(changes, numbers(ranked, "effect_mean"))).toBeLessThan(TEXT_TOLERANCE);
    // Where a pair lacks the node, the mean over the others is not that of all.
    const all = Number(metrics[0]["logit-diff"]);
    rows.forEach(({ pairs }, row) => {
      expect(Math.abs(base[row] - all) < TEXT_TOLERANCE).toBe(pairs === "4");
    });
  });

  it.each(others)("%s has the effects of a run with that metric alone", async (name) => {
    const nodes = ["L0.z[3]@14", "L2.z[3]@14", "L1.z[2]@13", "L3.z[1]@5"];
    const alone = await run(`alone-${others.indexOf(name)}`, "verify", [
      ...mixed,
      "--metric",
      name,
      "--node",
      ...nodes,
    ]);
    const effects = new Map((await alone.rows("ranked.csv")).map((row) => [row.node, row]));
    const rows = metrics.filter(({ node }) => nodes.includes(node));
    const changes = rows.map((row) => Number(row[name]) - Number(row[`${name}_base`]));
    const wanted = rows.map(({ node }) => Number(effects.get(node)?.effect_mean));
    expect(largestError(changes, wanted)).toBeLessThan(TOLERANCE);
    expect(Math.max(...wanted.map(Math.abs))).toBeGreaterThan(10 * TOLERANCE);
    expect(rows.map(({ pairs }) => pairs)).toEqual(rows.map(({ node }) => effects.get(node)?.pairs));
    const summary = z
      .object({ metric: z.object({ base: z.number(), source: z.number() }) })
      .parse(await alone.summary());
    expect(Math.abs(Number(metrics[0][name]) - summary.metric.base)).toBeLessThan(TOLERANCE);
    expect(Math.abs(Number(metrics[1][name]) - summary.metric.source)).toBeLessThan(TOLERANCE);
  });

  it("are the same of verify with --also-metric", async () => {
    const nodes = ranked.slice(0, 12).map(({ node }) => node);
    const verified = await run("verified", "verify", [
      ...mixed,
      "--node",
      ...nodes,
      "--also-metric",
      ...others,
      "--json",
    ]);
    const rows = await verified.rows("metrics.csv");
    expect(rows.map(({ node }) => node)).toEqual(metrics.slice(0, 14).map(({ node }) => node));
    for (const column of Object.keys(rows[0]).slice(5, -1)) {
      expect(largestError(numbers(rows, column), numbers(metrics.slice(0, 14), column)), column).toBeLessThan(
        TOLERANCE,
      );
    }
    const listed = await verified.rows("ranked.csv");
    expect(listed.map(({ node }) => node)).toEqual(nodes);
    const best = ranked.slice(0, 12);
    for (const column of ["contribution", "effect_mean", "effect_se", "recovered"]) {
      expect(largestError(numbers(listed, column), numbers(best, column)), column).toBeLessThan(TOLERANCE);
    }
    expect(JSON.parse(verified.stdout)).toMatchObject({
      files: {
        ranked: join(verified.folder, "ranked.csv"),
        metrics: join(verified.folder, "metrics.csv"),
        summary: join(verified.folder, "summary.json"),
      },
    });
  });
});

describe("sweep", () => {
  it("says ahead how much it will be at most, prints the best, and keeps to it", async () => {
    const { folder, stderr, stdout, summary } = await run("ahead", "sweep", [
      ...FEW,
      "--nodes",
      "z,mlpOut",
      "--positions",
      "roles",
      "--json",
    ]);
    // Six layers of four heads and an MLP, four roles.
    const [, runs, most] =
      /^atp: sweep: 120 nodes × 4 pairs: at most (\d+) patched runs, (\d+) forward equivalents$/m.exec(
        stderr,
      ) ?? [];
    expect(runs).toBe("480");
    const { forwardEquivalents } = z
      .object({ forwardEquivalents: z.object({ estimate: z.literal(0), verify: z.number() }) })
      .parse(await summary());
    expect(forwardEquivalents.verify).toBeGreaterThan(8);
    expect(forwardEquivalents.verify).toBeLessThanOrEqual(Number(most));
    expect(stderr.indexOf("at most")).toBeLessThan(stderr.indexOf("atp: load"));
    const printed = z
      .object({
        nodes: z.array(z.looseObject({ rank: z.number() })),
        files: z.record(z.string(), z.string()),
      })
      .parse(JSON.parse(stdout));
    // The file has all of them.
    expect(printed.nodes.map(({ rank }) => rank)).toEqual(
      Array.from({ length: 20 }, (_, place) => place + 1),
    );
    expect(printed.files.metrics).toBe(join(folder, "metrics.csv"));
  });

  it("gives the same effects however little memory a pass may take", async () => {
    const args = [...FEW, "--nodes", "z,mlpOut", "--positions", "roles"];
    const wide = await run("wide", "sweep", args);
    const narrow = await run("narrow", "sweep", [...args, "--activation-memory", "64KiB"]);
    const effects = async ({ rows }: typeof wide) =>
      new Map((await rows("ranked.csv")).map((row) => [row.node, Number(row.effect_mean)]));
    const [one, other] = [await effects(wide), await effects(narrow)];
    const nodes = [...one.keys()];
    expect(
      largestError(
        nodes.map((node) => other.get(node) ?? Number.NaN),
        [...one.values()],
      ),
    ).toBeLessThan(TOLERANCE);
    expect(await wide.summary()).toMatchObject({ options: { activationMemory: 2 ** 30 } });
    expect(await narrow.summary()).toMatchObject({ options: { activationMemory: 65536 } });
  });

  it("patches zeros with --source zero, and announces the draws of --source noise", async () => {
    const args = [...FEW, "--nodes", "mlpOut", "--positions", "all"];
    const zero = await run("zero", "sweep", [...args, "--source", "zero"]);
    const verified = await run("zero-verified", "verify", [
      ...FEW,
      "--source",
      "zero",
      "--node",
      "L5.mlpOut@*",
    ]);
    const [{ effect_mean }] = await verified.rows("ranked.csv");
    const row = (await zero.rows("ranked.csv")).find(({ node }) => node === "L5.mlpOut@*");
    expect(Math.abs(Number(row?.effect_mean) - Number(effect_mean))).toBeLessThan(TOLERANCE);

    const noise = ["--source", "noise", "--noise-at", "s2", "--noise-draws", "2"];
    const { stderr } = await run("noise", "sweep", [...args, ...noise]);
    // Patching layer l takes 6 − l of 6 layers: 3.5 forward passes for each pair and draw, and 2 unpatched.
    expect(stderr).toContain(
      `atp: sweep: 6 nodes × 4 pairs × 2 draws: at most 48 patched runs, ${8 * (2 + 3.5)} forward equivalents\n`,
    );
  });
});

describe("windows", () => {
  it.each([
    ["layers", 3, "roles"],
    ["positions", 2, "each"],
  ] as const)("of %s have the library's effects, and every metric", async (over, width, positions) => {
    const args = ["--nodes", "mlpOut", "--positions", positions, "--window", `${over}:${width}`];
    const { folder, rows, stdout, stderr, summary } = await run(`windows-${over}`, "sweep", [
      ...FEW,
      ...args,
      "--also-metric",
      "prob",
    ]);
    expect((await readdir(folder)).sort()).toEqual(["metrics.csv", "summary.json", "windows.csv"]);

    await startTestEngine();
    const model = await loadModel(DEMO);
    const pairs = samplePairs(await readPairs(IOI, model, metricByName("logit-diff").needs), 4, 0);
    const window = { over, width };
    const options = { nodes: "mlpOut", positions, window, alsoMetrics: ["prob"] };
    const ranking = await sweepWindows(model, pairs, options);
    model.dispose();
    const expected = [...rankedWindows(ranking)];
    // Four layers to begin with and four roles, or six layers and 14 positions.
    expect(expected.length).toBe(over === "layers" ? 4 * 4 : 6 * 14);
    const written = await rows("windows.csv");
    expect(Object.keys(written[0])).toEqual([...WINDOWS_HEADER, "run"]);
    expect(
      written.map((row) => [
        row.window,
        row.first_layer,
        row.last_layer,
        row.first_position,
        row.last_position,
      ]),
    ).toEqual(
      expected.map((row) =>
        [row.window, row.firstLayer, row.lastLayer, row.firstPosition, row.lastPosition].map(String),
      ),
    );
    for (const [column, field] of [
      ["effect_contribution", "effectContribution"],
      ["effect_mean", "effectMean"],
      ["effect_se", "effectSe"],
      ["recovered", "recovered"],
      ["pairs", "pairs"],
    ] as const) {
      const wanted = expected.map((row) => row[field] ?? Number.NaN);
      expect(largestError(numbers(written, column), wanted), column).toBeLessThan(TEXT_TOLERANCE);
    }

    const metrics = (await rows("metrics.csv")).slice(2);
    expect(metrics.map((row) => row.window)).toEqual(expected.map((row) => row.window));
    const changes = numbers(metrics, "logit-diff").map(
      (value, row) => value - Number(metrics[row]["logit-diff_base"]),
    );
    expect(largestError(changes, numbers(written, "effect_mean"))).toBeLessThan(TEXT_TOLERANCE);

    expect(await summary()).toMatchObject({
      command: "sweep",
      options: { window },
      alsoMetrics: [{ name: "prob" }],
      windows: { over, width, ranked: expected.length },
      forwardEquivalents: { estimate: 0, verify: ranking.forwardEquivalents },
    });
    expect(stderr).toMatch(
      new RegExp(
        `^atp: sweep: ${expected.length} windows × 4 pairs: at most ${4 * expected.length} patched runs`,
        "m",
      ),
    );
    expect(stdout).toMatch(/^rank +window +contribution +effect +± se +recovered$/m);
    expect(stdout).toMatch(
      new RegExp(`^windows +${expected.length} of ${width} ${over}, patched exactly$`, "m"),
    );
    expect(stdout).toContain(`   1  ${expected[0].window} `);
  });

  it("are printed as one JSON document with --json", async () => {
    const { folder, rows, stdout } = await run("windows-json", "sweep", [
      ...FEW,
      "--nodes",
      "z",
      "--positions",
      "all",
      "--window",
      "layers:6",
      "--json",
    ]);
    const printed = z
      .object({
        rows: z.array(z.looseObject({ window: z.string(), effectMean: z.number() })),
        files: z.record(z.string(), z.string()),
      })
      .parse(JSON.parse(stdout));
    const written = await rows("windows.csv");
    expect(printed.rows.map(({ window }) => window)).toEqual(written.map(({ window }) => window));
    expect(written.map(({ window }) => window).sort()).toEqual(
      [0, 1, 2, 3].map((head) => `L0-5.z[${head}]@*`),
    );
    expect(printed.files).toEqual({
      windows: join(folder, "windows.csv"),
      metrics: join(folder, "metrics.csv"),
      summary: join(folder, "summary.json"),
    });
  });
});

describe("--help", () => {
  it("of sweep has the columns and the forms of windows, within the width of a terminal", async () => {
    const { code, stdout } = await runHere(["sweep", "--help"]);
    expect(code).toBe(0);
    for (const column of [...RANKED_HEADER, ...WINDOWS_HEADER]) expect(stdout).toContain(column);
    for (const text of ["metrics.csv", "{metric}_base", "layers:3", "positions:3", "L3-5.mlpOut@7"]) {
      expect(stdout).toContain(text);
    }
    expect(Math.max(...stdout.split("\n").map((line) => line.length))).toBeLessThanOrEqual(104);
  });

  it.each(["estimate", "localize", "verify", "sweep", "faithfulness", "path"])(
    "of %s has --activation-memory",
    async (command) => {
      const { stdout } = await runHere([command, "--help"]);
      expect(stdout).toContain("--activation-memory <size>");
    },
  );

  it("has examples that run as they stand", async () => {
    const cwd = await temporaryFolder();
    await symlink(join(projectRoot, "models"), join(cwd, "models"));
    for (const example of EXAMPLES.sweep) {
      const [, ...args] = example.split(" ");
      const { code, stderr } = await runHere([...args, "--max-pairs", "2", "--engine", testBackend()], {
        cwd,
      });
      expect(stderr).not.toMatch(/error|warning/);
      expect(code).toBe(0);
    }
  });
});

describe("exit code 2 and one line on stderr for", () => {
  it.each([
    [
      "a metric that is there twice",
      ["sweep", "--metric", "prob", "--also-metric", "kl", "prob"],
      "metricsByName: expected each metric once, got prob twice",
    ],
    [
      "a further metric that is none",
      ["verify", "--node", "L0.z[3]@end", "--also-metric", "loss"],
      "option '--also-metric <name...>' argument 'loss' is invalid.",
    ],
    [
      "a window of nothing that is known",
      ["sweep", "--window", "heads:2"],
      'parseWindowShape: expected layers or positions, a colon and a width of 2 or more, such as layers:3, got "heads:2"',
    ],
    [
      "more layers than there are",
      ["sweep", "--window", "layers:7"],
      "windowStarts: expected windows of 2 to 6 layers, as many as there are, got 7",
    ],
    [
      "windows over positions of roles",
      ["sweep", "--window", "positions:2", "--positions", "roles"],
      'windowStarts: expected positions "each" for windows over positions, got io, s1, s2',
    ],
    [
      "a site that the model does not have",
      ["sweep", "--nodes", "residMid"],
      "makeNodeSpace: expected sites of a gpt_neox model with parallel residual",
    ],
    [
      "an unknown site",
      ["sweep", "--nodes", "heads"],
      'parseSites: expected "all" or sites among residPre, q, k, v, z, attnOut, residMid, neuron, mlpOut, residPost, got "heads"',
    ],
    ...["", "0", "-1", "512MB", "MiB", "0.00001KiB", "1e3", "99999999GiB"].map(
      (size) =>
        [
          `a memory of "${size}"`,
          ["estimate", `--activation-memory=${size}`],
          `option '--activation-memory <size>' argument '${size}' is invalid. Expected bytes, or a number of KiB, MiB or GiB, such as 512MiB.`,
        ] as const,
    ),
  ] as const)("%s", async (_what, [command, ...args], expected) => {
    const { code, stdout, stderr } = await runHere([command, ...FEW, "--out", join(out, "none"), ...args]);
    expect(stderr).toMatch(/^atp: error: [^\n]+\n$/);
    expect(stderr).toContain(expected);
    expect(stdout).toBe("");
    expect(code).toBe(2);
    expect(await readdir(out)).not.toContain("none");
  });

  it("pairs without the tokens that a further metric needs", async () => {
    const pairs = join(out, "no-wrong.jsonl");
    const pair = { clean: [1, 2], corrupted: [1, 3], answers: [4] };
    await writeFile(pairs, `${JSON.stringify(pair)}\n`);
    const args = ["--model", DEMO, "--pairs", pairs, "--metric", "prob", "--also-metric", "prob-diff"];
    const { code, stderr } = await runHere(["sweep", ...args, "--out", join(out, "none")]);
    expect(stderr).toBe(
      `atp: error: checkPairsForMetric: ${pairs}:1: metric prob-diff expected "wrong" tokens, got none\n`,
    );
    expect(code).toBe(2);
  });

  it.each([
    ["sweep", "metrics.csv", ["sweep"]],
    ["sweep with windows", "windows.csv", ["sweep", "--window", "layers:2"]],
    ["verify", "metrics.csv", ["verify", "--node", "L0.z[3]@end", "--also-metric", "prob"]],
  ] as const)("a folder where a result of %s should go", async (what, file, [command, ...args]) => {
    const taken = join(out, `taken by ${what}`);
    await mkdir(join(taken, file), { recursive: true });
    const { code, stderr } = await runHere([command, ...FEW, ...args, "--out", taken]);
    expect(stderr).toBe(
      `atp: error: --out: expected a file that can be replaced, got the folder ${join(taken, file)}\n`,
    );
    expect(code).toBe(2);
  });
});
