/** Reports without a browser: what is read, what is refused, what is computed for the page. */

import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Script } from "node:vm";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readAssets } from "../../../src/report/html/assets.js";
import { html, scriptCode, scriptJson } from "../../../src/report/html/markup.js";
import { missedNodes } from "../../../src/report/html/missed-nodes.js";
import {
  cellNumber,
  measuredNumber,
  plainNumber,
  signedNumber,
  signedPercent,
} from "../../../src/report/html/number-text.js";
import { positionAxis } from "../../../src/report/html/position-axis.js";
import { collectRanked } from "../../../src/report/html/ranked-content.js";
import { writeReport } from "../../../src/report/html/write-report.js";
import { summarizePrompts } from "../../../src/report/prompt-summary.js";
import { writeRankedCsv } from "../../../src/report/ranked-csv.js";
import { RUN, runCli, runHere } from "../../cli/run-cli.js";
import { projectRoot } from "../../support/child-process.js";
import { row } from "../rows.js";
import {
  CERTIFICATE,
  FAITHFULNESS,
  FIGURE_IDS,
  HOSTILE,
  rankedList,
  SUMMARY,
  writeResults,
} from "./results.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "atpkit-report-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const text = fc.string({ unit: "binary" });

describe("text from data", () => {
  it("comes out of embedded JSON as it went in, and cannot end a script", () => {
    fc.assert(
      fc.property(fc.oneof(text, fc.constantFrom(...HOSTILE)), (value) => {
        const { text: json } = scriptJson({ value });
        expect(json).not.toMatch(/[<\u2028\u2029]/);
        expect(JSON.parse(json)).toEqual({ value });
      }),
    );
  });

  it("is escaped in HTML; markup made here is not", () => {
    expect(html`<p title="${"\"'&"}">${["<b>", html`<i>${"</i>"}</i>`]}${undefined}</p>`.text).toBe(
      '<p title="&quot;&#39;&amp;">&lt;b&gt;<i>&lt;/i&gt;</i></p>',
    );
  });

  it("of a script keeps its meaning without what could end its element", () => {
    const code = scriptCode('result = "</script></SCRIPT><!--" + "x";\r\n//# sourceMappingURL=a.map\n');
    expect(code).not.toMatch(/<\/script|<!--|sourceMapping|\r/i);
    const context: { result?: string } = {};
    new Script(code).runInNewContext(context);
    expect(context.result).toBe("</script></SCRIPT><!--x");
  });
});

describe("numbers for people", () => {
  it("have four digits, a minus that is one, and a plus", () => {
    expect(
      [0.5, 47610, -1234.5678, 0.000012345, 0, Number.NaN, Number.NEGATIVE_INFINITY].map(plainNumber),
    ).toEqual(["0.5", "47,610", "−1,235", "1.23e−5", "0", "NaN", "−Infinity"]);
    expect([2.32, 0.5, -23.092464].map(measuredNumber)).toEqual(["2.320", "0.5000", "−23.09"]);
    expect([2.32, -0.5, 0].map(signedNumber)).toEqual(["+2.320", "−0.5000", "0"]);
    expect([1.0154979, -0.0004].map(signedPercent)).toEqual(["+101.5 %", "−0.0 %"]);
    expect([cellNumber(-23.092, 23.1), cellNumber(0.0432, 0.103), cellNumber(412.6, 500)]).toEqual([
      "−23.1",
      "+0.043",
      "+413",
    ]);
  });

  it("are the same in the page's own script", async () => {
    const file = join(projectRoot, "src/report/html/page/numbers.js");
    const page: Record<string, (...values: number[]) => string> = await import(pathToFileURL(file).href);
    fc.assert(
      fc.property(fc.double(), fc.double({ min: 1e-6, max: 1e6 }), (value, limit) => {
        expect(page.plainText(value)).toBe(plainNumber(value));
        expect(page.measuredText(value)).toBe(measuredNumber(value));
        expect(page.signedText(value)).toBe(signedNumber(value));
        expect(page.percentText(value)).toBe(signedPercent(value));
        if (Number.isFinite(value)) expect(page.shortText(value, limit)).toBe(cellNumber(value, limit));
      }),
    );
  });
});

