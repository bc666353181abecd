/** What the command line says about tokens: info, notes on the files of a tokenizer, warnings about pairs, and what is refused. */

import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { prepareJob } from "../../src/batch/prepare-job.js";
import { temporaryFolder } from "../support/checkpoint-folders.js";
import { testBackend } from "../support/engine.js";
import { DEMO, IOI, runCli, runHere } from "./run-cli.js";

const TOKENIZER: { added_tokens: object[]; model: { vocab: Readonly<Record<string, number>> } } = JSON.parse(
  readFileSync(join(DEMO, "tokenizer.json"), "utf8"),
);
const EMBEDDINGS: number = JSON.parse(readFileSync(join(DEMO, "config.json"), "utf8")).vocab_size;

/** The demo's checkpoint with another tokenizer. */
function demoWith(tokenizer: object, config?: object): string {
  const folder = join(temporaryFolder(), "model");
  mkdirSync(folder);
  for (const name of ["config.json", "model.safetensors"]) symlinkSync(join(DEMO, name), join(folder, name));
  writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(tokenizer));
  if (config) writeFileSync(join(folder, "tokenizer_config.json"), JSON.stringify(config));
  return folder;
}

const STARTS = { tokenizer_class: "GPTNeoXTokenizer", bos_token: "<|endoftext|>", add_bos_token: true };
const WITH_START = '"<|endoftext|>" (0) before a prompt, nothing behind it';

function pairsFile(...pairs: readonly object[]): string {
  const file = join(temporaryFolder(), "pairs.jsonl");
  writeFileSync(file, pairs.map((pair) => JSON.stringify(pair)).join("\n"));
  return file;
}

function run(command: string, model: string, pairs: string, ...more: readonly string[]): string[] {
  const engine = testBackend();
  return [command, "--model", model, "--pairs", pairs, "--engine", engine, "--nodes", "residPre", ...more];
}

describe("info", () => {
  it("says what is put around a prompt", async () => {
    expect((await runHere(["info", DEMO])).stdout).toMatch(
      /^adds +nothing before a prompt, nothing behind it$/m,
    );
    const model = demoWith(TOKENIZER, STARTS);
    const { stdout, stderr } = await runHere(["info", model]);
    expect(stdout).toContain(`\nadds        ${WITH_START}\n`);
    expect(stderr).toContain(
      `atp: ${model}: tokenizer.json puts nothing around a text; tokenizer_config.json (GPTNeoXTokenizer, add_bos_token: true,`,
    );
    const { tokenizer } = JSON.parse((await runHere(["info", model, "--json"])).stdout);
    expect(tokenizer).toEqual({
      tokens: 340,
      withoutEmbedding: 0,
      before: [{ id: 0, text: "<|endoftext|>" }],
      after: [],
    });
  });
});

describe("a start token that is there twice", () => {
  const about = 'a prompt begins with "<|endoftext|>" (0) twice';

  it("is told by a run", async () => {
    const out = join(temporaryFolder(), "out");
    const model = demoWith(TOKENIZER, STARTS);
    const { code, stderr } = await runHere(run("sweep", model, IOI, "--max-pairs", "1", "--out", out));
    expect(stderr).toContain(`atp: warning: ${IOI}: 64 of 64 pairs, the first in line 1: ${about}`);
    expect(code).toBe(0);
  });

  it("is told by a batch job", async () => {
    const folder = temporaryFolder();
    const spec = { model: demoWith(TOKENIZER, STARTS), pairs: IOI, output: join(folder, "out"), maxPairs: 1 };
    writeFileSync(join(folder, "job.json"), JSON.stringify({ ...spec, engine: testBackend() }));
    const told: string[] = [];
    const { job } = await prepareJob(join(folder, "job.json"), { onNotice: (text) => told.push(text) });
    expect(told).toEqual([
      expect.stringContaining("tokenizer.json puts nothing around a text"),
      expect.stringContaining(about),
    ]);
    // Workers get ids, and need not know how they were made.
    expect(job.pairs[0]?.clean.slice(0, 2)).toEqual([0, 0]);
  });
});

describe("a vocabulary larger than the embedding", () => {
  const last = EMBEDDINGS + 1;
  const model = () =>
    demoWith({
      ...TOKENIZER,
      added_tokens: [...TOKENIZER.added_tokens, { id: last, content: "<fill>", special: true }],
    });
  const pair = { clean: "The cars", corrupted: "The car", answers: ["is"], wrong: ["are"] };

  it("is counted by info", async () => {
    const { code, stdout } = await runHere(["info", model()]);
    expect(code).toBe(0);
    expect(stdout).toMatch(
      new RegExp(
        `^tokenizer +${last + 1} tokens; the last 2 of them, without a row in the embedding, cannot be used$`,
        "m",
      ),
    );
  });

  it("is refused only where such a token is used, naming file, line and field", async () => {
    const out = join(temporaryFolder(), "out");
    const folder = model();
    expect((await runHere(run("sweep", folder, pairsFile(pair), "--out", out))).code).toBe(0);
    const used = pairsFile(pair, { ...pair, clean: "The <fill>" });
    const { code, stderr } = await runHere(run("sweep", folder, used, "--out", out));
    expect(stderr).toContain(
      `readPairs: ${used}:2: clean[1]: expected a token id of the model's vocabulary, an integer from 0 to ` +
        `${EMBEDDINGS - 1}, got "<fill>" (${last})`,
    );
    expect(code).toBe(2);
    const answered = pairsFile({ ...pair, answers: ["<fill>"] });
    expect((await runHere(run("sweep", folder, answered, "--out", out))).stderr).toContain(
      `${answered}:1: answers[0]: expected a token id of the model's vocabulary`,
    );
  });
});

describe("a pattern that does not end", () => {
  it("ends the process with exit code 2, naming tokenizer.json", async () => {
    const pattern = { Regex: "(?:.*)*b" };
    const model = demoWith({ ...TOKENIZER, pre_tokenizer: { type: "Split", pattern, behavior: "Isolated" } });
    const out = join(temporaryFolder(), "out");
    const { code, stderr } = await runCli(run("localize", model, IOI, "--out", out));
    expect(stderr).toContain(
      `loadModel: expected the patterns of ${join(model, "tokenizer.json")} to come to an end within 5 s`,
    );
    expect(stderr).not.toContain("unexpected");
    expect(code).toBe(2);
  }, 60_000);
});
