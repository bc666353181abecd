/**
 * @file The shards of a job on disk: one file each in the folder `shards` of the output folder, named by what it depends on. A file
 * with a shard's name is whole and right, or it is not there; any number of processes, on any number of machines, may read and write.
 */

import { type FileHandle, mkdir, open, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { removeLeftovers, writeAll, writeAtomically } from "../atomic-file.js";
import { codeOf, RunError } from "../errors.js";
import { shown } from "../shown-text.js";
import { HASH } from "./identity.js";
import { type ByteSource, bytesAsSource, readShard, shardPieces } from "./shard-file.js";
import type { ShardResult } from "./shard-result.js";

const FOLDER = "shards";
const SUFFIX = ".shard";
/** What a broken file's name ends with, once it is out of the way. */
const BROKEN = ".corrupt";

/** A temporary file that nobody has written to for an hour is one that a killed process left. */
const STALE_MS = 3_600_000;

export interface StoreOptions {
  /** Told of files that are not what their names promise, and count as missing. */
  readonly onNotice?: (text: string) => void;
}

export class ShardStore {
  readonly #notice: (text: string) => void;

  private constructor(
    readonly folder: string,
    { onNotice = () => {} }: StoreOptions,
  ) {
    this.#notice = onNotice;
  }

  /**
   * The shards of an output folder, which is made where it is not there.
   * @throws RunError if the disk refuses
   */
  static async open(outputFolder: string, options: StoreOptions = {}): Promise<ShardStore> {
    const folder = join(outputFolder, FOLDER);
    await onDisk(folder, async () => {
      await mkdir(folder, { recursive: true });
      await removeLeftovers(folder, { before: Date.now() - STALE_MS });
    });
    return new ShardStore(folder, options);
  }

  /**
   * Whether the shard is there, every bit of it as it was written. A file that is not so is set aside, with a notice.
   * @throws RunError if the disk refuses
   */
  async has(name: string): Promise<boolean> {
    return (await this.#read(name)) !== undefined;
  }

  /** The shard, or undefined where `has` is false. @throws RunError if the disk refuses */
  async get(name: string): Promise<ShardResult | undefined> {
    return await this.#read(name);
  }

  /** @throws RunError for a shard that is not there, or is broken: it is set aside then, with a notice; if the disk refuses */
  async read(name: string): Promise<ShardResult> {
    const result = await this.#read(name);
    if (!result) throw missing(name);
    return result;
  }

  /**
   * Puts a shard in place. One that is there already is replaced, by the same numbers.
   * @throws RunError if the disk refuses: nothing is left behind then
   */
  async write(name: string, result: ShardResult): Promise<void> {
    await writeAtomically(this.#path(name), async (handle) => {
      for (const piece of shardPieces(name, result)) await writeAll(handle, piece);
    });
  }

  /**
   * A shard as bytes, to be sent to another store. In memory twice for a moment.
   * @throws as `read` does
   */
  async readBytes(name: string): Promise<Uint8Array> {
    const result = await this.read(name);
    return Buffer.concat([...shardPieces(name, result)]);
  }

  /**
   * Puts a shard in place that comes from another store. In memory twice for a moment.
   * @param problemOf what is wrong with a whole result, where anything is
   * @throws RunError for bytes that are not this shard, whole, or with such a problem; as `write` does
   */
  async writeBytes(
    name: string,
    bytes: Uint8Array,
    problemOf: (result: ShardResult) => string | undefined = () => undefined,
  ): Promise<void> {
    const path = this.#path(name);
    const problem = problemOf(await readShard(name, bytesAsSource(bytes)));
    if (problem !== undefined) throw new RunError(`ShardStore: ${name}: ${problem}`);
    await writeAtomically(path, (handle) => writeAll(handle, bytes));
  }

  /**
   * Removes a shard, if it is there.
   * @throws RunError if the disk refuses
   */
  async remove(name: string): Promise<void> {
    const path = this.#path(name);
    await onDisk(path, () => rm(path, { force: true }));
  }

  /** The only way from a name to a path: nothing but a hash becomes one. */
  #path(name: string): string {
    if (!HASH.test(name))
      throw new RunError(`ShardStore: expected a name of 64 hexadecimal digits, got ${shown(name)}`);
    return join(this.folder, `${name}${SUFFIX}`);
  }

  /** Undefined for a shard that is not there, or is broken. */
  async #read(name: string): Promise<ShardResult | undefined> {
    const path = this.#path(name);
    return await onDisk(path, async () => {
      const handle = await openExisting(path);
      if (!handle) return undefined;
      try {
        return await readShard(name, await fileAsSource(handle, path));
      } catch (error) {
        // What the file system refuses is no fault of the file, and not told of by a RunError before `onDisk`.
        if (!(error instanceof RunError)) throw error;
        await this.#setAside(path, handle, error.message);
        return undefined;
      } finally {
        await handle.close();
      }
    });
  }

  /** Moves a broken file out of the way, unless somebody has replaced it meanwhile. */
  async #setAside(path: string, handle: FileHandle, why: string): Promise<void> {
    const [read, there] = [await handle.stat(), await stat(path).catch(() => undefined)];
    if (there === undefined || there.ino !== read.ino) return;
    await rename(path, `${path}${BROKEN}`);
    this.#notice(`${path}: ${why}; it is made again`);
  }
}

/** Undefined where there is no file. */
async function openExisting(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, "r");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

async function fileAsSource(handle: FileHandle, path: string): Promise<ByteSource> {
  const { size } = await handle.stat();
  let at = 0;
  return {
    size,
    async read(target) {
      for (let filled = 0; filled < target.length; ) {
        const { bytesRead } = await handle.read(target, filled, target.length - filled, at);
        if (bytesRead === 0) throw new RunError(`ShardStore: ${path}: expected ${size} bytes, got ${at}`);
        filled += bytesRead;
        at += bytesRead;
      }
    },
  };
}

function missing(name: string): RunError {
  return new RunError(`ShardStore: expected shard ${name}, got none`);
}

/** Names the file where the file system refuses. */
async function onDisk<Result>(path: string, body: () => Promise<Result>): Promise<Result> {
  try {
    return await body();
  } catch (error) {
    if (!(error instanceof Error && "syscall" in error)) throw error;
    throw new RunError(`ShardStore: ${path}: ${error.message}`, { cause: error });
  }
}
