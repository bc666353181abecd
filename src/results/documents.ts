/** @file Of which run the files of a folder are, as their documents say: all that has to be known before something is written beside them. */

import { stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { InputError } from "../errors.js";
import { readJsonDocument } from "./json-document.js";
import { DOCUMENTS, RESULT_FILES } from "./result-files.js";

export interface OwnDocument {
  /** Absent in one of an earlier version, and in one that was cut. */
  readonly run?: string;
  /** The run of the list that it is about. */
  readonly list?: string;
}

const schema = z.object({
  run: z.string().optional(),
  list: z.object({ run: z.string().optional() }).optional(),
});

/** What a group of a folder says of itself; undefined where the folder has none. */
export async function readOwnDocument(
  folder: string,
  group: keyof typeof DOCUMENTS,
): Promise<OwnDocument | undefined> {
  try {
    const found = await readJsonDocument(join(folder, RESULT_FILES[DOCUMENTS[group]].name), schema);
    if (!found) return undefined;
    const list = found.list?.run;
    return { ...(found.run !== undefined && { run: found.run }), ...(list !== undefined && { list }) };
  } catch (error) {
    // Cut or foreign: it is there, and says nothing.
    if (error instanceof InputError) return {};
    throw error;
  }
}

export async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() ?? false;
}
