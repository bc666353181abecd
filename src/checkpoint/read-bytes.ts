/** @file Positional reads that either fill their buffer or say why not. */

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
    if (bytesRead === 0) {
      throw new RunError(
        `loadModel: expected ${target.length - done} more bytes at ${position + done} of ${file}, got its end: ` +
          "the file changed while it was read",
      );
    }
    done += bytesRead;
  }
}
