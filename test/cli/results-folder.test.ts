/** A folder of results is one run's: whatever was there before, whoever else writes to it, and wherever a run is killed. */

import { spawn } from "node:child_process";
import { copyFile, mkdir, readdir, readFile, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import { projectRoot } from "../support/child-process.js";
import { testBackend } from "../support/engine.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { CLI_FILE, DEMO, IOI, RUN, resultOf, rowsOf, runCli, runHere } from "./run-cli.js";

const AGREEMENT = join(DEMO, "pairs/agreement.jsonl");
const FEW = [...RUN, "--max-pairs", "2"];
const ELSEWHERE = ["--model", DEMO, "--pairs", AGREEMENT, "--max-pairs", "2", "--engine", testBackend()];

async function summaryOf(folder: string) {
  return JSON.parse(await readFile(join(folder, "summary.json"), "utf8"));
}

async function pageOf(folder: string): Promise<string> {
  const { code, stderr } = await runHere(["report", folder]);
  expect(code).toBe(0);
  const page = await readFile(join(folder, "report.html"), "utf8");
  // What the page says of a folder that is not as a finished run leaves it, the command says, too.
  expect(stderr.includes("this run broke off")).toBe(page.includes("this run broke off"));
  expect(stderr.includes("is not shown")).toBe(page.includes("is not shown"));
  return page;
}

describe("a list over an earlier one", () => {
  it("takes away what was certain, patched and drawn of that one", { timeout: 60_000 }, async () => {
    const out = await temporaryFolder();
    const certain = ["--top-k", "3", "--confidence", "0.9", "--nodes", "mlpOut", "--report"];
    expect((await runHere(["localize", ...FEW, ...certain, "--out", out])).code).toBe(0);
    await runHere(["faithfulness", ...FEW, "--from", join(out, "ranked.csv"), "--out", out]);
    await runHere(["report", out, "--svg"]);
    const before = await readdir(out);
    for (const name of ["certificate.json", "faithfulness.json", "report.html", "report-faithfulness.svg"]) {
      expect(before).toContain(name);
    }
    // What is not its own stays, whatever it is called.
    await writeFile(join(out, "report-mine.svg"), "<svg/>");
    await writeFile(join(out, "manifest.json"), '{"name": "my page", "version": "1"}');
    await writeFile(join(out, "paths.csv"), "from,to\n1,2\n");

    const window = ["--window", "layers:3", "--nodes", "mlpOut"];
    const { code, stderr } = await runHere(["sweep", ...ELSEWHERE, ...window, "--out", out]);
    expect(code).toBe(0);
    expect(stderr).toContain(
      `atp: ${out}: removed faithfulness.json, faithfulness.csv, which belonged to an earlier list\n`,
    );
    expect((await readdir(out)).sort()).toEqual([
      "manifest.json",
      "metrics.csv",
      "paths.csv",
      "report-mine.svg",
      "summary.json",
      "windows.csv",
    ]);
    const page = await pageOf(out);
    expect(page).not.toMatch(/certain|How few nodes/);
  });

  it("leaves a curve of that very list, and paths of the same question", { timeout: 60_000 }, async () => {
    const out = await temporaryFolder();
    const list = ["estimate", ...FEW, "--nodes", "mlpOut", "--out", out];
    await runHere(list);
    await runHere(["faithfulness", ...FEW, "--from", join(out, "ranked.csv"), "--out", out]);
    const path = ["--sender", "L4.z[3]@*", "--receiver", "final"];
    expect((await runHere(["path", ...FEW, ...path, "--out", out])).code).toBe(0);
    await runHere(list);
    expect(await readdir(out)).toEqual(expect.arrayContaining(["faithfulness.json", "paths.json"]));
    // The list is in another order now: the curve is of none that is there.
    await runHere(["sweep", ...FEW, "--nodes", "mlpOut", "--out", out]);
    const left = await readdir(out);
    expect(left).not.toContain("faithfulness.json");
    expect(left).toContain("paths.json");
  });
});

describe("a file of another run", () => {
  it("is not shown, and the page says so", { timeout: 60_000 }, async () => {
    const [one, other] = [await temporaryFolder(), await temporaryFolder()];
    await runHere(["localize", ...FEW, "--nodes", "mlpOut", "--top-k", "2", "--out", one]);
    await runHere([
      "localize",
      ...ELSEWHERE,
      ...["--nodes", "mlpOut", "--top-k", "2", "--confidence", "0.9", "--out", other],
    ]);
    const [{ run }, { run: foreign }] = [await summaryOf(one), await summaryOf(other)];
    await copyFile(join(other, "certificate.json"), join(one, "certificate.json"));
    const page = await pageOf(one);
    expect(page).toContain(
      `certificate.json is not shown: it is of another run, ${foreign}; this one is ${run}`,
    );
    expect(page).not.toContain("<dt>certain</dt>");
    await copyFile(join(other, "ranked.csv"), join(one, "ranked.csv"));
    const refused = await runHere(["report", one]);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain(`ranked.csv is not shown: it is of another run, ${foreign}`);
  });

  it("that was put together from two is refused by its line", async () => {
    const [one, other] = [await temporaryFolder(), await temporaryFolder()];
    await runHere(["estimate", ...FEW, "--nodes", "mlpOut", "--out", one]);
    await runHere(["estimate", ...ELSEWHERE, "--nodes", "mlpOut", "--out", other]);
    const [first, second] = [await rowsOf(join(one, "ranked.csv")), await rowsOf(join(other, "ranked.csv"))];
    const lines = (await readFile(join(one, "ranked.csv"), "utf8")).split("\n");
    const foreign = lines[2].replace(first[0].run, second[0].run);
    await writeFile(join(one, "ranked.csv"), [lines[0], lines[1], foreign, ""].join("\n"));
    const { code, stderr } = await runHere(["report", one]);
    expect(code).toBe(2);
    expect(stderr).toContain(
      `ranked.csv:3: column "run": expected ${first[0].run} as in line 2: a list is one run's, got "${second[0].run}"`,
    );
  });
});

describe("--from", () => {
  const listed = async (args: readonly string[]) => {
    const folder = await temporaryFolder();
    await runHere(["estimate", ...args, "--nodes", "mlpOut", "--out", folder]);
    return { folder, file: join(folder, "ranked.csv") };
  };

  it.each([
    ["other pairs", ELSEWHERE, /pairs 2 of .*agreement\.jsonl \(now 2 of .*ioi\.jsonl\)/],
    ["another sample", [...FEW, "--seed", "9"], /pairs 2 of .*ioi\.jsonl, of which others were taken/],
    ["the other direction", [...FEW, "--direction", "denoising"], /direction denoising \(now noising\)/],
    ["zeros", [...FEW, "--source", "zero"], /source zero \(now prompt\)/],
  ])(
    "of a list of %s only chooses nodes, and says so in the table, the file and the page",
    async (_, args, difference) => {
      const { file } = await listed(args);
      const out = await temporaryFolder();
      const { code, stdout, stderr } = await runHere([
        "verify",
        ...FEW,
        ...["--from", file, "--top-k", "2", "--out", out],
      ]);
      expect(code).toBe(0);
      expect(stderr).toMatch(new RegExp(`atp: warning: .*${difference.source}`));
      const rows = await rowsOf(join(out, "ranked.csv"));
      expect(rows.map(({ verified, estimate_mean }) => [verified, estimate_mean])).toEqual([
        ["true", ""],
        ["true", ""],
      ]);
      const { list } = await summaryOf(out);
      expect(list.differs).toMatch(difference);
      expect(stdout).toMatch(/^list {7}.*only its choice and order of nodes is used, none of its numbers$/m);
      expect(await pageOf(out)).toMatch(/only its choice and order of nodes is used, none of its numbers/);
    },
  );

  it("of a list of the same question under another name takes its numbers over", async () => {
    const folder = await temporaryFolder();
    await copyFile(IOI, join(folder, "renamed.jsonl"));
    const { file } = await listed(FEW);
    const args = ["--model", DEMO, "--pairs", join(folder, "renamed.jsonl"), "--max-pairs", "2"];
    const { stderr } = await runHere([
      "verify",
      ...args,
      ...["--engine", testBackend(), "--from", file, "--top-k", "2", "--out", join(folder, "out")],
    ]);
    expect(stderr).not.toContain("warning");
    const rows = await rowsOf(join(folder, "out", "ranked.csv"));
    expect(rows.length).toBe((await rowsOf(file)).length);
    expect(rows.filter(({ verified }) => verified === "true").length).toBe(2);
    expect(rows.every(({ estimate_mean }) => estimate_mean !== "")).toBe(true);
  });

  it("does not put a curve, or paths, beside a list of another question", async () => {
    const { folder, file } = await listed(FEW);
    const other = [...FEW, "--seed", "9"];
    const curve = await runHere(["faithfulness", ...other, "--from", file, "--out", folder]);
    const paths = await runHere([
      "path",
      ...other,
      ...["--sender", "L4.z[3]@*", "--receiver", "final", "--out", folder],
    ]);
    for (const { code, stderr } of [curve, paths]) {
      expect(code).toBe(2);
      expect(stderr).toContain(
        `whose list is one that answers another question (run ${(await summaryOf(folder)).run})`,
      );
    }
    // In a folder of its own it says which list it is of.
    const out = await temporaryFolder();
    expect((await runHere(["faithfulness", ...other, "--from", file, "--out", out])).code).toBe(0);
    expect(await pageOf(out)).toMatch(/<dt>curve of<\/dt>.*which was computed with pairs 2 of/);
  });
});

describe("a folder that somebody else writes to", () => {
  it("is refused before anything is computed", async () => {
    const out = await temporaryFolder();
    const lock = join(out, "run.lock");
    await writeFile(lock, JSON.stringify({ pid: process.ppid, host: hostname() }));
    const { code, stderr } = await runHere(["estimate", ...FEW, "--nodes", "mlpOut", "--out", out]);
    expect(code).toBe(2);
    expect(stderr).toBe(
      `atp: error: lockFolder: expected a results folder that nobody else writes to, got ${out}, where process ${process.ppid} does (if it does not: remove ${lock})\n`,
    );
    expect(await readdir(out)).toEqual(["run.lock"]);
  });
});

describe("a folder that cannot be made", () => {
  it("is told at once, where the file system says that what is there is not", async () => {
    const { code, stderr } = await runHere(["estimate", ...FEW, "--nodes", "mlpOut", "--out", "/proc/x/y"]);
    expect(code).toBe(2);
    expect(stderr).toMatch(
      /^atp: error: --out: expected a folder that can be made, got \/proc\/x\/y: ENOENT/,
    );
  });
});

describe("a disk that takes no more", () => {
  it("is named with the file and in its own words, exit code 1; what is there says that it broke off", async () => {
    const out = join(await temporaryFolder(), "out");
    // Room for summary.json, not for 450 rows: in blocks of 512 bytes.
    const limited = spawn("sh", [
      ...["-c", 'ulimit -f 12; exec "$@"', "sh", process.execPath, CLI_FILE],
      ...["estimate", ...FEW, "--nodes", "z,mlpOut", "--out", out],
    ]);
    const { code, stderr } = await resultOf(limited);
    expect(stderr.trimEnd().split("\n").at(-1)).toMatch(
      /^atp: error: writeAtomically: .*\/out\/ranked\.csv: EFBIG: file too large/,
    );
    expect(code).toBe(1);
    expect(await readdir(out)).toEqual(["summary.json"]);
    expect(await pageOf(out)).toContain("this run broke off");
  });
});

/** Names of files whose renames are the steps of a `localize` without a certificate: begun, estimates, on the way, list, done. */
const STEPS = [
  ["summary.json", 1, "before"],
  ["summary.json", 1, "after"],
  ["ranked.csv", 1, "after"],
  ["ranked.csv", 2, "after"],
  ["summary.json", 4, "before"],
  ["summary.json", 4, "after"],
] as const;

describe("a run that is killed", () => {
  it("leaves the earlier results, or its own that say that they broke off; run again, the same bytes", {
    timeout: 180_000,
  }, async () => {
    const args = ["localize", ...FEW, "--nodes", "mlpOut", "--top-k", "3"];
    const whole = await temporaryFolder();
    await runHere([...args, "--out", whole]);
    const wanted = await readFile(join(whole, "ranked.csv"), "utf8");
    const { run } = await summaryOf(whole);

    const out = join(await temporaryFolder(), "out");
    await mkdir(out);
    await runHere(["sweep", ...ELSEWHERE, "--nodes", "mlpOut", "--out", out]);
    const { run: earlier } = await summaryOf(out);
    const hook = pathToFileURL(join(projectRoot, "test/support/kill-at.mjs")).href;
    // All of them where tests may take their time.
    for (const [file, time, when] of process.env.CI ? STEPS : STEPS.slice(1, 4)) {
      const env = { NODE_OPTIONS: `--import ${hook}`, KILL_AT: file, KILL_N: String(time), KILL_WHEN: when };
      const { code } = await runCli([...args, "--out", out], { env });
      expect([file, time, when, code]).toEqual([file, time, when, null]);
      const summary = await summaryOf(out);
      const begun = !(file === "summary.json" && time === 1 && when === "before");
      const finished = file === "summary.json" && time === 4 && when === "after";
      expect(summary.run).toBe(begun ? run : earlier);
      expect(summary.state).toBe(begun && !finished ? "running" : "done");
      const page = await pageOf(out);
      expect(page.includes("this run broke off")).toBe(begun && !finished);
      // What the page has of the list is of the run that it names.
      const [row] = await rowsOf(join(out, "ranked.csv"));
      expect(page.includes("ranked.csv is not shown")).toBe(row.run !== summary.run);
    }
    // A file that a killed process was writing, and has not been written to since.
    const left = join(out, ".ranked.csv.0e18de11-5580-4c67-9fec-29e74c2c8c6c.tmp");
    await writeFile(left, "");
    const yesterday = Date.now() / 1000 - 86_400;
    await utimes(left, yesterday, yesterday);
    expect((await runHere([...args, "--out", out])).code).toBe(0);
    expect(await readFile(join(out, "ranked.csv"), "utf8")).toBe(wanted);
    expect((await summaryOf(out)).state).toBe("done");
    expect((await readdir(out)).filter((name) => name.startsWith(".ranked.csv.0e18"))).toEqual([]);
    expect(await readdir(out)).not.toContain("run.lock");
  });
});
