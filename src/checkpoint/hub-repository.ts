/**
 * @file What a model's repository on the hub holds at a revision, and which of its files a checkpoint needs.
 */
import { type ListFileEntry, listFiles, modelInfo } from "@huggingface/hub";
import { InputError, RunError } from "../errors.js";
import { shown } from "../shown-text.js";
import { ADAPTER_FILE, adapterError } from "./foreign-weights.js";
import { CONFIG_FILE, isCommit } from "./hub-cache.js";
import type { HubConnection } from "./hub-connection.js";
import { INDEX_FILE, WEIGHTS_FILE } from "./safetensors-index.js";
import { TOKENIZER_FILES } from "./tokenizer/settings.js";

/** Git's SHA-1 of a small file, or the SHA-256 of a large one. It becomes a file name: nothing else may stand there. */
const CONTENT_HASH = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;

export interface HubFile {
  /** Relative to the repository's top folder. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** What the content hashes to, hexadecimal, and the blob's name in the cache. */
  readonly hash: string;
  /** Whether the hash is the SHA-256 of the bytes (large files) or git's name of a blob. */
  readonly large: boolean;
}

export interface HubRepository {
  readonly id: string;
  readonly commit: string;
  /** The entries of the top folder by path. */
  readonly entries: ReadonlyMap<string, ListFileEntry>;
}

/** Two requests: which commit the revision is, and what its top folder lists. Errors are those of the client library. */
export async function readRepository(
  connection: HubConnection,
  id: string,
  revision: string,
): Promise<HubRepository> {
  const at = { hubUrl: connection.endpoint, fetch: connection.fetch };
  const { sha: commit } = await modelInfo({ ...at, name: id, revision, additionalFields: ["sha"] });
  if (!isCommit(commit)) {
    throw new RunError(
      `resolveCheckpoint: ${id}: expected ${connection.endpoint} to name a commit, got ${shown(commit)}`,
    );
  }
  const entries = new Map<string, ListFileEntry>();
  for await (const entry of listFiles({ ...at, repo: { type: "model", name: id }, revision: commit })) {
    entries.set(entry.path, entry);
  }
  return { id, commit, entries };
}

/**
 * The files to load first: config, tokenizer where there is one, and the weights or the index that names them.
 * Throws InputError if the repository has no config or no safetensors, or holds an adapter.
 */
export function firstFiles(repository: HubRepository): HubFile[] {
  const { id, entries } = repository;
  if (entries.has(ADAPTER_FILE)) throw adapterError("resolveCheckpoint", id, "");
  if (!entries.has(CONFIG_FILE)) {
    throw new InputError(
      `resolveCheckpoint: ${id}: expected a ${CONFIG_FILE} in the repository, there is none`,
    );
  }
  const weights = [WEIGHTS_FILE, INDEX_FILE].find((name) => entries.has(name));
  if (weights === undefined) {
    const other = [...entries.keys()].find((name) => /\.(?:bin|pt|pth|h5|msgpack|gguf)$/.test(name));
    throw new InputError(
      `resolveCheckpoint: ${id}: expected safetensors weights (${WEIGHTS_FILE} or ${INDEX_FILE}), ` +
        (other === undefined
          ? "the repository has no weights"
          : `the repository has ${other}; convert it to safetensors`),
    );
  }
  const tokenizer = TOKENIZER_FILES.filter((name) => entries.has(name));
  return [CONFIG_FILE, ...tokenizer, weights].map((name) => hubFile(repository, name));
}

/** A listed file. Throws InputError if the repository does not list it, RunError if it does without size or hash. */
export function hubFile({ id, entries }: HubRepository, path: string): HubFile {
  const entry = entries.get(path);
  if (entry === undefined) {
    throw new InputError(
      `resolveCheckpoint: ${id}: expected ${path} in the repository, as ${INDEX_FILE} says`,
    );
  }
  const hash = entry.lfs?.oid ?? entry.oid;
  if (hash === undefined || !CONTENT_HASH.test(hash) || !Number.isSafeInteger(entry.size)) {
    throw new RunError(`resolveCheckpoint: ${id}: the hub lists ${path} without its size and hash`);
  }
  return { path, size: entry.size, hash, large: entry.lfs !== undefined };
}
