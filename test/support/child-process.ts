/** @file Runs code in a Node of its own: an engine is one per process, and some tests are about how it starts. */

import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/** The folder of this project. */
export const projectRoot = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

export interface ChildResult {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ChildOptions {
  /** The folder that imports are resolved from. */
  readonly folder?: string;
  /** Variables added to this process's; undefined removes one. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** Runs an ES module given as text; it may import TypeScript. */
export function runModule(code: string, { folder = projectRoot, env = {} }: ChildOptions = {}): ChildResult {
  const tsx = pathToFileURL(createRequire(join(projectRoot, "package.json")).resolve("tsx")).href;
  return runNode(["--import", tsx, "--input-type=module", "--eval", code], { folder, env });
}

/** Runs Node with these arguments. */
export function runNode(
  args: readonly string[],
  { folder = projectRoot, env = {}, node = process.execPath }: ChildOptions & { readonly node?: string } = {},
): ChildResult {
  // Vitest's own settings for its workers do not concern the child.
  const { NODE_OPTIONS: _, ...inherited } = process.env;
  const child = spawnSync(node, args, { cwd: folder, env: { ...inherited, ...env }, encoding: "utf8" });
  return { exitCode: child.status, stdout: child.stdout, stderr: child.stderr };
}
