/**
 * @file From what a user types, a folder, a GGUF file or a model's id on the Hugging Face hub, to a local checkpoint.
 */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import pLimit from "p-limit";
import { InputError, RunError } from "../errors.js";
import { shown } from "../shown-text.js";
import { isGgufPath } from "./gguf/gguf-file.js";
import {
  cachedSnapshot,
  fileSize,
  linkIntoSnapshot,
  readShardNames,
  snapshotFolder,
  storageFolder,
  writeRef,
} from "./hub-cache.js";
import {
  connect,
  DEFAULT_REVISION,
  describeName,
  explainHubError,
  type HubName,
  isOutage,
  reasonOf,
  withoutSecrets,
} from "./hub-connection.js";
import { downloadBlob } from "./hub-download.js";
import { firstFiles, type HubFile, type HubRepository, hubFile, readRepository } from "./hub-repository.js";
import { type HubSettings, readHubSettings } from "./hub-settings.js";
import { INDEX_FILE } from "./safetensors-index.js";

/** Two at a time fill a link that one connection does not, and leave the hub's rate limit alone. */
const PARALLEL_DOWNLOADS = 2;

/** `name` or `owner/name`, as the hub allows them: 96 characters each at most. */
const HUB_ID = /^[A-Za-z0-9][\w.-]{0,95}(?:\/[A-Za-z0-9_][\w.-]{0,95})?$/;

/** A branch, tag, commit or `refs/pr/1`; it becomes a path in the cache, so no segment starts with a dot. */
const REVISION = /^[\w-][\w.-]*(?:\/[\w-][\w.-]*)*$/;

export interface DownloadProgress {
  /** Name of the file in the repository. */
  readonly file: string;
  /** Bytes on disk, those of an earlier, broken-off download included. */
  readonly loadedBytes: number;
  readonly totalBytes: number;
}

export interface ResolveCheckpointOptions {
  /** Branch, tag or commit; `main` by default. Only for hub ids. */
  readonly revision?: string;
  /** Called for every piece that arrives, thousands of times for a large file. Not called for files in the cache. */
  readonly onProgress?: (event: DownloadProgress) => void;
  /**
   * Called with a sentence for the user when the hub is out of reach and the cached files are used instead; by `openModel` and
   * `loadModel` also when something about the checkpoint or its tokenizer was decided that they should know.
   */
  readonly onNotice?: (text: string) => void;
  /** Ends the download; what was received is kept and continued by the next call. */
  readonly signal?: AbortSignal;
}

/**
 * A local folder with config.json, safetensors and, where there is one, the tokenizer; or a GGUF file.
 *
 * An existing folder or GGUF file is returned as it is. `owner/name`, `name`, or either with `@revision`, is a model on the hub: its
 * files are taken from the Hugging Face cache or downloaded into it, each under its name only once it is complete and
 * its hash is right. A download that broke off, or was ended by `signal`, is continued by the next call; that of a killed
 * process too, but not within 20 minutes, when it might still be running: then the file starts anew. Callers at the same
 * time do not disturb each other, but each downloads for itself. Environment, read at each call: `HF_ENDPOINT`,
 * `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN`, `HF_HUB_OFFLINE`.
 *
 * Throws InputError for what is neither a folder nor a model that can be read and has safetensors; RunError if the hub
 * cannot be reached and the cache lacks the model, a download breaks off, or the disk refuses.
 */
export async function resolveCheckpoint(
  nameOrFolder: string,
  options: ResolveCheckpointOptions = {},
): Promise<string> {
  if (await isHere(nameOrFolder)) return nameOrFolder;
  const name = parseHubName(nameOrFolder, options.revision);
  const settings = await readHubSettings();
  try {
    return await (settings.offline ? findInCache(name, settings) : bringFromHub(name, settings, options));
  } catch (error) {
    if (error instanceof InputError || error instanceof RunError) throw error;
    // What is left comes from the file system and names the path.
    throw new RunError(`resolveCheckpoint: ${nameOrFolder}: ${reasonOf(error)}`, { cause: error });
  }
}

async function isHere(path: string): Promise<boolean> {
  const entry = await stat(path).catch(() => undefined);
  if (entry === undefined && isGgufPath(path)) {
    throw new InputError(`resolveCheckpoint: ${path}: expected a GGUF file, got no such file`);
  }
  if (entry === undefined || entry.isDirectory() !== isGgufPath(path)) return entry !== undefined;
  const found = entry.isDirectory() ? "a folder of that name" : "another file";
  throw new InputError(
    `resolveCheckpoint: ${path}: expected a folder, a GGUF file (.gguf) or a model id, got ${found}`,
  );
}

