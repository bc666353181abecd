/**
 * @file The Hugging Face cache on disk, in the layout that the Python tools use, so that files are shared with them:
 *
 *     models--owner--name/
 *       blobs/{hash}                       the bytes, under the SHA-256 (large files) or git hash that the hub names
 *       snapshots/{commit}/{file}          a link to a blob
 *       refs/{revision}                    the commit that a branch or tag pointed to last
 *
 * A file gets its name in blobs, snapshots or refs by one rename of something complete, so a reader never sees a part
 * of a file, whoever else is writing.
 */
import { randomUUID } from "node:crypto";
import { copyFile, mkdir, readFile, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { getRepoFolderName } from "@huggingface/hub";
import { INDEX_FILE, parseWeightMap, WEIGHTS_FILE } from "./safetensors-index.js";

export const CONFIG_FILE = "config.json";

/** Git's name of a commit, and of a small file. */
const SHA1 = /^[0-9a-f]{40}$/;

export function isCommit(revision: string): boolean {
  return SHA1.test(revision);
}

/** A model's folder in the cache. `id` is `owner/name` or `name`. */
export function storageFolder(cacheDir: string, id: string): string {
  return join(cacheDir, getRepoFolderName({ type: "model", name: id }));
}

export function snapshotFolder(storage: string, commit: string): string {
  return join(storage, "snapshots", commit);
}

/** The size in bytes of what `path` leads to; undefined where there is no file, or a link that leads nowhere. */
export async function fileSize(path: string): Promise<number | undefined> {
  try {
    const entry = await stat(path);
    return entry.isFile() ? entry.size : undefined;
  } catch {
    return undefined;
  }
}

/** Makes `snapshots/{commit}/{file}` lead to the blob, in one step; a copy where the system has no links. */
export async function linkIntoSnapshot(blob: string, snapshotFile: string): Promise<void> {
  await mkdir(dirname(snapshotFile), { recursive: true });
  await replace(snapshotFile, async (temporary) => {
    try {
      await symlink(relative(dirname(snapshotFile), blob), temporary);
    } catch {
      // Windows without developer mode, some network drives.
      await copyFile(blob, temporary);
    }
  });
}

/** Notes which commit a branch or tag points to. */
export async function writeRef(storage: string, revision: string, commit: string): Promise<void> {
  if (isCommit(revision)) return;
  const path = join(storage, "refs", revision);
  if ((await readRef(storage, revision)) === commit) return;
  await mkdir(dirname(path), { recursive: true });
  await replace(path, (temporary) => writeFile(temporary, commit));
}

async function readRef(storage: string, revision: string): Promise<string | undefined> {
  try {
    return (await readFile(join(storage, "refs", revision), "utf8")).trim();
  } catch {
    return undefined;
  }
}

async function replace(path: string, write: (temporary: string) => Promise<void>): Promise<void> {
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    await write(temporary);
    await rename(temporary, path);
  } finally {
    await rm(temporary, { force: true });
  }
}

/**
 * The folder of a revision that the cache holds completely: config.json and all weights. A tokenizer is not asked for,
 * because a repository need not have one.
 */
export async function cachedSnapshot(storage: string, revision: string): Promise<string | undefined> {
  const commit = isCommit(revision) ? revision : await readRef(storage, revision);
  if (commit === undefined || !isCommit(commit)) return undefined;
  const folder = snapshotFolder(storage, commit);
  const has = async (file: string) => (await fileSize(join(folder, file))) !== undefined;
  if (!(await has(CONFIG_FILE))) return undefined;
  if (await has(WEIGHTS_FILE)) return folder;
  if (!(await has(INDEX_FILE))) return undefined;
  const shards = await Promise.all((await readShardNames(join(folder, INDEX_FILE))).map(has));
  return shards.every(Boolean) ? folder : undefined;
}

/** The safetensors files that a model.safetensors.index.json names, each once, sorted. Throws InputError naming the index. */
export async function readShardNames(index: string): Promise<string[]> {
  const shardOf = parseWeightMap(await readFile(index, "utf8"), index);
  return [...new Set(shardOf.values())].sort();
}
