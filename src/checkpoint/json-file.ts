/** @file Text and JSON of a checkpoint's files, with errors that name the file. */

import { access } from "node:fs/promises";
import { InputError } from "../errors.js";
import { shown } from "../shown-text.js";
import { readTextFile } from "../text-file.js";

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
    return await readTextFile(file);
  } catch (error) {
    throw error instanceof InputError ? new InputError(`loadModel: ${error.message}`) : error;
  }
}

/**
 * @param what the file, or the part of it, for the error text
 * @throws InputError when the text is not JSON
 */
export function parseJson(text: string, what: string): unknown {
  if (isDeeper(text, DEEPEST)) {
    throw new InputError(`loadModel: expected ${what} to be JSON, got brackets more than ${DEEPEST} deep`);
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new InputError(`loadModel: expected ${what} to be JSON, got ${error}`);
  }
}

/** Levels of brackets: each takes a hundred times the memory of its character. */
const DEEPEST = 100_000;

/** Whether brackets nest deeper than that in a text, JSON or not. */
function isDeeper(text: string, most: number): boolean {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === '"') at = endOfText(text, at) - 1;
    else if (character === "{" || character === "[") depth++;
    else if (character === "}" || character === "]") depth--;
    if (depth > most) return true;
  }
  return false;
}

/**
 * The members of a JSON object by name, whatever the names are: in an object of JavaScript `__proto__` would be none.
 * @param what the file, or the part of it, for the error text
 * @throws InputError when the text is not JSON or no object, or an object in it has a name twice, of which JSON.parse would
 *   take the last without a word
 */
export function parseJsonObject(text: string, what: string): ReadonlyMap<string, unknown> {
  const members = membersOf(parseJson(text, what));
  if (members === undefined) {
    throw new InputError(`loadModel: expected ${what} to be a JSON object, got another value`);
  }
  const repeated = repeatedName(text);
  if (repeated === undefined) return members;
  throw new InputError(`loadModel: expected ${what} to have every name once, got ${shown(repeated)} twice`);
}

/** The members of an object by name; undefined for another value. */
export function membersOf(value: unknown): ReadonlyMap<string, unknown> | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  return new Map<string, unknown>(Object.entries(value));
}

/** The first name that an object of a valid JSON text has twice. A loop: the text may nest as deep as it is long. */
function repeatedName(text: string): string | undefined {
  /** The names of each open object; nothing for an array. */
  const open: (Set<string> | undefined)[] = [];
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === "{") open.push(new Set());
    else if (character === "[") open.push(undefined);
    else if (character === "}" || character === "]") open.pop();
    else if (character === '"') {
      const end = endOfText(text, at);
      if (isName(text, end)) {
        const name: string = JSON.parse(text.slice(at, end));
        const names = open[open.length - 1];
        if (names?.has(name)) return name;
        names?.add(name);
      }
      at = end - 1;
    }
  }
  return undefined;
}

/** Behind the closing quotation mark of the text that begins at `start`, or at the end of everything where there is none. */
function endOfText(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
  return at + 1;
}

/** Whether a colon follows. */
function isName(text: string, end: number): boolean {
  let at = end;
  while (/\s/.test(text[at] ?? "")) at++;
  return text[at] === ":";
}
