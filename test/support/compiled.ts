/** @file The program that was compiled for this run of the tests. */

import { join } from "node:path";
import { inject } from "vitest";

/** The folder of its package.json; what was compiled is in `dist`. */
export function compiledFolder(): string {
  return inject("compiled");
}

/** A compiled module, such as `cli.js`. */
export function compiledFile(path: string): string {
  return join(compiledFolder(), "dist", path);
}
