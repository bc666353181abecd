/**
 * @file What the tests of the hub share: a server, an empty Hugging Face home, and an environment that points to both.
 */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, vi } from "vitest";
import { goldenFolder } from "./goldens.js";
import { type HubServer, type ServedModel, startHubServer } from "./hub-server.js";

/** A port of this machine where nothing listens. */
export const NOBODY = "http://127.0.0.1:9";

/** Git's name and the SHA-256 of these six bytes are known everywhere: `printf 'hello\n' | git hash-object --stdin`. */
export const HELLO = Buffer.from("hello\n");
export const HELLO_GIT_HASH = "ce013625030ba8dba906f756967f9e9ca394464a";
export const HELLO_SHA256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

/** A golden checkpoint's files as a repository holds them: the reference numbers left out, two more files put in. */
export async function goldenFiles(variant: string): Promise<Record<string, Buffer>> {
  const folder = goldenFolder(variant);
  const files: Record<string, Buffer> = {
    "tokenizer_config.json": HELLO,
    "README.md": Buffer.from("# not needed\n"),
  };
  for (const name of (await readdir(folder)).sort()) {
    if (name !== "golden.json") files[name] = await readFile(join(folder, name));
  }
  return files;
}

/** An empty folder as HF_HOME, and no other variable that the Hugging Face tools read. Gone when the test ends. */
export async function emptyHome(endpoint: string): Promise<string> {
  const home = await mkdtemp(join(tmpdir(), "atpkit-hub-"));
  onTestFinished(async () => {
    vi.unstubAllEnvs();
    await rm(home, { recursive: true, force: true });
  });
  for (const name of [
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "HF_TOKEN",
    "HF_TOKEN_PATH",
    "HF_HUB_OFFLINE",
  ]) {
    vi.stubEnv(name, undefined);
  }
  vi.stubEnv("HF_HOME", home);
  vi.stubEnv("HF_ENDPOINT", endpoint);
  return home;
}

export interface HubCase {
  readonly hub: HubServer;
  /** HF_HOME. */
  readonly home: string;
  /** The models' folder in the cache. */
  storage(id: string): string;
}

/** A running hub and an empty home; both end with the test. */
export async function startCase(models: readonly ServedModel[]): Promise<HubCase> {
  const hub = await startHubServer(models);
  onTestFinished(() => hub.close());
  const home = await emptyHome(hub.endpoint);
  return { hub, home, storage: (id) => join(home, "hub", `models--${id.replace("/", "--")}`) };
}

/** Everything below a folder, links not followed, sorted. */
export async function listTree(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
}

/** Compares by bytes: an equality of Buffers element by element takes half a second for a small checkpoint. */
export async function expectBytes(path: string, expected: Buffer | undefined): Promise<void> {
  if (expected === undefined) throw new Error(`expectBytes: nothing to compare ${path} with`);
  const found = await readFile(path);
  expect(found.equals(expected), `${path}: ${found.length} bytes, expected ${expected.length}`).toBe(true);
}
