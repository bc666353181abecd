/** The help is enough to work from: it is complete, and what it shows runs. */

import { symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { EXAMPLES, PAIR_EXAMPLE } from "../../src/cli/help.js";
import { SITES } from "../../src/model/sites.js";
import { METRICS } from "../../src/prompts/metrics/index.js";
import { RANKED_HEADER } from "../../src/report/ranked-csv.js";
import { projectRoot, runNode } from "../support/child-process.js";
import { testBackend } from "../support/engine.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { runCli, runHere } from "./run-cli.js";

/** Fits a terminal of a usual width. */
const MAX_WIDTH = 104;

describe("--help", () => {
  it.each(["estimate", "localize", "verify"])(
    "of %s has metrics, sites, columns and formats",
    async (command) => {
      const { code, stdout, stderr } = await runHere([command, "--help"]);
      expect(code).toBe(0);
      expect(stderr).toBe("");
      for (const { name, description } of METRICS)
        expect(stdout).toContain(`${name.padEnd(10)}  ${description}`);
      for (const site of SITES) expect(stdout).toMatch(new RegExp(`^ {2}${site} +\\S`, "m"));
      for (const column of RANKED_HEADER) expect(stdout).toContain(column);
      expect(stdout.replaceAll("\n  ", "")).toContain(PAIR_EXAMPLE);
      expect(stdout).toMatch(/^Exit codes$/m);
      expect(Math.max(...stdout.split("\n").map((line) => line.length))).toBeLessThanOrEqual(MAX_WIDTH);
    },
  );

  it("of atp names the commands, the exit codes and the examples; --version is that of the package", async () => {
    const { stdout } = await runHere(["--help"]);
    for (const text of ["info", "estimate", "localize", "verify", "Exit codes", ...EXAMPLES.localize]) {
      expect(stdout).toContain(text);
    }
    expect((await runCli(["--version"])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it("is the same from sources, as `npm run atp` starts it", async () => {
    const fromSources = runNode(["--import", "tsx", "src/cli.ts", "info", "models/demo"]);
    expect(fromSources.exitCode).toBe(0);
    expect(fromSources.stdout).toBe((await runHere(["info", "models/demo"])).stdout);
  });
});

describe("the examples", () => {
  it("run as they stand, and so does the pair", { timeout: 120_000 }, async () => {
    const cwd = await temporaryFolder();
    await symlink(join(projectRoot, "models"), join(cwd, "models"));
    const { info, estimate, localize, verify } = EXAMPLES;
    // In this order: verify reads what localize has written.
    for (const example of [...info, ...estimate, ...localize, ...verify]) {
      const [, command, ...args] = example.replaceAll("'", "").split(" ");
      const quick = command === "info" ? [] : ["--max-pairs", "2", "--engine", testBackend()];
      const { code, stderr } = await runHere([command, ...args, ...quick], { cwd });
      expect(stderr).not.toMatch(/error|warning/);
      expect(code).toBe(0);
    }
    await writeFile(join(cwd, "pair.jsonl"), PAIR_EXAMPLE);
    const args = ["--model", "models/demo", "--pairs", "pair.jsonl", "--engine", testBackend(), "--json"];
    const { code, stdout } = await runHere(["verify", ...args, "--node", "L0.mlpOut@noun"], { cwd });
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ pairs: { used: 1 }, nodes: [{ node: "L0.mlpOut@noun" }] });
  });
});
