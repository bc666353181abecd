/**
 * @file How another thread or process of this program's own code is started. The code is either compiled (`dist/*.js`), which
 * Node runs as it is, or its sources (`src/*.ts`), which Node runs with tsx: this file knows which, because it is either
 * one or the other itself.
 */

import { type ChildProcess, type ForkOptions, fork } from "node:child_process";
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Worker, type WorkerOptions } from "node:worker_threads";

const FROM_SOURCES = import.meta.url.endsWith(".ts");

/** The source of a module that is named as imports name it, with `.js`. */
function entryFile(module: URL): URL {
  return new URL(module.href.replace(/\.js$/, ".ts"));
}

/** tsx is found by its own path, as the folder that the program runs in may be any. */
function fileOfTsx(path: string): string {
  const packageFile = createRequire(import.meta.url).resolve("tsx/package.json");
  return new URL(path, pathToFileURL(packageFile)).href;
}

/**
 * Starts a thread.
 * @param module its first module: `new URL("./some-thread.js", import.meta.url)`, also from sources
 */
export function startThread(module: URL, options: WorkerOptions = {}): Worker {
  // Not what this process was told: `--input-type`, for one, is refused for a file.
  const alone = { execArgv: [], ...options };
  if (!FROM_SOURCES) return new Worker(module, alone);
  // On Node 20 a thread cannot be started with a loader of its own, and does not have its parent's: tsx's import works on all.
  const [entry, api] = [entryFile(module).href, fileOfTsx("./dist/esm/api/index.mjs")].map((url) =>
    JSON.stringify(url),
  );
  const code = `import(${api}).then(({ tsImport }) => tsImport(${entry}, ${entry}))`;
  return new Worker(code, { ...alone, eval: true });
}

/**
 * Starts a process of Node that this one exchanges messages with.
 * @param module its first module: `new URL("./some-process.js", import.meta.url)`, also from sources
 */
export function forkProgram(module: URL, options: ForkOptions = {}): ChildProcess {
  // Not what this process was told, as above; from sources that is a test runner's as often as not.
  if (!FROM_SOURCES) return fork(fileURLToPath(module), { execArgv: [], ...options });
  const execArgv = ["--import", fileOfTsx("./dist/loader.mjs")];
  return fork(fileURLToPath(entryFile(module)), { execArgv, ...options });
}
