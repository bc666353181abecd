/**
 * @file The hash of a model: of its config.json and every file of weights, or of its GGUF file, byte for byte. Gigabytes are hashed once: the hash of a
 * file is remembered for as long as its size, its time of change and its inode stay what they were.
 */

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readFile, realpath, stat } from "node:fs/promises";
import { homedir, hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import pLimit from "p-limit";
import { z } from "zod";
import { writeJson } from "../atomic-file.js";
import { InputError, RunError } from "../errors.js";
import { isGgufPath } from "./gguf/gguf-file.js";
import { exists, readText } from "./json-file.js";
import { INDEX_FILE, parseWeightMap, WEIGHTS_FILE } from "./safetensors-index.js";

/** Name of the file in an output folder that remembers hashes. */
export const MODEL_HASH_CACHE = "model-hash.json";

/** Where the hashes of this user's models are remembered. */
export function userHashCache(): string {
  return join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "atpkit", MODEL_HASH_CACHE);
}

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

/** What a file system says of a file; as long as it stays the same, so do the bytes. */
const factsSchema = z.object({ size: z.string(), mtimeNs: z.string(), inode: z.string() });

const cacheSchema = z.record(
  z.string(),
  /** The folder may be shared by machines that have different files under the same path. */
  factsSchema.extend({ host: z.string(), sha256: z.string() }),
);

type Cache = z.output<typeof cacheSchema>;

/** The files of a model that was hashed, by name, for whoever reads them on this machine: see `checkUnchanged`. */
export const modelFilesSchema = z.record(z.string(), factsSchema);

export type ModelFiles = Readonly<z.output<typeof modelFilesSchema>>;

export interface HashedModel {
  /** SHA-256 of the files, in hexadecimal digits: the same for the same files, wherever they are. */
  readonly hash: string;
  readonly files: ModelFiles;
}

/** A model is not the one any more that was hashed: whatever reads it has to end. */
export class ModelChanged extends InputError {}

interface ModelFile {
  /** In the folder; a GGUF file has the same name whatever it is called, as its model is the same one. */
  readonly name: string;
  readonly path: string;
  readonly facts: z.output<typeof factsSchema>;
  readonly settled: boolean;
}

/**
 * The hash of a model's files, and what tells whether they change afterwards.
 *
 * @param modelFolder with config.json and safetensors, or a GGUF file
 * @throws InputError for a folder that lacks one of the files
 * @throws RunError if a file changes meanwhile, or the disk refuses
 * @throws the signal's reason
 */
export async function hashModel(
  modelFolder: string,
  { cacheFile, signal, onProgress }: HashModelOptions,
): Promise<HashedModel> {
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
    const added = news.map(
      ([{ path, facts }, sha256]) => [path, { ...facts, host: hostname(), sha256 }] as const,
    );
    // Only a memory: a home that cannot be written to costs time, nothing else.
    await mkdir(dirname(cacheFile), { recursive: true })
      .then(() => writeJson(cacheFile, { ...cache, ...Object.fromEntries(added) }))
      .catch(() => {});
  }
  const lines = files.map(({ name }) => `${known.get(name)} ${name}\n`);
  return {
    hash: createHash("sha256").update(lines.join("")).digest("hex"),
    files: Object.fromEntries(files.map(({ name, facts }) => [name, facts])),
  };
}

/**
 * Sees to it that a model is still the one that was hashed, without reading it.
 * @throws ModelChanged naming the file
 */
export async function checkUnchanged(modelFolder: string, hashed: ModelFiles): Promise<void> {
  const changed = (name: string, found: string) =>
    new ModelChanged(
      `checkUnchanged: ${pathOf(modelFolder, name)}: expected the model to stay as it was when the job was prepared or the worker started, got ${found}`,
    );
  for (const [name, before] of Object.entries(hashed)) {
    let now: ModelFile;
    try {
      now = await factsOf(modelFolder, name);
    } catch (error) {
      throw changed(name, `a file that cannot be found any more: ${String(error)}`);
    }
    if (!sameFacts(before, now.facts)) throw changed(name, "a file that has changed since");
  }
  // Weights in one file go before those in several: see `fileNames`.
  const several = Object.hasOwn(hashed, INDEX_FILE);
  if (several && (await exists(join(modelFolder, WEIGHTS_FILE)))) {
    throw changed(WEIGHTS_FILE, "a file that was not there");
  }
}

/**
 * SHA-256 of a file that is read at one go.
 * @throws RunError if the disk refuses
 */
export async function hashSmallFile(path: string): Promise<string> {
  try {
    return createHash("sha256")
      .update(await readFile(path))
      .digest("hex");
  } catch (error) {
    throw new RunError(`hashSmallFile: ${path}: ${String(error)}`, { cause: error });
  }
}

const GGUF_NAME = "model.gguf";

function pathOf(folder: string, name: string): string {
  return isGgufPath(folder) ? folder : join(folder, name);
}

/** config.json and the files that its weights are read from, in order. */
async function fileNames(folder: string): Promise<string[]> {
  if (isGgufPath(folder)) return [GGUF_NAME];
  if (await exists(join(folder, WEIGHTS_FILE))) return ["config.json", WEIGHTS_FILE];
  const index = join(folder, INDEX_FILE);
  const text = await readText(index);
  if (text === undefined) {
    throw new InputError(`hashModel: expected ${WEIGHTS_FILE} or ${INDEX_FILE} in ${folder}, got neither`);
  }
  return ["config.json", INDEX_FILE, ...new Set(parseWeightMap(text, index).values())].sort();
}

async function factsOf(folder: string, name: string): Promise<ModelFile> {
  try {
    // Files of the hub's cache are links.
    const path = await realpath(pathOf(folder, name));
    const { size, mtimeNs, ino } = await stat(path, { bigint: true });
    return {
      name,
      path,
      facts: { size: `${size}`, mtimeNs: `${mtimeNs}`, inode: `${ino}` },
      settled: Number(mtimeNs / 1_000_000n) < Date.now() - SETTLED_MS,
    };
  } catch (error) {
    const expected = isGgufPath(folder) ? basename(folder) : `${name} in ${folder}`;
    throw new InputError(`hashModel: expected ${expected}, got: ${String(error)}`);
  }
}

function remembered(cache: Cache, { path, facts }: ModelFile): string | undefined {
  const entry = Object.hasOwn(cache, path) ? cache[path] : undefined;
  return entry?.host === hostname() && sameFacts(entry, facts) ? entry.sha256 : undefined;
}

function sameFacts(a: ModelFile["facts"], b: ModelFile["facts"]): boolean {
  return a.size === b.size && a.mtimeNs === b.mtimeNs && a.inode === b.inode;
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
  const now = await stat(path, { bigint: true }).catch(() => undefined);
  if (`${now?.size}` !== facts.size || `${now?.mtimeNs}` !== facts.mtimeNs) {
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
