/** @file Job files. */

import { readFile } from "node:fs/promises";
import { InputError } from "../errors.js";
import { issueText } from "../field-errors.js";
import { shown } from "../shown-text.js";
import { type JobSpec, jobSpecSchema } from "./spec.js";

/**
 * Reads a job's spec and checks its shape.
 * @throws InputError for a file that cannot be read or is not JSON, naming line and column; naming every field that is missing,
 *   unknown or wrong
 */
export async function readJobSpec(file: string): Promise<JobSpec> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new InputError(`readJobSpec: ${file}: expected a job file, got: ${message}`);
  }
  const result = jobSpecSchema.safeParse(parse(text, file));
  if (result.success) return result.data;
  const known = Object.keys(jobSpecSchema.shape);
  const issues = result.error.issues.map((issue) => issueText(issue, known));
  throw new InputError(`readJobSpec: ${file}: ${issues.join("; ")}`);
}

function parse(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    const at = errorOffset(text);
    const before = text.slice(0, at).split("\n");
    const place = `${file}:${before.length}:${(before.at(-1)?.length ?? 0) + 1}`;
    const got = at < text.length ? shown(text[at]) : "the end of the file";
    throw new InputError(`readJobSpec: ${place}: expected JSON, got ${got}`);
  }
}

/**
 * The first character that cannot stand where it stands. Not every Node tells, but every one tells text that breaks off from text
 * that goes wrong, so the longest beginning that merely breaks off is searched.
 */
function errorOffset(text: string): number {
  let [good, bad] = [0, text.length + 1];
  while (bad - good > 1) {
    const middle = (good + bad) >> 1;
    if (breaksOff(text.slice(0, middle))) good = middle;
    else bad = middle;
  }
  return good;
}

function breaksOff(beginning: string): boolean {
  try {
    JSON.parse(beginning);
    return true;
  } catch (error) {
    const message = error instanceof Error ? error.message : "";
    const [, position] = / at position (\d+)/.exec(message) ?? [];
    return position === undefined
      ? /^Unexpected end|^Unterminated string/.test(message)
      : Number(position) >= beginning.length;
  }
}
