/**
 * @file Which files of a folder this program has written. A folder may hold anything else under the same name, such as somebody's
 * manifest.json: only what bears the mark of its kind is ever removed.
 */

import { open, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { PAGE_MARK, RESULT_FILES, type ResultName } from "./result-files.js";

/** Where a mark is looked for: the head of texts, the end of tables that have their names there. */
const HEAD_BYTES = 2 ** 12;
const TAIL_BYTES = 2 ** 14;

const FIGURE = /^report-[\w.-]+\.svg$/;

/** The name of a figure's file. */
export function figureFile(id: string): string {
  return `report-${id}.svg`;
}

/**
 * Removes a result, if it is one.
 * @returns whether there was one
 */
export async function removeOwn(folder: string, name: ResultName): Promise<boolean> {
  const { name: file, mark } = RESULT_FILES[name];
  return await removeMarked(join(folder, file), mark);
}

/** Removes pages and figures that were made of a folder: they show what was there then. */
export async function removePages(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (name === RESULT_FILES.page.name || FIGURE.test(name))
      await removeMarked(join(folder, name), PAGE_MARK);
  }
}

async function removeMarked(path: string, mark: RegExp): Promise<boolean> {
  if (!(await bears(path, mark))) return false;
  await rm(path, { force: true });
  return true;
}

async function bears(path: string, mark: RegExp): Promise<boolean> {
  const handle = await open(path).catch(() => undefined);
  if (!handle) return false;
  try {
    const found = await handle.stat();
    if (!found.isFile()) return false;
    const part = async (from: number, most: number) => {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(most), 0, most, from);
      return buffer.toString("latin1", 0, bytesRead);
    };
    return (
      mark.test(await part(0, HEAD_BYTES)) ||
      mark.test(await part(Math.max(0, found.size - TAIL_BYTES), TAIL_BYTES))
    );
  } finally {
    await handle.close();
  }
}
