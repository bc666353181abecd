/**
 * @file One file from the hub into the cache's `blobs`, whole or not at all.
 *
 * Bytes go to a part file beside the blob, of a name that no other writer has (file locks cannot be trusted on network
 * drives). Only when the size and the hash are the ones the hub names is it renamed to the blob. A download that breaks
 * off gives its part up under a name that says so, and the next one claims that with a rename, which only one can win,
 * and asks for the rest with a Range request. The part of a process that was killed carries its own name still; it is
 * claimed once it is old enough to belong to nobody.
 *
 * `@huggingface/hub` does the requests. Its own `downloadFileToCacheDir` does not resume, compares neither size nor
 * hash, and lets two callers write into one part file (2.17.5), so only its `downloadFile` is used.
 */
import { createHash, type Hash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, mkdir, open, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { dirname, join } from "node:path";
import { downloadFile } from "@huggingface/hub";
import { RunError } from "../errors.js";
import { fileSize } from "./hub-cache.js";
import { type HubConnection, reasonOf } from "./hub-connection.js";
import type { HubFile } from "./hub-repository.js";

const PART_SUFFIX = ".atpkit-part";

/**
 * After this long without a written byte a part has no writer. Node's fetch gives up after 5 minutes without headers or
 * without data; a download waits for headers twice and for data once.
 */
const ABANDONED_AFTER_MS = 20 * 60_000;

export interface DownloadSource {
  readonly connection: HubConnection;
  readonly id: string;
  readonly commit: string;
}

/** Called with the bytes on disk so far, those of an earlier call included. */
export type LoadedBytes = (loadedBytes: number) => void;

/**
 * The path of the file's blob, downloaded unless the cache has it.
 *
 * Throws RunError if the download breaks off (naming the file and how far it came), or if what came is not what the hub
 * announced; what the hub refuses is thrown as the client library gives it.
 */
export async function downloadBlob(
  source: DownloadSource,
  file: HubFile,
  blobsFolder: string,
  onLoaded: LoadedBytes,
): Promise<string> {
  const blob = join(blobsFolder, file.hash);
  if ((await fileSize(blob)) === file.size) return blob;
  await mkdir(blobsFolder, { recursive: true });
  const part = await claimPart(blobsFolder, file.hash);
  try {
    await completePart(source, file, part, onLoaded);
    await rename(part, blob);
  } catch (error) {
    // Unless another caller has finished the same file in the meantime, and has removed this part.
    if ((await fileSize(blob)) !== file.size) {
      await giveUpPart(part, file);
      throw error;
    }
  }
  for (const rest of await partNames(blobsFolder, file.hash)) {
    // Nobody needs it now. On Windows one that is being written cannot be removed; its writer will do it.
    await rm(join(blobsFolder, rest), { force: true }).catch(() => undefined);
  }
  return blob;
}

/** Adds what `part` lacks and checks the whole; removes a part that can never become the file. */
async function completePart(
  source: DownloadSource,
  file: HubFile,
  part: string,
  onLoaded: LoadedBytes,
): Promise<void> {
  const handle = await open(part, "a");
  try {
    const hash = newHash(file);
    const present = (await handle.stat()).size;
    if (present > 0 && present <= file.size) {
      for await (const chunk of createReadStream(part)) hash.update(chunk);
      onLoaded(present);
    }
    const loaded =
      present < file.size ? await appendRest(source, file, present, handle, hash, onLoaded) : present;
    const digest = hash.digest("hex");
    if (loaded !== file.size || digest !== file.hash) {
      await rm(part, { force: true });
      const what =
        loaded > file.size
          ? `expected ${file.size} bytes, got more`
          : `its hash is ${digest}, not ${file.hash}`;
      throw new RunError(
        `resolveCheckpoint: ${file.path} of ${source.id}: what was received is not the file (${what}); it was removed, run again`,
      );
    }
    // Before the rename: after a power cut the blob's name must not stand for bytes that never reached the disk.
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Streams bytes `present`… to the end of the part. Returns the bytes that are there then. */
async function appendRest(
  { connection, id, commit }: DownloadSource,
  file: HubFile,
  present: number,
  handle: FileHandle,
  hash: Hash,
  onLoaded: LoadedBytes,
): Promise<number> {
  const content = await downloadFile({
    repo: { type: "model", name: id },
    path: file.path,
    revision: commit,
    hubUrl: connection.endpoint,
    fetch: connection.fetch,
    // The hub serves every file over plain HTTP too, where a Range request resumes it.
    xet: false,
  });
  if (content === null)
    throw new RunError(`resolveCheckpoint: ${file.path} of ${id}: the hub lists it and does not have it`);
  const reader = content.slice(present).stream().getReader();
  let loaded = present;
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error: unknown) => {
        throw brokenOff(file, id, loaded, reasonOf(error));
      });
      if (done) break;
      await handle.appendFile(value);
      hash.update(value);
      loaded += value.byteLength;
      // Whatever it is, it is not the file: do not fill the disk with it.
      if (loaded > file.size) return loaded;
      onLoaded(loaded);
    }
  } finally {
    // Ends the transfer where this loop was left early; a stream that is over or broken has nothing to cancel.
    await reader.cancel().catch(() => undefined);
  }
  if (loaded < file.size) throw brokenOff(file, id, loaded, "the server ended it early");
  return loaded;
}

function brokenOff(file: HubFile, id: string, loaded: number, reason: string): RunError {
  return new RunError(
    `resolveCheckpoint: ${file.path} of ${id}: the download broke off after ${loaded} of ${file.size} bytes (${reason}); run again to continue`,
  );
}

/** Large files are named by their SHA-256, small ones as git names a blob. */
function newHash(file: HubFile): Hash {
  return file.large ? createHash("sha256") : createHash("sha1").update(`blob ${file.size}\0`);
}

/**
 * A part file of this call's own: one that others gave up, if there is one, or a new one. Its time is renewed before it
 * is renamed, so that no one takes it for abandoned in between.
 */
async function claimPart(blobsFolder: string, hash: string): Promise<string> {
  const mine = join(blobsFolder, `${hash}.${randomUUID()}${PART_SUFFIX}`);
  for (const part of await abandonedParts(blobsFolder, hash)) {
    try {
      await utimes(part, new Date(), new Date());
      await rename(part, mine);
      return mine;
    } catch {
      // Someone else was faster: try the next, in the end start a new one.
    }
  }
  return mine;
}

/** Leaves what was received to the next call. */
async function giveUpPart(part: string, file: HubFile): Promise<void> {
  const size = await fileSize(part);
  if (size === undefined) return;
  if (size === 0) await rm(part, { force: true });
  else await rename(part, join(dirname(part), givenUpName(file.hash)));
}

function givenUpName(hash: string): string {
  return `${hash}${PART_SUFFIX}`;
}

async function partNames(blobsFolder: string, hash: string): Promise<string[]> {
  const names = await readdir(blobsFolder);
  return names.filter((name) => name.startsWith(`${hash}.`) && name.endsWith(PART_SUFFIX));
}

/** Paths of the parts of this blob that have no writer, the one that was given up on purpose first. */
async function abandonedParts(blobsFolder: string, hash: string): Promise<string[]> {
  const names = await partNames(blobsFolder, hash);
  const found = names.filter((name) => name === givenUpName(hash)).map((name) => join(blobsFolder, name));
  for (const name of names.filter((name) => name !== givenUpName(hash))) {
    const path = join(blobsFolder, name);
    const entry = await stat(path).catch(() => undefined);
    if (entry !== undefined && Date.now() - entry.mtimeMs > ABANDONED_AFTER_MS) found.push(path);
  }
  return found;
}
