/** @file The folder that results go to, checked before there are any. */

import { constants } from "node:fs";
import { access, mkdir, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { codeOf, InputError } from "../errors.js";

export interface OutputFiles {
  readonly folder: string;
  readonly ranked: string;
  readonly summary: string;
  /** Of commands that certify. */
  readonly certificate: string;
}

/**
 * Checks, without changing anything, that results can be written.
 * @throws InputError for a path that is or runs through a file, that may not be written to, or where a folder has the
 *   name of a result
 */
export async function checkOutputFolder(folder: string): Promise<OutputFiles> {
  const files = {
    folder,
    ranked: join(folder, "ranked.csv"),
    summary: join(folder, "summary.json"),
    certificate: join(folder, "certificate.json"),
  };
  let existing = resolve(folder);
  while (!(await isThere(existing))) existing = dirname(existing);
  if (!(await stat(existing)).isDirectory()) {
    throw new InputError(`--out: expected a folder, got the file ${existing}`);
  }
  try {
    await access(existing, constants.W_OK | constants.X_OK);
  } catch {
    throw new InputError(`--out: expected a folder that can be written to, got ${existing}`);
  }
  for (const file of [files.ranked, files.summary, files.certificate]) await checkReplaceable(file);
  return files;
}

/**
 * Checks that a result can take the place of what has its name.
 * @throws InputError for a folder
 */
export async function checkReplaceable(file: string): Promise<void> {
  if ((await isThere(file)) && !(await stat(file)).isFile()) {
    throw new InputError(`--out: expected a file that can be replaced, got the folder ${file}`);
  }
}

/** Creates the folder. */
export async function makeOutputFolder({ folder }: OutputFiles): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (error) {
    throw new InputError(`--out: expected a folder that can be made, got ${folder}: ${String(error)}`);
  }
}

/**
 * Checks that a file of the command line is there, before anything is downloaded for it.
 * @param option the option that names it
 * @throws InputError
 */
export async function checkInputFile(option: string, file: string): Promise<void> {
  if (!(await isThere(file))) throw new InputError(`${option}: expected a file, got nothing at ${file}`);
  if ((await stat(file)).isDirectory())
    throw new InputError(`${option}: expected a file, got the folder ${file}`);
}

async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    // ENOTDIR: a part of the path is a file, which shows when its parent is looked at.
    const code = codeOf(error);
    if (code === "ENOENT" || code === "ENOTDIR") return false;
    throw new InputError(`${path}: expected a path that can be looked at, got: ${String(error)}`);
  }
}
