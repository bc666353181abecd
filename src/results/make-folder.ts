/** @file Folders, checked before there is anything to put into them, and made where they are missing. */

import { constants } from "node:fs";
import { access, mkdir, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { asError, codeOf, InputError } from "../errors.js";

/**
 * Checks, without changing anything, that a folder is there and can be written to, or can be made.
 * @param option what names it, for error texts: "--out"
 * @throws InputError for a path that is or runs through a file, or that may not be written to
 */
export async function checkFolder(option: string, folder: string): Promise<void> {
  let existing = resolve(folder);
  while (!(await isThere(existing))) existing = dirname(existing);
  if (!(await stat(existing)).isDirectory()) {
    throw new InputError(`${option}: expected a folder, got the file ${existing}`);
  }
  try {
    await access(existing, constants.W_OK | constants.X_OK);
  } catch {
    throw new InputError(`${option}: expected a folder that can be written to, got ${existing}`);
  }
}

/**
 * Makes a folder, and those above it. One after the other: where a file system answers that the folder above is not there, which
 * is (/proc, automounters), Node's own way up and down does not end.
 * @throws InputError for one that cannot be made
 */
export async function makeFolder(option: string, folder: string): Promise<void> {
  const missing: string[] = [];
  for (let path = resolve(folder); !(await isThere(path)); path = dirname(path)) missing.unshift(path);
  for (const path of missing) {
    try {
      await mkdir(path);
    } catch (error) {
      // Somebody else has made it meanwhile.
      if (codeOf(error) === "EEXIST") continue;
      throw new InputError(
        `${option}: expected a folder that can be made, got ${folder}: ${asError(error).message}`,
      );
    }
  }
}

/**
 * Checks that a result can take the place of what has its name.
 * @throws InputError for a folder
 */
export async function checkReplaceable(option: string, file: string): Promise<void> {
  if ((await isThere(file)) && !(await stat(file)).isFile()) {
    throw new InputError(`${option}: expected a file that can be replaced, got the folder ${file}`);
  }
}

/**
 * Checks that a file of the command line is there, before anything is downloaded for it.
 * @param option the option that names it
 * @throws InputError
 */
export async function checkInputFile(option: string, file: string): Promise<void> {
  if (!(await isThere(file))) throw new InputError(`${option}: expected a file, got nothing at ${file}`);
  const found = await stat(file);
  if (found.isFile()) return;
  // A pipe that nobody writes to would be waited for without end, and what comes through one cannot be read a second time.
  const what = found.isDirectory() ? "the folder" : "a pipe or device,";
  throw new InputError(`${option}: expected a file, got ${what} ${file}`);
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
