/** The commands on a GGUF file: each takes it as it takes a folder, and gives the numbers of the checkpoint that it was made from. */

import { copyFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { testBackend } from "../support/engine.js";
import { relativeError } from "../support/errors.js";
import { goldenFolder, readGolden } from "../support/goldens.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { ESTIMATE_TOLERANCE } from "../support/tolerances.js";
import { rowsOf, runCli, runHere } from "./run-cli.js";

const { clean, corrupted, metric } = readGolden("llama");

let folder: string;
let model: string;
let pairs: string;

beforeAll(async () => {
  folder = await temporaryFolder();
  model = join(folder, "tiny.gguf");
  await copyFile(fileURLToPath(new URL("../fixtures/gguf/llama.gguf", import.meta.url)), model);
  pairs = join(folder, "pairs.jsonl");
  const pair = { clean, corrupted, answers: [metric.answer], wrong: [metric.wrong] };
  await writeFile(pairs, `${JSON.stringify(pair)}\n`);
});

async function run(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runCli(args);
  expect(stderr).not.toMatch(/error|warning/);
  expect(code).toBe(0);
  return stdout;
}

async function columns(name: string, out: string, of: string): Promise<Map<string, number>> {
  const rows = await rowsOf(join(folder, out, name));
  return new Map(rows.map((row) => [row.node, Number(row[of])]));
}

/** Both in the order of the first. */
function distance(found: Map<string, number>, wanted: Map<string, number>): number {
  expect(new Set(found.keys())).toEqual(new Set(wanted.keys()));
  const nodes = [...found.keys()];
  return relativeError(
    nodes.map((node) => found.get(node) ?? Number.NaN),
    nodes.map((node) => wanted.get(node) ?? Number.NaN),
  );
}

describe("a GGUF file", () => {
  it("is described by info, with the blocks that it is stored in", async () => {
    const { stdout } = await runHere(["info", model, "--json"]);
    const info = JSON.parse(stdout);
    expect(info).toMatchObject({ family: "llama", layers: 3, kvHeads: 2, dtypes: ["F32"], tokenizer: null });
    expect(info.maxPromptTokensReason).toBe("llama.context_length 64 of tiny.gguf");
  });

  it("is planned, estimated, verified, swept and run as a job like the folder that it was made from", async () => {
    const common = ["--pairs", pairs, "--engine", testBackend()];
    const of = (path: string, out: string) => ["--model", path, ...common, "--out", join(folder, out)];
    expect(await run("plan", "--model", model, ...common)).toContain("forward equivalents");
    await run("localize", ...of(goldenFolder("llama"), "reference"), "--top-k", "100000");
    await run("localize", ...of(model, "localized"), "--top-k", "100000");
    await run("sweep", ...of(model, "swept"));
    const job = {
      model: "tiny.gguf",
      pairs: "pairs.jsonl",
      engine: testBackend(),
      verify: { topK: 100_000 },
      output: "job",
    };
    await writeFile(join(folder, "job.json"), JSON.stringify(job));
    await run("batch", "run", join(folder, "job.json"), "--workers", "1");

    const effects = await columns("ranked.csv", "reference", "effect_mean");
    expect(effects.size).toBeGreaterThan(100);
    for (const out of ["localized", "swept", "job"]) {
      const found = await columns("ranked.csv", out, "effect_mean");
      expect(distance(found, effects)).toBeLessThan(ESTIMATE_TOLERANCE);
    }
    const estimates = await columns("ranked.csv", "reference", "estimate_mean");
    for (const out of ["localized", "job"]) {
      const found = await columns("ranked.csv", out, "estimate_mean");
      expect(distance(found, estimates)).toBeLessThan(ESTIMATE_TOLERANCE);
    }
  });

  it("that is missing, or beside the job's file only by its name, is refused by it", async () => {
    const missing = await runHere(["info", join(folder, "no.gguf")]);
    expect(missing.code).toBe(2);
    expect(missing.stderr).toContain("expected a GGUF file, got no such file");
    const inFolder = await runHere(["info", folder]);
    expect(inFolder.stderr).toContain(`give the file itself, ${model}`);
    const file = join(folder, "lost.json");
    await writeFile(file, JSON.stringify({ model: "lost.gguf", pairs: "pairs.jsonl", output: "lost" }));
    const lost = await runHere(["batch", "run", file]);
    expect(lost.code).toBe(2);
    expect(lost.stderr).toContain(
      `expected a GGUF file relative to the job file, got nothing at ${join(folder, "lost.gguf")}`,
    );
    expect(await readFile(model)).toHaveLength(111_072);
  });
});