describe("missed nodes", () => {
  it("are those whose place by estimate is more than twice their place by effect plus 5", () => {
    // Ten nodes with effects 10 … 1. By estimate the first is at place 8 > 2·1 + 5, the second at 9 ≤ 2·2 + 5.
    const estimates = [3, 2, 10, 9, 8, 7, 6, 5, 4, 1];
    const compared = estimates.map((estimateContribution, place) => ({
      node: `L0.z[${place}]@0`,
      effectContribution: 10 - place,
      estimateContribution,
      effectMean: -1,
    }));
    expect(missedNodes(compared)).toEqual([0]);
    expect(
      missedNodes(compared.map((node) => ({ ...node, estimateContribution: node.effectContribution }))),
    ).toEqual([]);
  });
});

describe("the content of a list", () => {
  it("adds heads up over positions, exact values before estimates, over all rows", async () => {
    const z = (position: number, contribution: number) =>
      row({ node: `L3.z[5]@${position}`, position, contribution, estimateMean: -contribution });
    const rows = [
      { ...z(0, 4), verified: true, effectMean: 4, effectContribution: 4 },
      z(1, 2),
      z(2, 1),
      row({
        node: "L0.mlpOut@1",
        site: "mlpOut" as const,
        layer: 0,
        position: 1,
        index: undefined,
        contribution: 0.5,
        estimateMean: 0.5,
      }),
    ].map(({ index, ...each }, place) => ({
      ...each,
      ...(index !== undefined && { index }),
      rank: place + 1,
    }));
    const file = join(folder, "ranked.csv");
    await writeRankedCsv(file, rows);
    const { cells, columns, total } = await collectRanked(file, 2);
    // 4 exact − 2 − 1 estimated
    expect(cells.get("z")).toEqual([{ node: "L3.z[5]", layer: 3, index: 5, value: 1, verified: false }]);
    expect(cells.get("mlpOut")).toMatchObject([{ value: 0.5, position: 1 }]);
    expect(total).toBe(4);
    expect(columns.numbers.contribution).toEqual([4, 2]);
    expect(columns.numbers.effect_se).toBeUndefined();
    expect(columns.numbers.effect_mean).toEqual([4, null]);
  });

  it("keeps verified rows behind the limit", async () => {
    const rows = rankedList();
    const late = rows.map((each, place) => (place === 20 ? { ...each, verified: true } : each));
    const file = join(folder, "ranked.csv");
    await writeRankedCsv(file, late);
    const { columns } = await collectRanked(file, 15);
    expect(columns.numbers.rank).toEqual([...Array.from({ length: 15 }, (_, place) => place + 1), 21]);
  });
});

describe("prompts", () => {
  const pair = (clean: number[], corrupted: number[], roles: Record<string, number>) => ({
    clean,
    corrupted,
    answers: [],
    wrong: [],
    roles: new Map(Object.entries(roles)),
    metricPosition: 2,
    origin: "test",
  });

  it("are those of the first pair, with what differs in any", () => {
    const pairs = [
      pair([1, 2, 3], [1, 5, 3], { s: 1, end: 2 }),
      pair([4, 2, 3], [6, 2, 3], { s: 0, end: 2, io: 1 }),
    ];
    expect(summarizePrompts(pairs, undefined)).toEqual({
      length: 3,
      clean: ["1", "2", "3"],
      corrupted: ["1", "5", "3"],
      differing: [0, 1],
      roles: { s: 1, end: 2, io: 1 },
      differingRoles: ["s"],
    });
    expect(summarizePrompts(pairs, undefined, () => [2])).toMatchObject({
      differing: [0, 1, 2],
      differingRoles: ["s", "end"],
    });
    expect(summarizePrompts([...pairs, pair([1], [2], {})], undefined)).toBeUndefined();
  });

  it("stand on the axis in order, cut and isolated; without them positions are numbers and roles names", () => {
    const prompts = {
      length: 3,
      clean: ["<s>", "a long token \u202e it is", "x"],
      corrupted: ["<s>", "b", "x"],
      differing: [1],
      roles: { end: 2, constructor: 0 },
      differingRoles: ["end"],
    };
    expect(positionAxis(["*", 1, "end", 0, "other"], prompts).map(({ lines }) => lines)).toEqual([
      ["0", '\u2068"<s>"\u2069'],
      ["▲ 1", '\u2068"a long token \\u202e…"\u2069', '≠ \u2068"b"\u2069'],
      ["▲ end", '\u2068"x"\u2069'],
      ["other"],
      ["all positions"],
    ]);
    expect(positionAxis(["end", 10, 9, "toString"], undefined).map(({ lines }) => lines)).toEqual([
      ["9"],
      ["10"],
      ["end"],
      ["toString"],
    ]);
  });
});

