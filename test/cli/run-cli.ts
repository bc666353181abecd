/** @file The real command line: in a process of its own, or, where that tells nothing more, in this one. */

import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { join } from "node:path";
import { parseFile } from "fast-csv";
import { vi } from "vitest";
import { outcomeOf } from "../../src/cli/outcome.js";
import { makeProgram } from "../../src/cli/program.js";
import { projectRoot } from "../support/child-process.js";
import { compiledFile } from "../support/compiled.js";
import { testBackend } from "../support/engine.js";

export const DEMO = join(projectRoot, "models/demo");
export const IOI = join(DEMO, "pairs/ioi.jsonl");

/** The demo model on its pairs, on the engine of the tests. */
export const RUN = ["--model", DEMO, "--pairs", IOI, "--engine", testBackend()];

export interface CliResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** The file that Node runs as `atp`. */
export const CLI_FILE = compiledFile("cli.js");

/** Starts `atp` with these arguments. */
export function startCli(args: readonly string[], { cwd = projectRoot, env = {} }: CliOptions = {}) {
  // Vitest's own settings for its workers do not concern the child.
  const { NODE_OPTIONS: _, ...inherited } = process.env;
  return spawn(process.execPath, [CLI_FILE, ...args], {
    cwd,
    env: { ...inherited, ...env },
  });
}

/** Resolves when the process has ended. */
export async function resultOf(child: ChildProcessWithoutNullStreams): Promise<CliResult> {
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject).on("close", resolve);
  });
  return { code, stdout, stderr };
}

/** Runs `atp` with these arguments to its end. */
export function runCli(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  return resultOf(startCli(args, options));
}

/**
 * Parses and runs in this process, one command at a time: the same but for streams, signals and the exit code, and without a
 * second for the start of a process and an engine. Every command that writes results runs in a process of its own in some test.
 */
export async function runHere(
  args: readonly string[],
  { cwd = process.cwd() }: Pick<CliOptions, "cwd"> = {},
): Promise<CliResult> {
  const before = process.cwd();
  process.chdir(cwd);
  const written = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    vi.spyOn(process[name], "write").mockImplementation((chunk) => {
      written[name] += chunk;
      return true;
    });
  }
  const context = { signal: new AbortController().signal, verbose: false };
  try {
    await makeProgram(context).parseAsync(args, { from: "user" });
    return { code: 0, ...written };
  } catch (error) {
    const { exitCode, notes } = outcomeOf(error, context);
    const stderr = written.stderr + notes.map((note) => `atp: ${note}\n`).join("");
    return { code: exitCode, stdout: written.stdout, stderr };
  } finally {
    process.chdir(before);
    vi.restoreAllMocks();
  }
}

/** A row of a CSV, by column. */
export type Row = Readonly<Record<string, string>>;

export async function rowsOf(file: string): Promise<Row[]> {
  const rows: Row[] = [];
  for await (const row of parseFile(file, { headers: true })) rows.push(row);
  return rows;
}
