/** @file The JSON files of an output folder, checked: what is wrong is named by file and field. */

import { readFile } from "node:fs/promises";
import type { z } from "zod";
import { codeOf, InputError } from "../../errors.js";
import { fieldName } from "../../field-errors.js";

/**
 * The content of a file; undefined where there is none.
 * @throws InputError naming file and field
 */
export async function readJsonFile<Content>(
  file: string,
  schema: z.ZodType<Content>,
): Promise<Content | undefined> {
  const text = await readIfThere(file);
  if (text === undefined) return undefined;
  const parsed = schema.safeParse(parse(text, file));
  if (parsed.success) return parsed.data;
  const [{ path, message }] = parsed.error.issues;
  throw new InputError(`readReportFolder: ${file}: ${fieldName(path) || "the document"}: ${message}`);
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw new InputError(`readReportFolder: ${file}: expected a readable file, got ${String(error)}`);
  }
}

function parse(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new InputError(`readReportFolder: ${file}: expected JSON, got ${String(error)}`);
  }
}
