/** @file The JSON files of a folder of results, checked: what is wrong is named by file and field. */

import type { z } from "zod";
import { InputError } from "../errors.js";
import { fieldName } from "../field-errors.js";
import { parseJsonText, readTextFile } from "../text-file.js";

/**
 * The content of a file; undefined where there is none.
 * @throws InputError naming file and field
 */
export async function readJsonDocument<Content>(
  file: string,
  schema: z.ZodType<Content>,
): Promise<Content | undefined> {
  const text = await readTextFile(file);
  if (text === undefined) return undefined;
  const parsed = schema.safeParse(parseJsonText(text, file));
  if (parsed.success) return parsed.data;
  const [{ path, message }] = parsed.error.issues;
  throw new InputError(`readJsonDocument: ${file}: ${fieldName(path) || "the document"}: ${message}`);
}
