/** @file Every kind of file that a user gives to the program, and the command that reads it. */

import { cp, mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { readManifest } from "../../src/batch/manifest.js";
import { parseJob } from "../../src/batch/parse-job.js";
import { prepareJob } from "../../src/batch/prepare-job.js";
import { bytesAsSource, readShard } from "../../src/batch/shard-file.js";
import { readStatus } from "../../src/batch/status.js";
import { parseJsonText } from "../../src/text-file.js";
import { projectRoot } from "../support/child-process.js";
import { testBackend } from "../support/engine.js";
import type { MutationKind } from "./mutate.js";
import type { Run } from "./mutation-process.js";

export interface Target {
  readonly name: string;
  /** The file that is mutated; it stays as it is. */
  readonly file: string;
  readonly kind: MutationKind;
  /** Whether a file that was cut cannot be told from one that was never longer: by lines. */
  readonly ofLines?: boolean;
  /** Reads a mutated copy, which lies in a folder of its own beside whatever belongs to it. */
  readonly read: (copy: string, run: Run) => Promise<unknown>;
}

const DEMO = join(projectRoot, "models/demo");
const fixture = (name: string) => join(projectRoot, "test/fixtures", name);
const ENGINE = ["--engine", testBackend()];

/** More than a shell passes on. */
const OPTION_CHARACTERS = 100_000;

const OPTIONS = {
  nodes: "attnOut",
  positions: "roles",
  metric: "prob",
  direction: "denoising",
  method: "atp",
  "max-pairs": 1,
  seed: 1,
  "top-k": 2,
  "batch-size": 4,
  source: "noise",
  "noise-at": "end",
  "noise-scale": 2,
  "noise-draws": 2,
  "noise-seed": 3,
  "activation-memory": "64MiB",
};

/** A folder with the copy in the place of one of a model's files. */
async function modelWith(copy: string, folder: string): Promise<string> {
  const name = basename(copy);
  for (const other of await readdir(folder)) {
    if (other === name) continue;
    await symlink(join(folder, other), join(dirname(copy), other)).catch(() => {});
  }
  return dirname(copy);
}

const OF_TOKENS = JSON.stringify({ clean: [1, 2, 3, 4], corrupted: [1, 5, 3, 4], answers: [6], wrong: [7] });

async function sweepOfTokens(model: string, folder: string, run: Run) {
  const pairs = join(folder, "pairs.jsonl");
  await writeFile(pairs, OF_TOKENS);
  return sweep(["--model", model, "--pairs", pairs], folder, run);
}

async function sweep(input: readonly string[], folder: string, run: Run) {
  const out = join(folder, "out");
  await run(["sweep", ...input, ...ENGINE, "--nodes", "residPre", "--max-pairs", "1", "--out", out]);
  return numbersOf(join(out, "ranked.csv"));
}

/** Rows without the name of their run, which other bytes of a model change. */
async function numbersOf(file: string): Promise<string> {
  const text = await readFile(file, "utf8");
  return text.replaceAll(/,[^,\n]*$/gm, "");
}

/** A folder of results with the copy in the place of one of its files. */
async function resultsWith(copy: string, results: string): Promise<string> {
  const folder = join(dirname(copy), "results");
  await cp(results, folder, { recursive: true });
  await cp(copy, join(folder, basename(copy)));
  return folder;
}

/** @param made folders of results that `makeResults` has made */
export function targets(made: Made): readonly Target[] {
  const ofModel = (name: string, file: string, kind: Target["kind"], folder: string): Target => ({
    name,
    file: join(folder, file),
    kind,
    read: async (copy, run) => sweepOfTokens(await modelWith(copy, folder), dirname(copy), run),
  });
  const ofResults = (file: string, kind: Target["kind"], results: string): Target => ({
    name: `report ${file}`,
    file: join(results, file),
    kind,
    ofLines: kind === "bytes",
    async read(copy, run) {
      const folder = await resultsWith(copy, results);
      await run(["report", folder]);
      const page = await readFile(join(folder, "report.html"), "utf8");
      // Shown as they are, whatever they are.
      return page.replace(/<summary>All options[\s\S]*?<\/details>/, "");
    },
  });
  const ioi = join(DEMO, "pairs/ioi.jsonl");
  return [
    ofModel("llama config.json", "config.json", "json", fixture("goldens/llama")),
    ofModel("gpt2 config.json", "config.json", "json", fixture("goldens/gpt2")),
    ofModel("gpt_neox config.json", "config.json", "json", fixture("goldens/gpt_neox")),
    ofModel("llama model.safetensors", "model.safetensors", "bytes", fixture("goldens/llama")),
    ofModel("gpt2 model.safetensors", "model.safetensors", "bytes", fixture("goldens/gpt2")),
    ofModel(
      "model.safetensors.index.json",
      "model.safetensors.index.json",
      "json",
      fixture("goldens/llama_sharded"),
    ),
    {
      name: "options",
      file: made.options,
      kind: "fields",
      async read(copy, run) {
        const options: unknown = JSON.parse(await readFile(copy, "utf8"));
        if (typeof options !== "object" || options === null) return undefined;
        const given = Object.entries(options).flatMap(([name, value]) => [
          `--${name}`,
          (Array.isArray(value) ? "[]" : String(value)).slice(0, OPTION_CHARACTERS),
        ]);
        const out = join(dirname(copy), "out");
        await run(["localize", "--model", DEMO, "--pairs", ioi, ...ENGINE, ...given, "--out", out]);
        return numbersOf(join(out, "ranked.csv"));
      },
    },
    {
      name: "llama.gguf",
      file: fixture("gguf/llama.gguf"),
      kind: "bytes",
      read: (copy, run) => sweepOfTokens(copy, dirname(copy), run),
    },
    {
      name: "tokenizer.json",
      file: join(DEMO, "tokenizer.json"),
      kind: "json",
      read: async (copy, run) =>
        sweep(["--model", await modelWith(copy, DEMO), "--pairs", ioi], dirname(copy), run),
    },
    {
      name: "tokenizer_config.json",
      file: join(DEMO, "tokenizer_config.json"),
      kind: "json",
      read: async (copy, run) =>
        sweep(["--model", await modelWith(copy, DEMO), "--pairs", ioi], dirname(copy), run),
    },
    {
      name: "pairs",
      file: ioi,
      kind: "json",
      ofLines: true,
      read: (copy, run) => sweep(["--model", DEMO, "--pairs", copy], dirname(copy), run),
    },
    {
      name: "direction",
      file: made.direction,
      kind: "json",
      read: (copy, run) =>
        sweep(["--model", DEMO, "--pairs", ioi, "--metric", `L3.residPost@end:${copy}`], dirname(copy), run),
    },
    {
      name: "verify --from",
      file: join(made.list, "ranked.csv"),
      kind: "bytes",
      ofLines: true,
      async read(copy, run) {
        const out = join(dirname(copy), "out");
        await run([
          "verify",
          ...["--model", DEMO, "--pairs", ioi, "--max-pairs", "1", ...ENGINE],
          ...["--from", copy, "--top-k", "1", "--out", out],
        ]);
        return numbersOf(join(out, "ranked.csv"));
      },
    },
    ofResults("summary.json", "json", made.list),
    ofResults("certificate.json", "json", made.list),
    ofResults("faithfulness.json", "json", made.list),
    ofResults("ranked.csv", "bytes", made.list),
    ofResults("windows.csv", "bytes", made.windows),
    ofResults("metrics.csv", "bytes", made.windows),
    {
      name: "job.json",
      file: made.job,
      kind: "json",
      async read(copy) {
        const { job } = await prepareJob(copy);
        return JSON.stringify({ ...job, model: job.model.hash });
      },
    },
    {
      name: "job of a queue",
      file: made.portableJob,
      kind: "json",
      read: async (copy) => parseJob(parseJsonText(await readFile(copy, "utf8"), copy)),
    },
    { name: "manifest.json", file: made.manifest, kind: "json", read: readManifestOf },
    { name: "status.json", file: made.status, kind: "json", read: (copy) => readStatus(copy) },
    {
      name: "shard",
      file: made.shard,
      kind: "bytes",
      async read(copy) {
        const name = basename(made.shard, ".shard");
        return await readShard(name, bytesAsSource(await readFile(copy)));
      },
    },
  ];
}

/** Its spec is given back as it is: nobody reads it again. */
async function readManifestOf(copy: string) {
  const { spec: _, ...manifest } = await readManifest(copy);
  return manifest;
}

/** What results are mutated. */
export interface Made {
  readonly direction: string;
  readonly options: string;
  readonly list: string;
  readonly windows: string;
  readonly job: string;
  readonly portableJob: string;
  readonly manifest: string;
  readonly status: string;
  readonly shard: string;
}

/** Makes a folder of each kind of results. */
export async function makeResults(folder: string, run: Run): Promise<Made> {
  const list = join(folder, "list");
  const windows = join(folder, "windows");
  const few = ["--model", DEMO, "--pairs", join(DEMO, "pairs/ioi.jsonl"), "--max-pairs", "1", ...ENGINE];
  await run(["localize", ...few, "--nodes", "attnOut", "--top-k", "2", "--confidence", "0.9", "--out", list]);
  await run(["faithfulness", ...few, "--from", join(list, "ranked.csv"), "--out", list]);
  await run(["sweep", ...few, "--nodes", "mlpOut", "--window", "layers:3", "--out", windows]);
  const direction = join(folder, "direction.json");
  await writeFile(direction, JSON.stringify(Array.from({ length: 128 }, (_, at) => Math.sin(at + 1))));
  const options = join(folder, "options.json");
  await writeFile(options, JSON.stringify(OPTIONS));
  const jobs = join(folder, "jobs");
  await rm(jobs, { recursive: true, force: true });
  await mkdir(jobs);
  const job = join(jobs, "job.json");
  const spec = { model: DEMO, pairs: join(DEMO, "pairs/ioi.jsonl"), maxPairs: 1, nodes: "attnOut" };
  await writeFile(
    job,
    JSON.stringify({ ...spec, engine: testBackend(), output: "out", verify: { topK: 1 } }),
  );
  await run(["batch", "run", job, "--workers", "1"]);
  const out = join(jobs, "out");
  const [shard] = await readdir(join(out, "shards"));
  const portable = (await readdir(out)).find((name) => name.startsWith("portable-job-")) ?? "";
  return {
    direction,
    options,
    list,
    windows,
    job,
    portableJob: join(out, portable),
    manifest: join(out, "manifest.json"),
    status: join(out, "status.json"),
    shard: join(out, "shards", shard),
  };
}
