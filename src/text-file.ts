/** @file Text files that are read at one go, of whatever origin: a pipe is not waited for, and a file of gigabytes is not read. */

import { constants, readFileSync, statSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { asError, codeOf, InputError } from "./errors.js";

/** More than any file that this package reads whole: a tokenizer.json of a vocabulary of a million. */
export const MAX_TEXT_BYTES = 2 ** 28;

/** Opening a pipe waits for its other end, unless it is told not to. */
const AT_ONCE = constants.O_RDONLY | constants.O_NONBLOCK;

/**
 * The text of a file; undefined where there is none.
 * @param most bytes
 * @throws InputError, beginning with the path, for what is no file, is larger, or cannot be read
 */
export async function readTextFile(path: string, most = MAX_TEXT_BYTES): Promise<string | undefined> {
  let handle: FileHandle | undefined;
  try {
    handle = await openPlainFile(path);
    const { size } = await handle.stat();
    checkSize(path, size, most);
    return await handle.readFile("utf8");
  } catch (error) {
    return notThere(path, error);
  } finally {
    await handle?.close();
  }
}

/** The same, without waiting: for what is read while options are parsed. */
export function readTextFileNow(path: string, most = MAX_TEXT_BYTES): string | undefined {
  try {
    const found = statSync(path);
    checkFile(path, found.isFile());
    checkSize(path, found.size, most);
    return readFileSync(path, "utf8");
  } catch (error) {
    return notThere(path, error);
  }
}

/**
 * What JSON text says.
 * @param where the file, or the place in it, for the error text
 * @throws InputError
 */
export function parseJsonText(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new InputError(`${where}: expected JSON, got ${asError(error).message}`);
  }
}

/** Whether a value of unknown origin nests no deeper: what is deeper ends the process of whoever goes through it. */
export function nestsWithin(value: unknown, depth: number): boolean {
  if (typeof value !== "object" || value === null) return true;
  return depth > 0 && Object.values(value).every((part) => nestsWithin(part, depth - 1));
}

/**
 * Opens a file to be read; a pipe is not waited for.
 * @throws InputError, beginning with the path, for what is no file; the error of the system, such as ENOENT
 */
export async function openPlainFile(path: string): Promise<FileHandle> {
  const handle = await open(path, AT_ONCE);
  try {
    checkFile(path, (await handle.stat()).isFile());
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

function checkFile(path: string, isFile: boolean): void {
  if (!isFile) throw new InputError(`${path}: expected a file, got a folder, pipe or device`);
}

function checkSize(path: string, size: number, most: number): void {
  if (size > most) throw new InputError(`${path}: expected a file of at most ${most} bytes, got ${size}`);
}

function notThere(path: string, error: unknown): undefined {
  if (error instanceof InputError) throw error;
  if (codeOf(error) === "ENOENT") return undefined;
  throw new InputError(`${path}: expected a readable file, got ${asError(error).message}`);
}
