/**
 * @file In place of `src/node-entry.ts` in tests that start many processes: the same functions, compiled, and what they start is
 * compiled, too. Begun from sources, each process would spend a second on tsx. `test/node-entry.test.ts` tests both kinds.
 */

import { relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { projectRoot } from "./child-process.js";
import { compiledFile } from "./compiled.js";

const compiled: typeof import("../../src/node-entry.js") = await import(
  pathToFileURL(compiledFile("node-entry.js")).href
);

function compiledModule(source: URL): URL {
  return pathToFileURL(compiledFile(relative(`${projectRoot}/src`, fileURLToPath(source))));
}

export const forkProgram: typeof compiled.forkProgram = (module, options) =>
  compiled.forkProgram(compiledModule(module), options);

export const startThread: typeof compiled.startThread = (module, options) =>
  compiled.startThread(compiledModule(module), options);