function parseHubName(text: string, revisionOption: string | undefined): HubName {
  const [id = "", ...afterAt] = text.split("@");
  const looksLikePath = /^(?:\.\.?$|\.\.?\/|\/|~)|\\|\/.*\/|\/$/.test(id);
  if (looksLikePath) {
    throw new InputError(`resolveCheckpoint: folder not found: ${withoutSecrets(text)}`);
  }
  if (!HUB_ID.test(id) || id.includes("..") || id.includes("--")) {
    throw new InputError(
      `resolveCheckpoint: expected a folder or a model id (owner/name), got ${withoutSecrets(shown(text))}`,
    );
  }
  const inText = afterAt.length > 0 ? afterAt.join("@") : undefined;
  if (inText !== undefined && revisionOption !== undefined && inText !== revisionOption) {
    throw new InputError(
      `resolveCheckpoint: expected one revision, got ${shown(inText)} and ${shown(revisionOption)}`,
    );
  }
  const revision = inText ?? revisionOption ?? DEFAULT_REVISION;
  if (!REVISION.test(revision)) {
    throw new InputError(
      `resolveCheckpoint: ${id}: expected a branch, tag or commit as revision, got ${shown(revision)}`,
    );
  }
  return { id, revision };
}

async function findInCache({ id, revision }: HubName, { cacheDir }: HubSettings): Promise<string> {
  const cached = await cachedSnapshot(storageFolder(cacheDir, id), revision);
  if (cached !== undefined) return cached;
  throw new InputError(
    `resolveCheckpoint: ${id}, revision ${revision}: not complete in the cache (${cacheDir}), and HF_HUB_OFFLINE forbids to download it`,
  );
}

async function bringFromHub(
  name: HubName,
  settings: HubSettings,
  options: ResolveCheckpointOptions,
): Promise<string> {
  const { id, revision } = name;
  const stop = new AbortController();
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, options.signal]);
  const connection = connect(settings, signal);
  const storage = storageFolder(settings.cacheDir, id);
  const explain = (error: unknown) =>
    options.signal?.aborted
      ? new RunError(
          `resolveCheckpoint: ${describeName(name)}: stopped before it was complete; run again to continue`,
          {
            cause: error,
          },
        )
      : explainHubError(error, connection, name);

  let repository: HubRepository;
  try {
    repository = await readRepository(connection, id, revision);
  } catch (error) {
    const cached = isOutage(error) && !signal.aborted ? await cachedSnapshot(storage, revision) : undefined;
    if (cached === undefined) throw explain(error);
    options.onNotice?.(
      `${describeName(name)}: ${settings.endpoint} is out of reach (${reasonOf(error)}); using the cached files in ${cached}`,
    );
    return cached;
  }
  const folder = snapshotFolder(storage, repository.commit);
  const bring = async (file: HubFile) => {
    const target = join(folder, file.path);
    if ((await fileSize(target)) === file.size) return;
    const source = { connection, id, commit: repository.commit };
    const blob = await downloadBlob(source, file, join(storage, "blobs"), (loadedBytes) =>
      options.onProgress?.({ file: file.path, loadedBytes, totalBytes: file.size }),
    );
    await linkIntoSnapshot(blob, target);
  };
  try {
    const first = firstFiles(repository);
    await bringAll(first, bring, stop);
    if (first.some((file) => file.path === INDEX_FILE)) {
      const shards = await readShardNames(join(folder, INDEX_FILE));
      await bringAll(
        shards.map((name) => hubFile(repository, name)),
        bring,
        stop,
      );
    }
  } catch (error) {
    throw explain(error);
  }
  // Last: a revision that is noted is one whose files are all there.
  await writeRef(storage, revision, repository.commit);
  return folder;
}

/**
 * Some at a time. The first error ends the others by `stop`, and is thrown only when they have ended: nobody expects
 * files to change after an error.
 */
async function bringAll(
  files: readonly HubFile[],
  bring: (file: HubFile) => Promise<void>,
  stop: AbortController,
): Promise<void> {
  const errors: unknown[] = [];
  const limit = pLimit(PARALLEL_DOWNLOADS);
  await limit.map(files, async (file) => {
    if (stop.signal.aborted) return;
    try {
      await bring(file);
    } catch (error) {
      errors.push(error);
      stop.abort();
    }
  });
  if (errors.length > 0) throw errors[0];
}
