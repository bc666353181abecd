import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { projectRoot } from "../support/child-process.js";
import { startTestEngine, testBackend } from "../support/engine.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { RUN, runCli, runHere } from "./run-cli.js";

const SOURCE_PAIRS = join(projectRoot, "models/demo/pairs/ioi.jsonl");
const BEST = ["--top-k", "2", "--max-pairs", "4", "--nodes", "z", "--positions", "roles"];

it("plans a localization: costs by stage and memory by part, and nothing is written", async () => {
  await startTestEngine();
  const { code, stdout } = await runHere(["plan", ...RUN, ...BEST, "--json"]);
  expect(code).toBe(0);
  const plan = JSON.parse(stdout);
  expect(plan).toMatchObject({
    command: "localize",
    model: { parameters: 1_276_928 },
    pairs: 4,
    inMemory: true,
    fits: true,
    stages: [
      // Both runs, and half of (layers + 1) layers' gradients: 2 + (6 + 1)/2 of each pair.
      { stage: "estimate", forwardEquivalents: 4 * 5.5, atMost: false },
      { stage: "verify", atMost: true },
    ],
  });
  expect(plan.model.float32Bytes).toBe(4 * plan.model.parameters);
  expect(plan.rates.flops).toBeGreaterThan(1e7);
  const total = plan.memory.parts.reduce((sum: number, { bytes }: { bytes: number }) => sum + bytes, 0);
  expect(total).toBe(plan.memory.total);
});

it("plans the forward passes of a mean that is patched in, over the pairs or those of a file", async () => {
  await startTestEngine();
  for (const [source, prompts] of [
    ["mean", 4],
    [SOURCE_PAIRS, (await readFile(SOURCE_PAIRS, "utf8")).trimEnd().split("\n").length],
  ] as const) {
    const { stdout } = await runHere([
      "plan",
      ...RUN,
      ...BEST,
      "--source",
      source,
      "--memory",
      "4GiB",
      "--json",
    ]);
    const { stages, memory } = JSON.parse(stdout);
    expect(stages[0]).toMatchObject({ stage: "mean", forwardEquivalents: prompts, reads: { layers: 6 } });
    expect(stages[1]).toMatchObject({ stage: "estimate", reads: { layers: 0 } });
    expect(memory.parts.some(({ name }: { name: string }) => name === "means")).toBe(true);
  }
});

it("shows tables, and plans sweeps and estimates too", async () => {
  await startTestEngine();
  const sweep = await runHere(["plan", ...RUN, ...BEST, "--command", "sweep"]);
  expect(sweep.code).toBe(0);
  expect(sweep.stdout).toMatch(/stage +forward equivalents +GFLOP +layers read +bytes read +time/);
  expect(sweep.stdout).toMatch(/verify +≤ /);
  expect(sweep.stdout).not.toMatch(/^estimate/m);
  expect(sweep.stdout).toMatch(/^smallest +\d+ MiB is enough to run at all$/m);
  const estimate = await runHere(["plan", ...RUN, ...BEST, "--command", "estimate", "--memory", "4GiB"]);
  expect(estimate.stdout).toMatch(/^estimate +22 /m);
  expect(estimate.stdout).not.toMatch(/^verify/m);
  expect(estimate.stdout).toMatch(
    /of 4\.00 GiB planned: all layers stay in memory, 1\.00 GiB for activations$/m,
  );
});

const TOO_LITTLE =
  /^atp: error: --memory: expected at least \d+ MiB for this run, got 10\.0 MiB \(process and engine \d+ MiB, .*\)/m;

it("a budget that cannot be met: the plan is shown with exit code 2, a run is refused before it begins", async () => {
  await startTestEngine();
  const planned = await runHere(["plan", ...RUN, ...BEST, "--memory", "10MiB"]);
  expect(planned.code).toBe(2);
  expect(planned.stderr).toMatch(TOO_LITTLE);
  expect(planned.stdout).toMatch(/^smallest/m);
  const out = join(await temporaryFolder(), "never-made");
  for (const command of [
    ["localize", ...BEST],
    ["sweep", ...BEST.slice(2)],
    ["path", "--sender", "L0.z[0]@*", "--receiver", "final"],
  ]) {
    const refused = await runHere([
      command[0],
      ...RUN,
      ...command.slice(1),
      "--memory",
      "10MiB",
      "--out",
      out,
    ]);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(TOO_LITTLE);
  }
  await expect(readFile(join(out, "summary.json"))).rejects.toThrow("ENOENT");
});

it("a run within a budget says what was planned and what it came to", async () => {
  const out = await temporaryFolder();
  const run = ["localize", ...RUN, ...BEST, "--out", out, "--memory", "3GiB", "--activation-memory", "8MiB"];
  const { code, stderr } = await runCli(run);
  expect(code).toBe(0);
  expect(stderr).toMatch(
    /atp: memory: \d+ MiB of 3\.00 GiB planned: all layers stay in memory, 8\.00 MiB for activations/,
  );
  const { options, memory } = JSON.parse(await readFile(join(out, "summary.json"), "utf8"));
  expect(options).toMatchObject({
    memory: 3 * 2 ** 30,
    activationMemory: 8 * 2 ** 20,
    engine: testBackend(),
  });
  expect(memory).toMatchObject({
    budget: 3 * 2 ** 30,
    planned: { activations: 8 * 2 ** 20, residentLayers: 6 },
  });
  expect(memory.peak).toBeGreaterThan(50 * 2 ** 20);
  expect(memory.peak).toBeLessThan(memory.planned.total);
  expect(memory.read).toMatchObject({ layersRead: 6 });
});

it("plans more pairs than a call may have arguments", async () => {
  await startTestEngine();
  const pairs = join(await temporaryFolder(), "many.jsonl");
  await writeFile(
    pairs,
    '{"clean": [1, 2, 3], "corrupted": [1, 4, 3], "answers": [5], "wrong": [6]}\n'.repeat(150_000),
  );
  const selection = ["--nodes", "z", "--positions", "all", "--command", "estimate"];
  const { code, stdout } = await runHere(["plan", ...RUN, "--pairs", pairs, ...selection, "--json"]);
  expect(code).toBe(0);
  expect(JSON.parse(stdout).pairs).toBeGreaterThan(150_000);
}, 120_000);
