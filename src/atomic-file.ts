/**
 * @file Files that are complete or not there: written under a temporary name in the same folder, flushed to the disk,
 * then renamed. Whatever breaks off, a file of an earlier run stays as it was.
 */

import { randomUUID } from "node:crypto";
import { rmSync } from "node:fs";
import { type FileHandle, open, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { RunError } from "./errors.js";

/** What `temporaryFor` gives. */
const TEMPORARY = /^\..+\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.tmp$/;

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
  const temporary = temporaryFor(path);
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

/**
 * Writes a value as a JSON file that people can read, complete or not at all.
 * @throws RunError if the disk refuses
 */
export async function writeJson(path: string, value: unknown): Promise<void> {
  const text = `${JSON.stringify(value, undefined, 2)}\n`;
  await writeAtomically(path, (handle) => handle.writeFile(text));
}

/** Writes bytes behind those that are written: one call of the system may take fewer. */
export async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    written += (await handle.write(bytes, written, bytes.length - written)).bytesWritten;
  }
}

/** A name beside a file that nobody else uses: others may be writing the same file, here or on a machine that has the same folder. */
export function temporaryFor(path: string): string {
  return join(dirname(path), `.${basename(path)}.${randomUUID()}.tmp`);
}

/**
 * Removes temporary files of a folder that killed processes have left.
 * @param before those that nobody has written to since then, ms
 * @param own those that nobody but the caller may be writing, however new
 */
export async function removeLeftovers(
  folder: string,
  { before, own }: { readonly before: number; readonly own?: RegExp },
): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!TEMPORARY.test(name)) continue;
    const path = join(folder, name);
    const isOwn = own?.test(name) ?? false;
    const file = await stat(path).catch(() => undefined);
    if (file && (isOwn || file.mtimeMs < before)) await rm(path, { force: true });
  }
}

/** Removes what `writeAtomically` has under way, at once: for a process that is about to exit. */
export function removeTemporaries(): void {
  for (const path of temporaries) rmSync(path, { force: true });
}
