/**
 * @file Pages and figures that were made of a folder: they show what was there then, so they go when it changes. Only what bears the
 * mark of this program goes: a figure that somebody else has put there stays.
 */

import { open, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { RESULT_FILES } from "./result-files.js";

/** Stands near the beginning of every page and figure. */
export const PAGE_MARK = "atpkit-run";

/** Where the mark is looked for. */
const HEAD_BYTES = 2 ** 12;

const FIGURE = /^report-[\w.-]+\.svg$/;

/** The name of a figure's file. */
export function figureFile(id: string): string {
  return `report-${id}.svg`;
}

/** Removes them. */
export async function removePages(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (name !== RESULT_FILES.page.name && !FIGURE.test(name)) continue;
    const path = join(folder, name);
    if (await hasMark(path)) await rm(path, { force: true });
  }
}

async function hasMark(path: string): Promise<boolean> {
  const handle = await open(path).catch(() => undefined);
  if (!handle) return false;
  try {
    const head = Buffer.alloc(HEAD_BYTES);
    const { bytesRead } = await handle.read(head, 0, HEAD_BYTES, 0);
    return head.subarray(0, bytesRead).includes(PAGE_MARK);
  } finally {
    await handle.close();
  }
}
