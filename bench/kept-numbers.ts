/**
 * @file Numbers that take minutes to compute, kept on disk in a file that is named by a hash of all that they depend on:
 * after a change of any of it they are computed again.
 */

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { codeOf } from "../src/errors.js";
import { writeAtomically } from "../src/report/atomic-file.js";

/**
 * @param folder made if need be
 * @param size how many numbers
 * @param dependencies a text or JSON of a value, or what a file holds
 */
export async function keptNumbers(
  folder: string,
  size: number,
  dependencies: readonly (string | Buffer)[],
  compute: () => Promise<Float64Array>,
): Promise<Float64Array> {
  const hash = createHash("sha256");
  for (const dependency of dependencies) hash.update(createHash("sha256").update(dependency).digest());
  const path = join(folder, `${hash.digest("hex").slice(0, 32)}.f64`);
  const kept = readNumbers(path);
  if (kept?.length === size) return kept;
  const numbers = await compute();
  await mkdir(folder, { recursive: true });
  await writeAtomically(path, (handle) => handle.writeFile(new Uint8Array(numbers.buffer)));
  return numbers;
}

function readNumbers(path: string): Float64Array | undefined {
  try {
    return new Float64Array(Uint8Array.from(readFileSync(path)).buffer);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** What all files of a folder and the folders in it hold, in the order of their names. */
export function filesIn(folder: string): Buffer[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .sort()
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile())
    .map((path) => readFileSync(path));
}
