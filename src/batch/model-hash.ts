/**
 * @file The hash of a model: of its config.json and every file of weights, byte for byte. Gigabytes are hashed once: the hash of a
 * file is remembered for as long as its size, its time of change and its inode stay what they were.
 */

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile, realpath, stat } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import pLimit from "p-limit";
import { z } from "zod";
import { readText } from "../checkpoint/json-file.js";
import { INDEX_FILE, parseWeightMap, WEIGHTS_FILE } from "../checkpoint/safetensors-index.js";
import { InputError, RunError } from "../errors.js";
import { writeAtomically } from "../report/atomic-file.js";

/** Name of the file in an output folder that remembers hashes. */
export const MODEL_HASH_CACHE = "model-hash.json";

/** One core hashes about as fast as a disk reads; two are busy while one of them waits. */
const FILES_AT_ONCE = 2;

const READ_BYTES = 2 ** 22;

/**
 * A file that has changed just now may change again within one tick of the file system's clock. It is hashed again next time.
 */
const SETTLED_MS = 2000;

export interface HashModelOptions {
  /** JSON file that remembers the hashes of files that have not changed; replaced where it is not one. */
  readonly cacheFile: string;
  readonly signal?: AbortSignal;
  /** Told how many bytes are hashed so far, of how many that have to be. */
  readonly onProgress?: (done: number, total: number) => void;
}

const cacheSchema = z.record(
  z.string(),
  z.object({
    /** The folder may be shared by machines that have different files under the same path. */
    host: z.string(),
    size: z.string(),
    mtimeNs: z.string(),
    inode: z.string(),
    sha256: z.string(),
  }),
);

type Cache = z.output<typeof cacheSchema>;
type CachedFile = Cache[string];

interface ModelFile {
  readonly name: string;
  readonly path: string;
  readonly facts: Omit<CachedFile, "sha256">;
  readonly settled: boolean;
}

/**
 * SHA-256 of a model's files, in hexadecimal digits. The same for the same files, wherever they are.
 *
 * @param modelFolder with config.json and safetensors
 * @throws InputError for a folder that lacks one of the files
 * @throws RunError if a file changes meanwhile, or the disk refuses
 * @throws the signal's reason
 */
export async function hashModel(
  modelFolder: string,
  { cacheFile, signal, onProgress }: HashModelOptions,
): Promise<string> {
  const files = await Promise.all((await fileNames(modelFolder)).map((name) => factsOf(modelFolder, name)));
  const cache = await readCache(cacheFile);
  const known = new Map(files.map((file) => [file.name, remembered(cache, file)]));
  const unknown = files.filter(({ name }) => known.get(name) === undefined);
  const total = unknown.reduce((bytes, { facts }) => bytes + Number(facts.size), 0);
  let done = 0;
  const limit = pLimit(FILES_AT_ONCE);
  const hashes = await limit.map(unknown, async (file) => {
    signal?.throwIfAborted();
    const sha256 = await hashFile(file, signal, (bytes) => {
      done += bytes;
      onProgress?.(done, total);
    });
    return [file, sha256] as const;
  });
  for (const [{ name }, sha256] of hashes) known.set(name, sha256);
  const news = hashes.filter(([{ settled }]) => settled);
  if (news.length > 0) {
    const added = news.map(([{ path, facts }, sha256]) => [path, { ...facts, sha256 }] as const);
    const text = JSON.stringify({ ...cache, ...Object.fromEntries(added) }, undefined, 2);
    await writeAtomically(cacheFile, (handle) => handle.writeFile(`${text}\n`));
  }
  const lines = files.map(({ name }) => `${known.get(name)} ${name}\n`);
  return createHash("sha256").update(lines.join("")).digest("hex");
}

/** SHA-256 of a file that is read at one go. */
export async function hashSmallFile(path: string): Promise<string> {
  return createHash("sha256")
    .update(await readFile(path))
    .digest("hex");
}

/** config.json and the files that its weights are read from, in order. */
async function fileNames(folder: string): Promise<string[]> {
  const single = await stat(join(folder, WEIGHTS_FILE)).catch(() => undefined);
  if (single) return ["config.json", WEIGHTS_FILE];
  const index = join(folder, INDEX_FILE);
  const text = await readText(index);
  if (text === undefined) {
    throw new InputError(`hashModel: expected ${WEIGHTS_FILE} or ${INDEX_FILE} in ${folder}, got neither`);
  }
  return ["config.json", INDEX_FILE, ...new Set(Object.values(parseWeightMap(text, index)))].sort();
}

async function factsOf(folder: string, name: string): Promise<ModelFile> {
  try {
    // Files of the hub's cache are links.
    const path = await realpath(join(folder, name));
    const { size, mtimeNs, ino } = await stat(path, { bigint: true });
    return {
      name,
      path,
      facts: { host: hostname(), size: `${size}`, mtimeNs: `${mtimeNs}`, inode: `${ino}` },
      settled: Number(mtimeNs / 1_000_000n) < Date.now() - SETTLED_MS,
    };
  } catch (error) {
    throw new InputError(`hashModel: expected ${name} in ${folder}, got: ${String(error)}`);
  }
}

function remembered(cache: Cache, { path, facts }: ModelFile): string | undefined {
  const entry = Object.hasOwn(cache, path) ? cache[path] : undefined;
  const same =
    entry?.host === facts.host &&
    entry.size === facts.size &&
    entry.mtimeNs === facts.mtimeNs &&
    entry.inode === facts.inode;
  return same ? entry.sha256 : undefined;
}

async function hashFile(
  { name, path, facts }: ModelFile,
  signal: AbortSignal | undefined,
  onBytes: (bytes: number) => void,
): Promise<string> {
  const checksum = createHash("sha256");
  try {
    for await (const chunk of createReadStream(path, {
      highWaterMark: READ_BYTES,
      ...(signal && { signal }),
    })) {
      const bytes: Buffer = chunk;
      checksum.update(bytes);
      onBytes(bytes.length);
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw new RunError(`hashModel: ${path}: ${String(error)}`, { cause: error });
  }
  const { size, mtimeNs } = await stat(path, { bigint: true });
  if (`${size}` !== facts.size || `${mtimeNs}` !== facts.mtimeNs) {
    throw new RunError(
      `hashModel: ${path}: expected a file that stays as it is, got ${name} changed meanwhile`,
    );
  }
  return checksum.digest("hex");
}

async function readCache(file: string): Promise<Cache> {
  try {
    return cacheSchema.parse(JSON.parse(await readFile(file, "utf8")));
  } catch {
    // Whatever is wrong with it, it is only a memory.
    return {};
  }
}
