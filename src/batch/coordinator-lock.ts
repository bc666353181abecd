/**
 * @file One job at a time in an output folder. Two would not harm each other's shards, which are the same or have other names, but
 * they would take turns in replacing the list.
 */

import { open, readFile, rm } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { InputError, RunError } from "../errors.js";
import { isRunning } from "./status.js";

const LOCK_FILE = "job.lock";

const ownerSchema = z.object({ pid: z.number(), host: z.string() });

/**
 * Takes the lock of a folder. One whose process was killed is taken over. So is one of another machine, of which nothing is known: a
 * job that a cluster starts again comes up elsewhere.
 * @returns gives it back
 * @throws InputError where another process of this machine has it; RunError if the disk refuses
 */
export async function lockFolder(
  folder: string,
  onNotice?: (text: string) => void,
): Promise<() => Promise<void>> {
  const path = join(folder, LOCK_FILE);
  const free = () => rm(path, { force: true });
  if (await create(path)) return free;
  const owner = await ownerOf(path);
  if (owner && owner.host !== hostname()) {
    onNotice?.(
      `warning: process ${owner.pid} of ${owner.host} has begun a job in ${folder}, too; if it still runs, results are right, but some work is done twice`,
    );
  } else if (owner && owner.pid !== process.pid && isRunning(owner.pid)) {
    // In a container this process may have the number of an earlier one.
    throw new InputError(
      `runJob: expected an output folder in which no other job runs, got ${folder}, where process ${owner.pid} runs one (if it does not: remove ${path})`,
    );
  }
  await free();
  if (await create(path)) return free;
  throw new InputError(
    `runJob: expected an output folder in which no other job runs, got ${folder}, where one has just begun`,
  );
}

async function create(path: string): Promise<boolean> {
  try {
    const handle = await open(path, "wx");
    try {
      await handle.writeFile(JSON.stringify({ pid: process.pid, host: hostname() }));
    } finally {
      await handle.close();
    }
    return true;
  } catch (error) {
    if (!(error instanceof Error && "code" in error)) throw error;
    if (error.code === "EEXIST") return false;
    throw new RunError(`runJob: ${path}: ${error.message}`, { cause: error });
  }
}

/** Undefined for a lock that was not written to its end. */
async function ownerOf(path: string): Promise<z.infer<typeof ownerSchema> | undefined> {
  try {
    return ownerSchema.parse(JSON.parse(await readFile(path, "utf8")));
  } catch {
    return undefined;
  }
}
