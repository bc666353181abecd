/** @file Text and JSON of a checkpoint's files, with errors that name the file. */

import { access, readFile } from "node:fs/promises";
import { codeOf, InputError } from "../errors.js";

export async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/**
 * The text of a file; undefined when there is none.
 * @throws InputError when it is there and cannot be read
 */
export async function readText(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw new InputError(`loadModel: expected ${file} to be readable, got ${error}`);
  }
}

/**
 * @param what the file, or the part of it, for the error text
 * @throws InputError when the text is not JSON
 */
export function parseJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new InputError(`loadModel: expected ${what} to be JSON, got ${error}`);
  }
}
