/**
 * @file Compiles the program once for a whole run of the tests, as `npm run build` does but into a folder of its own and
 * without checking types (`npm run check` does that). Processes of tests start from it in about half the time that tsx takes.
 */

import { cp, mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { projectRoot, runNode } from "./child-process.js";

declare module "vitest" {
  interface ProvidedContext {
    /** The folder with package.json and dist. */
    readonly compiled: string;
  }
}

export default async function compileProgram(project: TestProject): Promise<() => Promise<void>> {
  // Inside node_modules, so that it finds its dependencies.
  const cache = join(projectRoot, "node_modules", ".cache");
  await mkdir(cache, { recursive: true });
  const folder = await mkdtemp(join(cache, "atpkit-compiled-"));
  await compileInto(folder);
  // While files are watched, a source may have changed.
  project.onTestsRerun(() => compileInto(folder));
  project.provide("compiled", folder);
  return () => rm(folder, { recursive: true, force: true });
}

async function compileInto(folder: string): Promise<void> {
  const dist = join(folder, "dist");
  const tsc = join(projectRoot, "node_modules", "typescript", "bin", "tsc");
  const emit = ["-p", "tsconfig.build.json", "--outDir", dist, "--declaration", "false", "--noCheck"];
  const { exitCode, stdout } = runNode([tsc, ...emit]);
  if (exitCode !== 0) throw new Error(`compileProgram: tsc ended with ${exitCode}:\n${stdout}`);
  await cp(join(projectRoot, "package.json"), join(folder, "package.json"));
  await cp(join(projectRoot, "src/report/html/page"), join(dist, "report/html/page"), { recursive: true });
}
