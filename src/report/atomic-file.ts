/**
 * @file Files that are complete or not there: written under a temporary name in the same folder, flushed to the disk,
 * then renamed. Whatever breaks off, a file of an earlier run stays as it was.
 */

import { randomUUID } from "node:crypto";
import { rmSync } from "node:fs";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { RunError } from "../errors.js";

/** Temporary files of this process, for an exit that waits for nobody. */
const temporaries = new Set<string>();

/**
 * Writes a file through `write`, replacing what is there only when all of it is on the disk.
 * @throws RunError if the disk refuses; whatever `write` throws. No temporary file stays behind
 */
export async function writeAtomically(
  path: string,
  write: (handle: FileHandle) => Promise<void>,
): Promise<void> {
  // Others may be writing the same file: in this process, or on a machine that has the same folder.
  const temporary = join(dirname(path), `.${basename(path)}.${randomUUID()}.tmp`);
  temporaries.add(temporary);
  try {
    const handle = await open(temporary, "w");
    try {
      await write(handle);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    // What comes from the file system has a system call; an abort has not.
    if (!(error instanceof Error && "syscall" in error)) throw error;
    throw new RunError(`writeAtomically: ${path}: ${error.message}`, { cause: error });
  } finally {
    temporaries.delete(temporary);
  }
}

/** Removes what `writeAtomically` has under way, at once: for a process that is about to exit. */
export function removeTemporaries(): void {
  for (const path of temporaries) rmSync(path, { force: true });
}
