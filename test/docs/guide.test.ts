/** The guide runs as it stands, from top to bottom, and its excerpts are what the commands print. */

import { spawn } from "node:child_process";
import { readFile, symlink } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { makeProgram } from "../../src/cli/program.js";
import { CLI_FILE, resultOf } from "../cli/run-cli.js";
import { projectRoot } from "../support/child-process.js";
import { testBackend } from "../support/engine.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { missingLine } from "./excerpts.js";
import { readPage } from "./page.js";

const { fences, prose } = readPage("guide.md");

/** How the guide calls the command line, in a checkout. */
const CALL = /^npx tsx src\/cli\.ts (\w+)/gm;

const program = makeProgram({ signal: new AbortController().signal, verbose: false });

/** The same block for a shell in another folder, on the engine of the tests: a reader's runs on the best one there is. */
function toRun(block: string): string {
  const atp = `'${process.execPath}' '${CLI_FILE}'`;
  return block.replaceAll(CALL, (_, name: string) => {
    const command = program.commands.find((candidate) => candidate.name() === name);
    const hasEngine = command?.options.some(({ long }) => long === "--engine");
    return `${atp} ${name}${hasEngine ? ` --engine ${testBackend()}` : ""}`;
  });
}

function runBlock(block: string, cwd: string) {
  // Vitest's own settings for its workers do not concern the child.
  const { NODE_OPTIONS: _, ...env } = process.env;
  return resultOf(spawn("sh", ["-e", "-c", toRun(block)], { cwd, env }));
}

/** The commands that a block calls. */
function commandsOf(block: string): string[] {
  return [...block.matchAll(CALL)].map(([, command = ""]) => command);
}

describe("docs/guide.md", () => {
  it("runs in order, and prints what its excerpts show", { timeout: 600_000 }, async () => {
    const cwd = await temporaryFolder();
    await symlink(join(projectRoot, "models"), join(cwd, "models"));
    let printed = "";
    let checked = 0;
    for (const { language, text, line } of fences) {
      if (language === "text") {
        expect(missingLine(text, printed), `line of the excerpt at docs/guide.md:${line} not printed`).toBe(
          undefined,
        );
        checked++;
        continue;
      }
      const { code, stdout, stderr } = await runBlock(text, cwd);
      expect(stderr, `docs/guide.md:${line}`).not.toMatch(/error|warning/i);
      expect(code, `docs/guide.md:${line}: ${stderr}`).toBe(0);
      printed = stdout;
    }
    expect(checked).toBe(fences.filter(({ language }) => language === "text").length);
    // What the last step tells the reader to open.
    expect(await readFile(join(cwd, "sixteen/report.html"), "utf8")).toContain("L0.z[3]@end");
  });

  it("shows every step from the first look to the report", () => {
    const commands = fences
      .filter(({ language }) => language === "sh")
      .flatMap(({ text }) => commandsOf(text));
    expect(commands).toEqual([
      "info",
      "estimate",
      "localize",
      ...["verify", "verify", "verify"],
      "localize",
      "faithfulness",
      "path",
      "report",
    ]);
    expect(new Set(fences.map(({ language }) => language))).toEqual(new Set(["sh", "text"]));
  });

  it("speaks of numbers that the excerpts or commands show", () => {
    const shown = fences.map(({ text }) => text).join("\n");
    // With a decimal point or three digits and more: smaller ones count layers, heads and rows.
    const numbers = prose.match(/\d+\.\d+|\d{3,}/g) ?? [];
    expect(numbers.length).toBeGreaterThan(10);
    const known = new Set(shown.match(/\d+(?:,\d{3})*(?:\.\d+)?/g));
    expect(numbers.filter((number) => !known.has(number))).toEqual([]);
  });
});

describe("comparing excerpts", () => {
  const OUTPUT =
    "metric  +1.25 → -3.00\nrank  node  effect\n   1  L0.z[3]@end  -1.5 %\nclaim  less than 0.548.";
  it.each([
    ["all lines, other spaces", "metric +1.25 → -3.00\n…\n1 L0.z[3]@end -1.5 %", undefined],
    ["the last digit by one", "metric  +1.26 → -2.99", undefined],
    ["the end of a sentence", "claim less than 0.549.", undefined],
    ["the last digit by two", "metric  +1.27 → -3.00", "metric  +1.27 → -3.00"],
    ["another number of digits", "metric  +1.2 → -3.00", "metric  +1.2 → -3.00"],
    ["another count", "   2  L0.z[3]@end  -1.5 %", "   2  L0.z[3]@end  -1.5 %"],
    ["another sign", "   1  L0.z[3]@end  +1.5 %", "   1  L0.z[3]@end  +1.5 %"],
    ["another word", "   1  L0.z[2]@end  -1.5 %", "   1  L0.z[2]@end  -1.5 %"],
    ["another order", "rank  node  effect\nmetric +1.25 → -3.00", "metric +1.25 → -3.00"],
  ])("%s", (_, excerpt, missing) => {
    expect(missingLine(excerpt, OUTPUT)).toBe(missing);
  });
});
