/**
 * @file Rows of numbers that take minutes to compute, kept on disk, each in a file that is named by a hash of all that it depends
 * on: after a change of any of it the row is computed again. Whoever asks for the same row gets it, alone or among others.
 */

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { writeAtomically } from "../src/atomic-file.js";
import { codeOf } from "../src/errors.js";

export interface KeptRow {
  /** How many numbers. */
  readonly size: number;
  /** Texts, or what files hold. */
  readonly dependencies: readonly (string | Buffer)[];
}

/**
 * @param folder made if need be
 * @param compute the rows that are not there, given their places, in that order; called once, or not at all
 * @returns all rows, in their order
 */
export async function keptRows(
  folder: string,
  rows: readonly KeptRow[],
  compute: (missing: readonly number[]) => Promise<readonly Float64Array[]>,
): Promise<Float64Array[]> {
  const paths = rows.map(({ dependencies }) => join(folder, `${digestOf(dependencies).slice(0, 32)}.f64`));
  const kept = paths.map((path, row) => readNumbers(path, rows[row].size));
  const missing = [...kept.keys()].filter((row) => kept[row] === undefined);
  const computed = missing.length > 0 ? await compute(missing) : [];
  const news = new Map(missing.map((row, at) => [row, computed[at]]));
  const all = kept.map((numbers, row) => {
    const found = numbers ?? news.get(row);
    if (found?.length === rows[row].size) return found;
    throw new Error(`keptRows: expected ${rows[row].size} numbers in row ${row}, got ${found?.length}`);
  });
  if (missing.length > 0) await mkdir(folder, { recursive: true });
  for (const row of missing) {
    const bytes = new Uint8Array(Float64Array.from(all[row]).buffer);
    await writeAtomically(paths[row], (handle) => handle.writeFile(bytes));
  }
  return all;
}

/** Undefined where there is no such file, or one of another size. */
function readNumbers(path: string, size: number): Float64Array | undefined {
  try {
    const numbers = new Float64Array(Uint8Array.from(readFileSync(path)).buffer);
    return numbers.length === size ? numbers : undefined;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** SHA-256 of several texts or files, in hexadecimal digits; the same bytes cut in other places have another one. */
export function digestOf(dependencies: readonly (string | Buffer)[]): string {
  const hash = createHash("sha256");
  for (const dependency of dependencies) hash.update(createHash("sha256").update(dependency).digest());
  return hash.digest("hex");
}

/**
 * Files up to here are read, which takes a second. Larger ones are weights that nobody edits in place: path, size and time of change
 * tell them apart at no cost, and at worst what is known of a copy is computed again.
 */
const MOST_READ_BYTES = 2 ** 29;

/** What a file holds, or all files of a folder and the folders in it, in the order of their names. */
export function filesIn(path: string): (string | Buffer)[] {
  if (statSync(path).isFile()) return [contentOf(path)];
  return readdirSync(path, { recursive: true, encoding: "utf8" })
    .sort()
    .map((name) => join(path, name))
    .filter((file) => statSync(file).isFile())
    .map(contentOf);
}

/** The bytes of a file; of a very large one what the file system says of it. */
function contentOf(path: string): string | Buffer {
  const { size, mtimeMs } = statSync(path);
  return size <= MOST_READ_BYTES ? readFileSync(path) : JSON.stringify([resolve(path), size, mtimeMs]);
}