describe("figures as SVG", () => {
  it("are well-formed and have hostile text as text", async () => {
    await writeResults(folder);
    const { figures } = await writeReport(folder, { svg: true });
    expect(figures.map((path) => path.slice(folder.length + 1))).toEqual(
      FIGURE_IDS.map((id) => `report-${id}.svg`),
    );
    const drawing = await readFile(figures[0], "utf8");
    expect(drawing).not.toMatch(/<script|<img/);
    expect(drawing).toContain("&quot;&lt;|endoftext|&gt;&quot;");
    expect(drawing).toContain("▲ 2");
    // Three layers at eight positions, a coloured cell each.
    expect(drawing.match(/<path[^>]*fill="rgb\((?!0,0,0\))/g)?.length).toBe(24);
  });
});

describe("the page's scripts", () => {
  it("are all embedded, and parse as one", async () => {
    const { scripts } = await readAssets();
    for (const script of scripts) expect(() => new Script(script)).not.toThrow();
    const own = scripts.at(-1) ?? "";
    const sources = (await readdir(join(projectRoot, "src/report/html/page"))).filter((name) =>
      name.endsWith(".js"),
    );
    expect(sources.length).toBeGreaterThan(5);
    for (const name of sources) {
      const source = await readFile(join(projectRoot, "src/report/html/page", name), "utf8");
      const header = /@file .*/.exec(source)?.[0];
      expect(own).toContain(header ?? name);
    }
    expect(own).not.toMatch(/^(import|export) /m);
  });
});

describe("a folder that cannot be shown", () => {
  it.each([
    [
      "without results",
      async () => {},
      "expected results, ranked.csv, windows.csv or faithfulness.json, got none of them",
    ],
    [
      "with a summary that is not JSON",
      (at: string) => writeFile(join(at, "summary.json"), "{"),
      "summary.json: expected JSON, got Expected property name",
    ],
    [
      "with a summary without its metric's name",
      (at: string) =>
        writeFile(join(at, "summary.json"), JSON.stringify({ ...SUMMARY, metric: { base: 1, source: 2 } })),
      "summary.json: metric.name: expected text, got nothing",
    ],
    [
      "with a certificate whose look has no samples",
      (at: string) =>
        writeFile(
          join(at, "certificate.json"),
          JSON.stringify({
            ...CERTIFICATE,
            sampling: { probability: 0.1, looks: [{ look: 1, samples: "x" }] },
          }),
        ),
      "certificate.json: sampling.looks[0].round: expected a number, got nothing",
    ],
    [
      "with a curve of texts",
      (at: string) =>
        writeFile(join(at, "faithfulness.json"), JSON.stringify({ ...FAITHFULNESS, points: "many" })),
      'faithfulness.json: points: expected an array of points, got "many"',
    ],
    [
      "with a list cut off",
      (at: string) => writeFile(join(at, "ranked.csv"), "rank,node\n"),
      "ranked.csv:1: expected the columns rank,node,site",
    ],
    [
      "with metrics that lack a cell",
      async (at: string) => {
        await writeRankedCsv(join(at, "ranked.csv"), rankedList());
        await writeFile(join(at, "metrics.csv"), "node,pairs,prob\nbase,4,1\nsource,4\n");
      },
      "metrics.csv: row 2: expected 3 cells, got 2",
    ],
  ])("%s is refused with exit code 2 and leaves no page", async (_, write, message) => {
    await write(folder);
    const { code, stdout, stderr } = await runHere(["report", folder]);
    expect(stderr).toContain(message);
    expect(code).toBe(2);
    expect(stdout).toBe("");
    expect(await readdir(folder)).not.toContain("report.html");
  });

  it("that is none is named", async () => {
    const { code, stderr } = await runHere(["report", join(folder, "none")]);
    expect(stderr).toContain(`expected a folder of results, got ${join(folder, "none")}`);
    expect(code).toBe(2);
  });
});

describe("a folder with files of several runs", () => {
  it("shows those of the last, and says what it leaves out", async () => {
    await writeResults(folder);
    await writeFile(join(folder, "summary.json"), JSON.stringify({ ...SUMMARY, command: "localize" }));
    const { code, stdout } = await runHere(["report", folder, "--json"]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      page: join(folder, "report.html"),
      figures: [],
      warnings: expect.arrayContaining([expect.stringContaining("metrics.csv is not shown: ")]),
    });
    const page = await readFile(join(folder, "report.html"), "utf8");
    expect(page).toContain(
      "metrics.csv is not shown: atp localize did not write it, so it is of an earlier run",
    );
    expect(page).not.toContain('id="metrics-table"');
  });

  it("of windows shows them, not the list beside them", async () => {
    await writeResults(folder);
    const windows = { over: "layers", width: 3, ranked: 1 };
    await writeFile(join(folder, "summary.json"), JSON.stringify({ ...SUMMARY, nodes: undefined, windows }));
    await writeFile(
      join(folder, "windows.csv"),
      "rank,window,site,first_layer,last_layer,index,first_position,last_position,effect_contribution,effect_mean,effect_se,recovered,pairs\n1,L0-2.mlpOut@7,mlpOut,0,2,,7,7,1.5,-1.5,,0.25,4\n",
    );
    expect((await runHere(["report", folder])).code).toBe(0);
    const page = await readFile(join(folder, "report.html"), "utf8");
    expect(page).toContain("1 windows of 3 layers, patched exactly");
    expect(page).toContain('id="windows-table"');
    expect(page).not.toContain('id="ranked-table"');
  });
});

describe("--report", () => {
  it("of a run writes the page of what the run wrote, with the tokens of its prompts", async () => {
    const args = [
      "verify",
      ...RUN,
      "--max-pairs",
      "2",
      "--node",
      "L0.z[3]@end",
      "L0.mlpOut@10",
      "--out",
      folder,
    ];
    const { code, stdout, stderr } = await runCli([...args, "--also-metric", "prob", "--report", "--json"]);
    expect(stderr).not.toContain("error");
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ files: { report: join(folder, "report.html") } });
    const { prompts } = JSON.parse(await readFile(join(folder, "summary.json"), "utf8"));
    // The pairs of models/demo/pairs/ioi.jsonl differ in the second name alone.
    expect(prompts).toMatchObject({ length: 15, differing: [10], differingRoles: ["s2"] });
    expect(prompts.roles).toMatchObject({ s2: 10, end: 14 });
    expect(prompts.clean).toHaveLength(15);
    expect(prompts.clean[0]).toBe("<|endoftext|>");
    expect(prompts.clean.at(-1)).toBe("to");
    const page = await readFile(join(folder, "report.html"), "utf8");
    expect(page).toContain("2 ranked, all of them verified by exact patching");
    expect(page).toContain('id="metrics-table"');
  });

  it("finds out before the run that the page cannot be written", async () => {
    await mkdir(join(folder, "report.html"));
    const { code, stderr } = await runHere(["estimate", ...RUN, "--out", folder, "--report"]);
    expect(code).toBe(2);
    expect(stderr).toContain(
      `expected a file that can be replaced, got the folder ${join(folder, "report.html")}`,
    );
  });
});
