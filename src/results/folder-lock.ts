/**
 * @file One writer at a time in a folder of results, among the processes of a machine: two would take turns in replacing its files,
 * and leave those of both.
 *
 * A lock is a file that is linked to its name when it is written to its end, so whoever reads it finds its owner. The lock of a dead
 * owner is replaced by whoever holds a second lock, which is for replacing this very one: of two who find it, one gets it. The second
 * lock is one like the first, so if its owner dies, too, a third one decides about that.
 */

import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { copyFile, link, readFile, realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { removeLeftovers, temporaryFor } from "../atomic-file.js";
import { codeOf, InputError, RunError } from "../errors.js";

const LOCK_FILE = "run.lock";

/** Of a lock whose owner did not say: an earlier version of this program, or somebody else. */
const NO_ID = "unknown";

/**
 * A temporary file that nobody has written to for so long before a lock was taken is one that a killed process left. So is any of a
 * file that only the owner of the lock writes: locks and pages are made without one.
 */
const LEFT_MS = 60_000;
const OWN_TEMPORARY = /^\.(?!run\.lock|report|model-hash)/;

const ownerSchema = z.object({ id: z.uuid().catch(NO_ID), pid: z.int().positive(), host: z.string() });

type Owner = z.infer<typeof ownerSchema>;

/** What file systems without hard links say: FAT, some network shares. A copy there is whole but for an instant. */
const WITHOUT_LINKS: ReadonlySet<unknown> = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"]);

/** Folders that this process has locked. */
const lockedHere = new Set<string>();

/** A lock that is being taken. */
interface Attempt {
  readonly folder: string;
  readonly owner: Owner;
  readonly onNotice: ((text: string) => void) | undefined;
}

/**
 * Takes the lock of a folder. One whose process was killed is taken over. So is one of another machine, of which nothing is known: a
 * job that a cluster starts again comes up elsewhere. Half files that killed processes have left in the folder are removed.
 * @returns gives it back
 * @throws InputError where another process of this machine, or this one, has it; RunError if the disk refuses
 */
export async function lockFolder(
  folder: string,
  onNotice?: (text: string) => void,
): Promise<() => Promise<void>> {
  const path = join(folder, LOCK_FILE);
  const key = await onDisk(path, () => realpath(folder));
  if (lockedHere.has(key)) throw refused(folder, "this process does");
  lockedHere.add(key);
  const owner = { id: randomUUID(), pid: process.pid, host: hostname() };
  try {
    await take(path, { folder, owner, onNotice });
    // By the clock of the disk, which may be another machine's.
    const { mtimeMs } = await onDisk(path, () => stat(path));
    await onDisk(folder, () => removeLeftovers(folder, { before: mtimeMs - LEFT_MS, own: OWN_TEMPORARY }));
  } catch (error) {
    lockedHere.delete(key);
    throw error;
  }
  return async () => {
    await giveBack(path, owner);
    lockedHere.delete(key);
  };
}

/** Who writes to a folder now; undefined where nobody does. Of a process on another machine it is not known whether it still runs. */
export async function writerOf(
  folder: string,
): Promise<{ readonly pid: number; readonly host: string } | undefined> {
  const owner = await ownerOf(join(folder, LOCK_FILE));
  if (!owner || owner.id === NO_ID) return undefined;
  const { pid, host } = owner;
  return host !== hostname() || isRunning(pid) ? { pid, host } : undefined;
}

async function take(path: string, attempt: Attempt): Promise<void> {
  const { folder, owner, onNotice } = attempt;
  for (;;) {
    if (await linked(path, owner)) return;
    const before = await ownerOf(path);
    // Given back meanwhile.
    if (!before) continue;
    if (before.host === owner.host && before.pid !== owner.pid && isRunning(before.pid)) {
      // In a container this process may have the number of an earlier one.
      throw refused(folder, `process ${before.pid} does (if it does not: remove ${path})`);
    }
    if (!(await replaced(path, before, attempt))) continue;
    if (before.host !== owner.host) {
      onNotice?.(
        `warning: process ${before.pid} of ${before.host} has begun to write to ${folder}, too; if it still runs, stop one of the two`,
      );
    }
    return;
  }
}

/** Puts an own lock in the place of a dead owner's; false where somebody else has done so before. */
async function replaced(path: string, before: Owner, attempt: Attempt): Promise<boolean> {
  const { owner } = attempt;
  const turn = `${path}.${before.id}`;
  await take(turn, { ...attempt, onNotice: undefined });
  try {
    // Whoever replaced it had this turn before, and gave it back after that.
    if ((await ownerOf(path))?.id !== before.id) return false;
    await written(path, owner, (temporary) => rename(temporary, path));
    return true;
  } finally {
    await giveBack(turn, owner);
  }
}

/** Creates a lock; false where there is one. */
async function linked(path: string, owner: Owner): Promise<boolean> {
  return await written(path, owner, async (temporary) => {
    try {
      await link(temporary, path).catch((error) => {
        if (!WITHOUT_LINKS.has(codeOf(error))) throw error;
        return copyFile(temporary, path, constants.COPYFILE_EXCL);
      });
      return true;
    } catch (error) {
      if (codeOf(error) === "EEXIST") return false;
      throw error;
    }
  });
}

/** A whole lock under a temporary name, for as long as `use` takes. */
async function written<Result>(
  path: string,
  owner: Owner,
  use: (temporary: string) => Promise<Result>,
): Promise<Result> {
  const temporary = temporaryFor(path);
  return await onDisk(path, async () => {
    try {
      await writeFile(temporary, JSON.stringify(owner));
      return await use(temporary);
    } finally {
      await rm(temporary, { force: true });
    }
  });
}

async function giveBack(path: string, { id }: Owner): Promise<void> {
  if ((await ownerOf(path))?.id === id) await onDisk(path, () => rm(path, { force: true }));
}

/** Undefined where there is no lock. */
async function ownerOf(path: string): Promise<Owner | undefined> {
  let text: string;
  try {
    text = await onDisk(path, () => readFile(path, "utf8"));
  } catch (error) {
    if (error instanceof RunError && codeOf(error.cause) === "ENOENT") return undefined;
    throw error;
  }
  try {
    return ownerSchema.parse(JSON.parse(text));
  } catch {
    // Broken: as one of an earlier process with the number of this one, which does not run.
    return { id: NO_ID, pid: process.pid, host: hostname() };
  }
}

async function onDisk<Result>(path: string, body: () => Promise<Result>): Promise<Result> {
  try {
    return await body();
  } catch (error) {
    if (!(error instanceof Error) || codeOf(error) === undefined) throw error;
    throw new RunError(`lockFolder: ${path}: ${error.message}`, { cause: error });
  }
}

function refused(folder: string, where: string): InputError {
  return new InputError(
    `lockFolder: expected a results folder that nobody else writes to, got ${folder}, where ${where}`,
  );
}

/** Whether this machine has a process of that number. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it is somebody else's.
    return codeOf(error) === "EPERM";
  }
}
