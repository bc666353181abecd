/**
 * Files of every kind, mutated: none may hang, crash, take memory without end, be accepted with a meaning of its own, or be answered
 * with an unexpected error. Cases follow from a seed and their number: `ATPKIT_MUTATIONS=4000` makes more of them, `ATPKIT_MUTATION`
 * repeats one.
 */

import { type ChildProcess, fork } from "node:child_process";
import { createRequire } from "node:module";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { expect, it } from "vitest";
import { testBackend } from "../support/engine.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import type { CaseResult, Order } from "./mutation-process.js";

const SEED = 13;
const ONE = process.env.ATPKIT_MUTATION;
/** Every kind of file is there some 40 times among a thousand. */
const CASES = Number(
  process.env.ATPKIT_MUTATIONS ??
    // Reading files is the same on either engine.
    (process.env.CI && testBackend() === "wasm" ? 1000 : 120),
);
const PROCESSES = 2;

/** A case takes a tenth of a second; machines of tests are loaded. */
const HANGS_MS = 20_000;
/** Beyond what an engine and a small model take. */
const PEAK_MEGABYTES = 1200;

const settings = { timeout: 1_800_000 };

it("mutated files are read as they were meant, or refused in a sentence", settings, async () => {
  const folder = await temporaryFolder();
  const [first, end] = ONE === undefined ? [0, CASES] : [Number(ONE), Number(ONE) + 1];
  const ranges = Array.from({ length: PROCESSES }, (_, p) => first + p).filter((number) => number < end);
  const results = (
    await Promise.all(ranges.map((from) => runRange(join(folder, String(from)), from, end)))
  ).flat();
  const wrong = results.filter((result) => result.wrong !== undefined);
  expect(
    wrong.map(({ number, target, what, wrong, message }) => ({ number, target, what, wrong, message })),
  ).toEqual([]);
  expect(results.length).toBe(end - first);
  expect(Math.max(...results.map(({ peakMegabytes }) => peakMegabytes))).toBeLessThan(PEAK_MEGABYTES);
  if (ONE === undefined) {
    // Neither everything nor nothing is refused, or the cases would tell little.
    const refused = results.filter(({ code }) => code !== 0).length / results.length;
    expect(refused).toBeGreaterThan(0.4);
    expect(refused).toBeLessThan(0.95);
  }
  report(results);
});

/** Runs cases `from`, `from + PROCESSES`, … in a process, and in another one where that one hangs or dies. */
async function runRange(folder: string, from: number, end: number): Promise<CaseResult[]> {
  const results: CaseResult[] = [];
  let order: Order = { folder, seed: SEED, first: from, end, step: PROCESSES };
  for (;;) {
    const stopped = await runProcess(order, (made) => (order = { ...order, made }), results);
    if (stopped === undefined) return results;
    const { number, wrong } = stopped;
    results.push({
      number,
      target: "",
      what: "",
      code: -1,
      message: "",
      wrong,
      ms: HANGS_MS,
      peakMegabytes: 0,
    });
    order = { ...order, first: number + PROCESSES };
    if (order.first >= end) return results;
  }
}

/** @returns the case that did not end; undefined at the end of all */
async function runProcess(
  order: Order,
  onMade: (made: NonNullable<Order["made"]>) => void,
  results: CaseResult[],
): Promise<{ readonly number: number; readonly wrong: string } | undefined> {
  const child = startProcess();
  let number = order.first;
  let ended = false;
  let watched = new AbortController();
  const gone = new Promise<string>((resolve) => {
    let said = "";
    child.stderr?.on("data", (text: Buffer) => {
      said = `${said}${text}`.slice(-2000);
    });
    child.on("close", (code, signal) => resolve(`the process ended with ${signal ?? code}: ${said}`));
    const watch = () => {
      watched.abort();
      watched = new AbortController();
      // The first case comes after the results that are mutated are made.
      setTimeout(HANGS_MS * (number === order.first ? 6 : 1), undefined, { signal: watched.signal }).then(
        () => {
          child.kill("SIGKILL");
          resolve("no end");
        },
        () => {},
      );
    };
    child.on("message", (message: Message) => {
      if (message.made) onMade(message.made);
      if (message.begins !== undefined) number = message.begins;
      if (message.result) results.push(message.result);
      if (message.ended) {
        ended = true;
        child.kill("SIGKILL");
      }
      watch();
    });
    watch();
    child.send(order);
  });
  const why = await gone;
  watched.abort();
  return ended ? undefined : { number, wrong: why };
}

interface Message {
  readonly made?: NonNullable<Order["made"]>;
  readonly begins?: number;
  readonly result?: CaseResult;
  readonly ended?: true;
}

function startProcess(): ChildProcess {
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  const entry = fileURLToPath(new URL("mutation-process.ts", import.meta.url));
  return fork(entry, [], {
    execArgv: ["--import", tsx],
    silent: true,
    // A name that may be a model's is not asked for.
    env: { ...process.env, HF_HUB_OFFLINE: "1" },
  });
}

/** What came of the cases, for whoever asked for more of them. */
function report(results: readonly CaseResult[]): void {
  if (process.env.ATPKIT_MUTATIONS === undefined) return;
  for (const target of new Set(results.map((result) => result.target))) {
    const cases = results.filter((result) => result.target === target);
    const count = (code: number) => cases.filter((result) => result.code === code).length;
    const slowest = Math.max(...cases.map(({ ms }) => ms));
    console.log(
      `${target.padEnd(28)} ${cases.length} cases: ${count(0)} accepted, ${count(2)} refused, ${count(1)} failed, slowest ${slowest.toFixed(0)} ms`,
    );
  }
}
