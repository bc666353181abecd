/** @file Running one step of the setup: one line for each, and a failed command shown with the end of its output. */

import { spawnSync } from "node:child_process";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of this package. */
export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** Lines of a failed command's output that are shown. */
const TAIL_LINES = 25;

/** Bytes of output that a command may print; a compiler can be talkative. */
const OUTPUT_LIMIT = 2 ** 28;

/** Something that the user can put right; the message says what. */
export class SetupError extends Error {}

/**
 * Runs a command to its end.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv }} options
 * @returns {string} what it printed to stdout
 * @throws SetupError when it fails, with the end of its output
 */
export function run(command, args, { cwd = root, env = process.env } = {}) {
  const result = spawnSync(command, args, { cwd, env, encoding: "utf8", maxBuffer: OUTPUT_LIMIT });
  if (result.error === undefined && result.status === 0) return result.stdout;
  const output = `${result.stdout ?? ""}\n${result.stderr ?? ""}`.trim().split("\n");
  const ending =
    result.error?.message ?? (result.signal ? `ended by ${result.signal}` : `exit code ${result.status}`);
  const shown = [command, ...args].join(" ");
  throw new SetupError([`${ending} of: ${shown}`, ...output.slice(-TAIL_LINES)].join("\n  "));
}

/**
 * Does one step and prints one line for it.
 *
 * @param {string} name
 * @param {() => string} work returns what the line ends with
 */
export function step(name, work) {
  process.stdout.write(`${name} … `);
  const start = Date.now();
  let said;
  try {
    said = work();
  } catch (error) {
    process.stdout.write("failed\n");
    throw error;
  }
  const seconds = Math.round((Date.now() - start) / 1000);
  process.stdout.write(`${said}${seconds > 0 ? ` (${seconds} s)` : ""}\n`);
}
