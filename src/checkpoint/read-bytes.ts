/** @file Positional reads that either fill their buffer or say why not. */

import { readSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { RunError } from "../errors.js";

/**
 * Fills `target` from `position` of an open file. Node reads at most 2 GiB in one call: longer targets are the
 * caller's to cut.
 * @param file the file's path, for the error text
 * @throws RunError when the file ends before `target` is full
 */
export async function readBytes(
  handle: FileHandle,
  file: string,
  target: Uint8Array,
  position: number,
): Promise<void> {
  for (let done = 0; done < target.length; ) {
    const { bytesRead } = await handle.read(target, done, target.length - done, position + done);
    if (bytesRead === 0) throw endOfFile(file, target.length - done, position + done);
    done += bytesRead;
  }
}

/**
 * `readBytes` without the event loop, for a thread that does nothing else.
 * @throws RunError when the file ends before `target` is full, or cannot be read
 */
export function readBytesSync(fd: number, file: string, target: Uint8Array, position: number): void {
  for (let done = 0; done < target.length; ) {
    const bytesRead = readOnce(fd, file, target.subarray(done), position + done);
    if (bytesRead === 0) throw endOfFile(file, target.length - done, position + done);
    done += bytesRead;
  }
}

function readOnce(fd: number, file: string, target: Uint8Array, position: number): number {
  try {
    return readSync(fd, target, 0, target.length, position);
  } catch (error) {
    throw new RunError(
      `loadModel: expected to read ${target.length} bytes at ${position} of ${file}, got ${error}`,
    );
  }
}

function endOfFile(file: string, missing: number, position: number): RunError {
  return new RunError(
    `loadModel: expected ${missing} more bytes at ${position} of ${file}, got its end: the file changed while it was read`,
  );
}
