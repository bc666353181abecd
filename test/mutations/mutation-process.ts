/**
 * @file A process that reads mutated files, one case after the other, and says what became of each. Its parent ends it where a case
 * does not end.
 */

import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import fc from "fast-check";
import { outcomeOf } from "../../src/cli/outcome.js";
import { makeProgram } from "../../src/cli/program.js";
import { mutationOf } from "./mutate.js";
import { type Made, makeResults, type Target, targets } from "./targets.js";

/** Runs a command; rejects as it does. */
export type Run = (args: readonly string[]) => Promise<void>;

/** What became of a case. */
export interface CaseResult {
  readonly number: number;
  readonly target: string;
  readonly what: string;
  /** Exit code. */
  readonly code: number;
  /** Of a case that was refused. */
  readonly message: string;
  /** What it may not be; undefined where all is well. */
  readonly wrong?: string;
  readonly ms: number;
  readonly peakMegabytes: number;
}

/** Cases `first`, `first + step`, … below `end`. */
export interface Order {
  readonly folder: string;
  readonly seed: number;
  readonly first: number;
  readonly end: number;
  readonly step: number;
  readonly made?: Made;
}

/** More than any message needs. */
const MESSAGE_CHARACTERS = 5000;

const run: Run = async (args) => {
  await makeProgram({ signal: new AbortController().signal, verbose: false }).parseAsync(args, {
    from: "user",
  });
};

async function readCopy(target: Target, folder: string, bytes: Uint8Array) {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const copy = join(folder, basename(target.file));
  await writeFile(copy, bytes);
  try {
    return { code: 0, message: "", value: JSON.stringify((await target.read(copy, run)) ?? null) };
  } catch (error) {
    const { exitCode, notes } = outcomeOf(error, { signal: new AbortController().signal, verbose: false });
    return { code: exitCode, message: notes.join("\n"), value: undefined };
  }
}

async function runCase(
  list: readonly Target[],
  { folder, seed }: Order,
  number: number,
): Promise<CaseResult> {
  const target = list[number % list.length];
  const content = await readFile(target.file);
  const [{ bytes, what, without }] = fc.sample(mutationOf(content, target.kind), {
    seed: seed + number,
    numRuns: 1,
  });
  const before = performance.now();
  const place = join(folder, "case");
  const { code, message, value } = await readCopy(target, place, bytes);
  const ms = performance.now() - before;
  const wrong = async () => {
    if (message.includes("(unexpected")) return "an unexpected error";
    if (code !== 0) {
      if (message.length > MESSAGE_CHARACTERS) return "a message without end";
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for.
      if (/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/.test(message))
        return "a message that moves the cursor";
      return code === 1 || code === 2 ? undefined : `exit code ${code}`;
    }
    const whole = (await readCopy(target, place, content)).value;
    if (value === whole || (what.startsWith("cut") && target.ofLines)) return undefined;
    if (what.startsWith("cut")) return "a file that was cut, accepted with another result";
    if (without === undefined) return undefined;
    // A value of another type may be as good as none.
    return (await readCopy(target, place, without)).value === value
      ? undefined
      : "a value of another type, accepted with a result of its own";
  };
  const found = await wrong();
  return {
    number,
    target: target.name,
    what,
    code,
    message,
    ...(found && { wrong: found }),
    ms,
    peakMegabytes: process.resourceUsage().maxRSS / 1024,
  };
}

process.on("disconnect", () => process.exit());
process.on("message", async (order: Order) => {
  process.stdout.write = () => true;
  process.stderr.write = () => true;
  const made = order.made ?? (await makeResults(order.folder, run));
  process.send?.({ made });
  const list = targets(made);
  for (let number = order.first; number < order.end; number += order.step) {
    process.send?.({ begins: number });
    process.send?.({ result: await runCase(list, order, number) });
  }
  process.send?.({ ended: true });
});
