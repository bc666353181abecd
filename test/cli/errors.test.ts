/** What is wrong with the input is said in one line, with exit code 2, before anything is loaded or written. */

import { chmod, mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { NOBODY } from "../support/hub-case.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { DEMO, IOI, RUN, resultOf, runCli, runHere, startCli } from "./run-cli.js";

const HEADER =
  "rank,node,site,layer,index,position,token,contribution,estimate_contribution,estimate_mean,estimate_se," +
  "effect_contribution,effect_mean,effect_se,recovered,verified,pairs,saturation_gap,cancellation_ratio";
const ROW = "1,L0.z[3]@14,z,0,3,14,,0.5,0.5,-0.25,,,,,,false,4,,";

let folder: string;
let out: string;
beforeAll(async () => {
  folder = await temporaryFolder();
  out = join(folder, "out");
  await Promise.all([
    writeFile(join(folder, "bad-pairs.jsonl"), '\n{"clean": "<|endoftext|> The book", "answers": ["is"]}\n'),
    writeFile(
      join(folder, "no-roles.jsonl"),
      '{"clean": [1], "corrupted": [2], "answers": [3], "wrong": [4]}\n',
    ),
    writeFile(join(folder, "cut.csv"), `${HEADER}\n${ROW}\n2,L0.z[1]@14,z\n`),
    writeFile(join(folder, "list.csv"), `${HEADER}\n${ROW}\n`),
    writeFile(join(folder, "twice.csv"), `${HEADER}\n${ROW}\n${ROW}\n`),
    writeFile(join(folder, "layer.csv"), `${HEADER}\n${ROW.replace("L0.z", "L9.z").replace("z,0", "z,9")}\n`),
    mkdir(join(folder, "taken", "ranked.csv"), { recursive: true }),
  ]);
});

/** What is wrong, the arguments, and the expected message; `{}` stands for the folder of this file. */
type Case = readonly [string, readonly string[], string];

/** One that the command line finds, one of a file, one of the model: in a process, to see its streams and exit code. */
const IN_A_PROCESS: readonly Case[] = [
  [
    "an unknown option",
    ["localize", ...RUN, "--topk", "3"],
    "unknown option '--topk' (Did you mean --top-k?)",
  ],
  [
    "an error in the pairs",
    ["localize", "--model", DEMO, "--pairs", IOI, "{}/bad-pairs.jsonl"],
    "readPairs: {}/bad-pairs.jsonl:2: corrupted: expected text or an array of token ids, got nothing (the field is missing)",
  ],
  [
    "an unknown layer",
    ["verify", ...RUN, "--node", "L9.z[0]@1"],
    "indexOfNode: expected a node of this model, these sites and these pairs, got L9.z[0]@1 (no layer 9 with site z)",
  ],
];

const IN_THIS_PROCESS: readonly Case[] = [
  ["no model", ["localize", "--pairs", IOI], "required option '--model <path or hub id>' not specified"],
  [
    "an unknown metric",
    ["localize", ...RUN, "--metric", "loss"],
    "option '--metric <name>' argument 'loss' is invalid. Expected one of logit-diff, logit, logprob, prob, prob-diff, nll, kl, rank, accuracy, or an internal metric such as L5.pattern[3]@end:subject, L4.neuron[100]@end or L6.residPost@end:direction.json.",
  ],
  [
    "an unknown site",
    ["localize", ...RUN, "--nodes", "z,heads"],
    'parseSites: expected "all" or sites among residPre, q, k, v, z, attnOut, residMid, neuron, mlpOut, residPost, got "heads"',
  ],
  [
    "a bad position mode",
    ["localize", ...RUN, "--positions", "some"],
    "option '--positions <mode>' argument 'some' is invalid. Allowed choices are each, roles, all.",
  ],
  [
    "no node to verify by topK",
    ["localize", ...RUN, "--top-k", "0"],
    "option '--top-k <n>' argument '0' is invalid. Expected a positive integer.",
  ],
  [
    "a model that is not there",
    ["localize", "--model", "./no/model", "--pairs", IOI],
    "resolveCheckpoint: folder not found: ./no/model",
  ],
  [
    "a file where the output should go",
    ["localize", ...RUN, "--out", join(DEMO, "config.json")],
    `--out: expected a folder, got the file ${join(DEMO, "config.json")}`,
  ],
  [
    "a malformed node id",
    ["verify", ...RUN, "--node", "L0.z0@1"],
    'parseNodeId: expected a node id such as "L3.z[5]@12", "L4.mlpOut@7", "L2.k[1]@end" or "L0.q[2]@*", got "L0.z0@1"',
  ],
  [
    "a list that is cut",
    ["verify", ...RUN, "--from", "{}/cut.csv"],
    "readRankedCsv: {}/cut.csv:3: expected 19 columns, got 3",
  ],
  ["an unknown command", ["localise"], "unknown command 'localise' (Did you mean localize?)"],
  ["no pairs", ["estimate", "--model", DEMO], "required option '--pairs <file...>' not specified"],
  [
    "a metric that cannot be estimated",
    ["localize", ...RUN, "--metric", "accuracy"],
    "estimate: expected a metric with a gradient, got accuracy: use it with exact runs, and estimate with another",
  ],
  [
    "a metric that cannot be estimated in this direction",
    ["estimate", ...RUN, "--metric", "kl"],
    "estimate: expected direction denoising for metric kl, got noising: its gradient on the clean run is 0",
  ],
  [
    "a site that the model does not have",
    ["estimate", ...RUN, "--nodes", "residMid"],
    "makeNodeSpace: expected sites of a gpt_neox model with parallel residual (residPre, q, k, v, z, attnOut, neuron, mlpOut, residPost), got residMid",
  ],
  [
    "roles where there are none",
    ["localize", "--model", DEMO, "--pairs", "{}/no-roles.jsonl", "--positions", "roles"],
    'positionLabels: expected pairs with "roles" for positions "roles", got none',
  ],
  [
    "a batch size that is no number",
    ["localize", ...RUN, "--batch-size", "1.5"],
    "option '--batch-size <n>' argument '1.5' is invalid. Expected a positive integer.",
  ],
  [
    "a seed that is too large",
    ["localize", ...RUN, "--seed", "2147483648"],
    "option '--seed <n>' argument '2147483648' is invalid. Expected an integer from -2^31 to 2^31 - 1.",
  ],
  [
    "an unknown engine",
    ["localize", ...RUN, "--engine", "cuda"],
    "option '--engine <name>' argument 'cuda' is invalid. Allowed choices are auto, tensorflow, wasm.",
  ],
  ["a folder that is no model", ["info", "{}"], "{}/config.json"],
  [
    "pairs that are not there",
    ["localize", "--model", DEMO, "--pairs", "{}/none.jsonl"],
    "--pairs: expected a file, got nothing at {}/none.jsonl",
  ],
  [
    "a folder for pairs",
    ["localize", "--model", DEMO, "--pairs", "{}"],
    "--pairs: expected a file, got the folder {}",
  ],
  [
    "a file on the way to the output",
    ["localize", ...RUN, "--out", join(DEMO, "config.json/a/b")],
    `--out: expected a folder, got the file ${join(DEMO, "config.json")}`,
  ],
  [
    "a folder where a result should go",
    ["localize", ...RUN, "--out", "{}/taken"],
    "--out: expected a file that can be replaced, got the folder {}/taken/ranked.csv",
  ],
  [
    "noise nowhere",
    ["estimate", ...RUN, "--source", "noise", "--noise-draws", "2"],
    "--source noise: expected --noise-at with it, the positions or roles that get noise, got none",
  ],
  ...(["at", "scale", "draws", "seed"] as const).map(
    (what): Case => [
      `--noise-${what} without noise`,
      ["path", ...RUN, "--direct", "--source", "zero", `--noise-${what}`, "1"],
      `--noise-${what}: expected --source noise with it, got --source zero`,
    ],
  ),
  [
    "noise without --source",
    ["verify", ...RUN, "--node", "L0.mlpOut@1", "--noise-at", "s1"],
    "--noise-at: expected --source noise with it, got --source prompt",
  ],
  [
    "noise at something that is no position",
    ["estimate", ...RUN, "--source", "noise", "--noise-at", "s1,-0"],
    "option '--noise-at <labels>' argument 's1,-0' is invalid. Expected positions, negative ones from the end, roles or \"*\", separated by commas.",
  ],
  [
    "noise of no size",
    ["estimate", ...RUN, "--source", "noise", "--noise-at", "s1", "--noise-scale", "0"],
    "option '--noise-scale <x>' argument '0' is invalid. Expected a positive number.",
  ],
  [
    "no draws",
    ["estimate", ...RUN, "--source", "noise", "--noise-at", "s1", "--noise-draws", "0"],
    "option '--noise-draws <n>' argument '0' is invalid. Expected a positive integer.",
  ],
  [
    "a noise seed that is too large",
    ["estimate", ...RUN, "--source", "noise", "--noise-at", "s1", "--noise-seed", "2147483648"],
    "option '--noise-seed <n>' argument '2147483648' is invalid. Expected an integer from -2^31 to 2^31 - 1.",
  ],
  [
    "noise at a role that the pairs do not have",
    ["faithfulness", ...RUN, "--from", "{}/list.csv", "--source", "noise", "--noise-at", "s1,subject"],
    `noiseSource: ${IOI}:1: expected a pair with all that gets noise, s1,subject, got one of 15 tokens and the roles io, s1, s2, end, without subject`,
  ],
  ["nothing to verify", ["verify", ...RUN], "verify: expected --node or --from, got neither"],
  [
    "a top-k of no list",
    ["verify", ...RUN, "--node", "L0.z[0]@1", "--top-k", "3"],
    "--top-k: expected --from with it, got only --node",
  ],
  [
    "an unknown role",
    ["verify", ...RUN, "--node", "L0.z[0]@subject"],
    "spaceOfNodes: expected a position or role that some pair has, got subject in L0.z[0]@subject",
  ],
  [
    "a list that is not there",
    ["verify", ...RUN, "--from", "{}/none.csv"],
    "--from: expected a file, got nothing at {}/none.csv",
  ],
  [
    "a list that has a node twice",
    ["verify", ...RUN, "--from", "{}/twice.csv"],
    '{}/twice.csv:3: column "node": expected each node once, got L0.z[3]@14, as in line 2',
  ],
  [
    "a list of another model",
    ["verify", ...RUN, "--from", "{}/layer.csv"],
    '{}/layer.csv:2: column "node": indexOfNode: expected a node of this model, these sites and these pairs, got L9.z[3]@14 (no layer 9 with site z)',
  ],
];

async function expectError(run: typeof runCli, [, args, expected]: Case): Promise<void> {
  const here = (text: string) => text.replaceAll("{}", folder);
  const place = args.includes("--out") || !args.includes("--model") ? [] : ["--out", out];
  const { code, stdout, stderr } = await run([...args, ...place].map(here));
  expect(stderr).toMatch(/^atp: error: [^\n]+\n$/);
  expect(stderr).toContain(here(expected));
  expect(stdout).toBe("");
  expect(code).toBe(2);
}

describe("exit code 2 and one line on stderr for", () => {
  describe.concurrent("(command line)", () => {
    it.for(IN_A_PROCESS)("%s", (each) => expectError(runCli, each));
  });
  it.for(IN_THIS_PROCESS)("%s", (each) => expectError(runHere, each));
});

describe("input errors", () => {
  it("have left no output folder behind", async () => {
    expect(await readdir(folder)).not.toContain("out");
  });

  it.skipIf(process.getuid?.() === 0)("tell of a folder that may not be written to", async () => {
    const locked = join(folder, "locked");
    await mkdir(locked);
    await chmod(locked, 0o500);
    const { code, stderr } = await runCli(["estimate", ...RUN, "--out", join(locked, "new")]);
    expect(stderr).toBe(`atp: error: --out: expected a folder that can be written to, got ${locked}\n`);
    expect(code).toBe(2);
  });
});

describe("other exits", () => {
  it("1 for a run that fails: nobody answers at the hub", async () => {
    const env = { HF_ENDPOINT: NOBODY, HF_HOME: join(folder, "home") };
    const { code, stdout, stderr } = await runCli(["info", "owner/name"], { env });
    expect(stderr).toMatch(/^atp: error: resolveCheckpoint: owner\/name[^\n]+\n$/);
    expect(stdout).toBe("");
    expect(code).toBe(1);
  });

  it("2 with the help on stderr when no command is given", async () => {
    const { code, stdout, stderr } = await runCli([]);
    expect(stderr).toContain("Usage: atp [options] [command]");
    expect(stdout).toBe("");
    expect(code).toBe(2);
  });

  it("0 and not a word when the reader of the results goes away", async () => {
    const child = startCli(["localize", "--help"]);
    child.stdout.destroy();
    const { code, stderr } = await resultOf(child);
    expect(stderr).toBe("");
    expect(code).toBe(0);
  });
});
