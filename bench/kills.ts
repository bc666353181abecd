/**
 * Kills `atp localize` and `atp batch run` at random moments, looks at what each left, and runs them to their end.
 *
 *   npx tsx bench/kills.ts [tensorflow|wasm] [--kills 30] [--seed 1]
 *
 * Moments are uniform over the time of an undisturbed run, so some hit the start of the process and some the writing of files. Every
 * folder has to be that of an earlier run, untouched, or to say that its run broke off; a job goes on from its shards; and the bytes
 * at the end have to be those of the undisturbed run.
 */

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { parseArgs } from "node:util";
import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";
import { readReportFolder } from "../src/report/html/read-folder.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { kills: { type: "string", default: "30" }, seed: { type: "string", default: "1" } },
});
const engine = positionals[0] ?? "tensorflow";
const kills = Number(values.kills);
const random = xoroshiro128plus(Number(values.seed));
const cli = join(import.meta.dirname, "../dist/cli.js");
const demo = join(import.meta.dirname, "../models/demo");
const folder = await mkdtemp(join(tmpdir(), "atpkit-kills-"));

const FINAL = ["ranked.csv", "certificate.json", "scores.parquet"];

interface Ended {
  readonly code: number | null;
  readonly seconds: number;
}

/** @param killAfter seconds; left out, it runs to its end */
async function atp(args: readonly string[], killAfter?: number): Promise<Ended> {
  const began = performance.now();
  const child = spawn(process.execPath, [cli, ...args], { stdio: "ignore", detached: true });
  const closed = new Promise<number | null>((resolve) => child.on("close", resolve));
  if (killAfter !== undefined) {
    await Promise.race([setTimeout(1000 * killAfter), closed]);
    try {
      // With its workers.
      if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
    } catch {
      // It has ended.
    }
  }
  return { code: await closed, seconds: (performance.now() - began) / 1000 };
}

async function bytesOf(out: string): Promise<string> {
  const hash = createHash("sha256");
  for (const name of FINAL) {
    if (!existsSync(join(out, name))) continue;
    const content = await readFile(join(out, name));
    hash.update(name).update(name.endsWith(".json") ? withoutTime(content.toString()) : content);
  }
  return hash.digest("hex").slice(0, 12);
}

/** A certificate of the command line says when it was made, and where. */
function withoutTime(text: string): string {
  const { date: _date, options: _options, ...rest } = JSON.parse(text);
  return JSON.stringify(rest);
}

/** What a reader finds: the run that the folder names, and whether it says that it broke off. */
async function stateOf(out: string, run: string): Promise<string> {
  if (!existsSync(join(out, "summary.json"))) return "nothing yet";
  const { summary, ranked, unfinished } = await readReportFolder(out);
  const own = summary?.run === run;
  if (ranked?.run !== undefined && ranked.run !== summary?.run) return "MIXED";
  if (!own) return unfinished === undefined ? "the earlier run, whole" : "the earlier run, BROKEN";
  return unfinished === undefined ? "done" : `broke off, ${ranked ? "with a list" : "before its list"}`;
}

async function measure(
  name: string,
  args: (out: string) => Promise<readonly string[]>,
  before?: readonly string[],
) {
  const whole = join(folder, `${name}-whole`);
  const undisturbed = await atp(await args(whole));
  if (undisturbed.code !== 0) throw new Error(`kills: ${name} ended with ${undisturbed.code}`);
  const wanted = await bytesOf(whole);
  const { run } = JSON.parse(await readFile(join(whole, "summary.json"), "utf8"));
  const out = join(folder, `${name}-killed`);
  if (before) await atp([...before, "--out", out]);
  const states = new Map<string, number>();
  const command = await args(out);
  for (let kill = 0; kill < kills; kill++) {
    await atp(command, uniformFloat64(random) * undisturbed.seconds);
    const state = await stateOf(out, run);
    states.set(state, (states.get(state) ?? 0) + 1);
    // A job goes on from its shards, and is done after some kills: then another one begins in a fresh folder.
    if (state === "done") {
      await rm(out, { recursive: true, force: true });
      if (before) await atp([...before, "--out", out]);
    }
  }
  const last = await atp(command);
  const same = (await bytesOf(out)) === wanted && last.code === 0;
  return { name, seconds: undisturbed.seconds, states, same };
}

const pairs = join(demo, "pairs/ioi.jsonl");
const other = [
  "estimate",
  "--model",
  demo,
  "--pairs",
  join(demo, "pairs/agreement.jsonl"),
  "--engine",
  engine,
];
const results = [
  await measure(
    "localize",
    async (out) => [
      "localize",
      ...["--model", demo, "--pairs", pairs, "--engine", engine, "--positions", "roles"],
      ...["--top-k", "10", "--confidence", "0.9", "--out", out],
    ],
    [...other, "--nodes", "mlpOut"],
  ),
  await measure("batch run", async (out) => {
    const job = join(folder, `${out.split("/").at(-1)}.json`);
    await mkdir(folder, { recursive: true });
    const spec = {
      model: demo,
      pairs,
      maxPairs: 32,
      nodes: "z,mlpOut",
      positions: "roles",
      engine,
      output: out,
    };
    await writeFile(job, JSON.stringify({ ...spec, shards: { pairs: 8, nodes: 32 } }));
    return ["batch", "run", job, "--workers", "2"];
  }),
];
for (const { name, seconds, states, same } of results) {
  console.log(`${name}: ${kills} kills within ${seconds.toFixed(1)} s (${engine})`);
  for (const [state, times] of states) console.log(`${String(times).padStart(4)}  ${state}`);
  console.log(`run again to its end: ${same ? "the bytes of the undisturbed run" : "OTHER BYTES"}\n`);
}
await rm(folder, { recursive: true, force: true });
if (results.some(({ same, states }) => !same || [...states.keys()].some((state) => /[A-Z]{4}/.test(state))))
  process.exitCode = 1;
