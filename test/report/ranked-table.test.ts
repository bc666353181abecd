import { describe, expect, it } from "vitest";
import { rankedTable, withSign } from "../../src/report/ranked-table.js";
import { visibleText } from "../../src/shown-text.js";
import { row } from "./rows.js";

describe("rankedTable", () => {
  it("lines numbers up, with signs, estimate beside effect, recovered as a percentage", () => {
    const table = rankedTable([
      row({
        token: " Paul",
        contribution: 12.3456,
        effectMean: -12.3456,
        effectSe: 0.5,
        estimateMean: 10,
        estimateSe: 0.25,
        recovered: 0.5432,
        verified: true,
      }),
      row({ rank: 2, node: "L10.mlpOut@*", contribution: 0.5, estimateMean: -0.001, recovered: -0.02 }),
    ]);
    expect(table.split("\n")).toEqual([
      "rank  node          token    contribution  effect  ± se  estimate  ± se  recovered",
      '   1  L3.z[5]@12    " Paul"         12.35  -12.35  0.50    +10.00  0.25    +54.3 %',
      "   2  L10.mlpOut@*                   0.50                   -0.00           -2.0 %",
    ]);
  });

  it("leaves out columns without values, and switches to powers of ten for tiny numbers", () => {
    const table = rankedTable([row({ contribution: 1.5e-7, estimateMean: -1.5e-7 })]);
    expect(table.split("\n")).toEqual([
      "rank  node        contribution   estimate",
      "   1  L3.z[5]@12      1.500e-7  -1.500e-7",
    ]);
  });

  it("shows not-a-number as such", () => {
    expect(rankedTable([row({ contribution: Number.NaN, estimateMean: Number.NaN })])).toContain("NaN");
  });

  it("cannot be broken by a token", () => {
    const tokens = ["\n", "\t\r", "\u001b[2J", "\u202eabc", "\u0085", "\u2028", "日本", "|", '"'];
    const lines = rankedTable(tokens.map((token) => row({ token }))).split("\n");
    expect(lines.length).toBe(tokens.length + 1);
    expect(lines.join("")).not.toMatch(/[\p{C}\p{Zl}\p{Zp}]/u);
    // The wide characters take two places each.
    const places = lines.slice(1).map((line) => line.indexOf("0.500") + (line.includes("日本") ? 2 : 0));
    expect(new Set(places).size).toBe(1);
  });
});

describe("visibleText", () => {
  it("quotes as JSON does, and escapes what a terminal would obey", () => {
    expect(visibleText(" Paul")).toBe('" Paul"');
    expect(visibleText('a"\\\n')).toBe('"a\\"\\\\\\n"');
    expect(visibleText("\u001b\u0085\u202e")).toBe('"\\u001b\\u0085\\u202e"');
    expect(visibleText("\u{e0041}é😀")).toBe('"\\udb40\\udc41é😀"'); // a tag character, outside the basic plane
  });
});

describe("withSign", () => {
  it("shows the sign of both, and of what rounds to zero", () => {
    expect([1, -1, -0.001, 0].map((value) => withSign(value, 1))).toEqual(["+1.0", "-1.0", "-0.0", "0.0"]);
  });
});

it("says over how many pairs a row is, where some row lacks pairs of the run", () => {
  const rows = [row({ pairs: 4, recovered: 1 }), row({ rank: 2, pairs: 3, recovered: 0.5 })];
  const [heads, first, second] = rankedTable(rows, () => false, 4).split("\n");
  expect(heads.endsWith("recovered  pairs")).toBe(true);
  expect(first.endsWith("+100.0 %      4")).toBe(true);
  expect(second.endsWith("+50.0 %      3")).toBe(true);
  expect(rankedTable(rows.slice(0, 1), () => false, 4)).not.toContain("pairs");
});
