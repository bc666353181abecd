import { cp, mkdir, mkdtemp, readFile, readlink, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { type DownloadProgress, resolveCheckpoint } from "../../src/checkpoint/hub.js";
import { InputError } from "../../src/errors.js";
import { goldenFolder } from "../support/goldens.js";
import {
  emptyHome,
  expectBytes,
  goldenFiles,
  HELLO,
  HELLO_GIT_HASH,
  listTree,
  NOBODY,
  startCase,
} from "../support/hub-case.js";
import { commitOf, type ServedModel } from "../support/hub-server.js";

const SINGLE_FILES = ["config.json", "model.safetensors", "tokenizer_config.json"];
const SHARDS = [1, 2, 3].map((n) => `model-0000${n}-of-00003.safetensors`);
const SHARDED_FILES = ["config.json", ...SHARDS, "model.safetensors.index.json", "tokenizer_config.json"];

async function single(id: string): Promise<ServedModel> {
  return { id, files: await goldenFiles("gpt2_hub") };
}

async function sharded(id: string): Promise<ServedModel> {
  return { id, files: await goldenFiles("llama_sharded") };
}

async function expectFiles(folder: string, model: ServedModel, names: readonly string[]): Promise<void> {
  expect(await listTree(folder)).toEqual([...names].sort());
  for (const name of names) await expectBytes(join(folder, name), model.files[name]);
}

test("all files of a tokenizer are brought", async () => {
  const model = await single("owner/tokens");
  const files = {
    ...model.files,
    "added_tokens.json": HELLO,
    "special_tokens_map.json": HELLO,
    "tokenizer.json": HELLO,
  };
  await startCase([{ ...model, files }]);
  const folder = await resolveCheckpoint(model.id);
  await expectFiles(folder, { ...model, files }, [
    ...SINGLE_FILES,
    "added_tokens.json",
    "special_tokens_map.json",
    "tokenizer.json",
  ]);
});

describe("names", () => {
  test("an existing folder is returned as it is, without a hub", async () => {
    await emptyHome(NOBODY);
    const folder = await mkdtemp(join(tmpdir(), "atpkit-folder-"));
    onTestFinished(() => rm(folder, { recursive: true }));
    expect(await resolveCheckpoint(folder)).toBe(folder);
    expect(await resolveCheckpoint(`${folder}/`)).toBe(`${folder}/`);
  });

  test.each(["./none", "../none", "/none/at/all", "~/none", "a\\b", "a/b/c", "none/", ".\\none"])(
    "%s looks like a path: folder not found",
    async (path) => {
      await emptyHome(NOBODY);
      const error = await resolveCheckpoint(path).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(InputError);
      expect(error).toHaveProperty("message", `resolveCheckpoint: folder not found: ${path}`);
    },
  );

  test.each([
    ["", 'resolveCheckpoint: expected a folder or a model id (owner/name), got ""'],
    ["a b", 'resolveCheckpoint: expected a folder or a model id (owner/name), got "a b"'],
    ["a/..", 'resolveCheckpoint: expected a folder or a model id (owner/name), got "a/.."'],
    ["a--b", 'resolveCheckpoint: expected a folder or a model id (owner/name), got "a--b"'],
    ["gpt2@", 'resolveCheckpoint: gpt2: expected a branch, tag or commit as revision, got ""'],
    ["gpt2@../x", 'resolveCheckpoint: gpt2: expected a branch, tag or commit as revision, got "../x"'],
  ])("%j is no name of a model", async (name, message) => {
    await emptyHome(NOBODY);
    await expect(resolveCheckpoint(name)).rejects.toThrow(new InputError(message));
  });

  test("a file is not a folder", async () => {
    await emptyHome(NOBODY);
    const file = join(goldenFolder("gpt2_hub"), "config.json");
    await expect(resolveCheckpoint(file)).rejects.toThrow(
      new InputError(
        `resolveCheckpoint: ${file}: expected a folder, a GGUF file (.gguf) or a model id, got another file`,
      ),
    );
  });

  test("two different revisions are one too many", async () => {
    await emptyHome(NOBODY);
    await expect(resolveCheckpoint("gpt2@a", { revision: "b" })).rejects.toThrow(
      new InputError('resolveCheckpoint: expected one revision, got "a" and "b"'),
    );
  });

  test("HF_ENDPOINT must be an address", async () => {
    await emptyHome("huggingface.co");
    await expect(resolveCheckpoint("gpt2")).rejects.toThrow(
      new InputError(
        'resolveCheckpoint: HF_ENDPOINT: expected an http or https address, got "huggingface.co"',
      ),
    );
  });
});

describe("downloads", () => {
  test("a bare id with one weights file, in the layout of the Python tools", async () => {
    const model = await single("gpt2");
    const { hub, storage, home } = await startCase([model]);
    const folder = await resolveCheckpoint("gpt2");
    expect(folder).toBe(join(home, "hub", "models--gpt2", "snapshots", commitOf(model)));
    await expectFiles(folder, model, SINGLE_FILES);
    expect(await readFile(join(storage("gpt2"), "refs", "main"), "utf8")).toBe(commitOf(model));
    expect(await readlink(join(folder, "tokenizer_config.json"))).toBe(`../../blobs/${HELLO_GIT_HASH}`);
    expect(await listTree(join(storage("gpt2"), "blobs"))).toHaveLength(SINGLE_FILES.length);
    expect(hub.requests.filter(({ path }) => path.includes("README"))).toEqual([]);
  });

  test("shards, as the index names them, and the bytes as they arrive", async () => {
    const model = await sharded("tiny/llama");
    await startCase([model]);
    const events: DownloadProgress[] = [];
    const folder = await resolveCheckpoint("tiny/llama", { onProgress: (event) => events.push(event) });
    await expectFiles(folder, model, SHARDED_FILES);
    for (const file of SHARDED_FILES) {
      const size = model.files[file]?.length;
      const ofFile = events.filter((event) => event.file === file);
      expect(ofFile.at(-1)).toEqual({ file, loadedBytes: size, totalBytes: size });
      const loaded = ofFile.map((event) => event.loadedBytes);
      expect(loaded).toEqual([...loaded].sort((a, b) => a - b));
    }
  });

  test("a revision by option and by name; a commit leaves no ref", async () => {
    const model = { ...(await single("tiny/gpt2")), revisions: ["v1", "v2"] };
    const { storage } = await startCase([model]);
    const folder = await resolveCheckpoint("tiny/gpt2", { revision: "v1" });
    expect(await resolveCheckpoint("tiny/gpt2@v2")).toBe(folder);
    expect(await resolveCheckpoint(`tiny/gpt2@${commitOf(model)}`)).toBe(folder);
    expect(await listTree(join(storage("tiny/gpt2"), "refs"))).toEqual(["v1", "v2"]);
  });

  test("a former id is followed to the model's new place", async () => {
    const model = { ...(await single("openai-community/gpt2")), formerIds: ["gpt2"] };
    const { storage } = await startCase([model]);
    const folder = await resolveCheckpoint("gpt2");
    expect(folder.startsWith(storage("gpt2"))).toBe(true);
    await expectFiles(folder, model, SINGLE_FILES);
  });

  test("a hub that offers the chunk protocol is asked for plain files", async () => {
    const model = { ...(await single("gpt2")), xet: true };
    const { hub } = await startCase([model]);
    await expectFiles(await resolveCheckpoint("gpt2"), model, SINGLE_FILES);
    expect(hub.requests.filter(({ path }) => path.startsWith("/xet"))).toEqual([]);
    expect(hub.requests.filter(({ server }) => server === "cdn")).toHaveLength(1);
  });

  test("of both, the one weights file is taken and no shard", async () => {
    const model = {
      id: "a/b",
      files: { ...(await goldenFiles("llama_sharded")), ...(await goldenFiles("gpt2_hub")) },
    };
    await startCase([model]);
    await expectFiles(await resolveCheckpoint("a/b"), model, SINGLE_FILES);
  });
});

describe("the cache", () => {
  test("a second call asks for the revision and the list, and for no file", async () => {
    const { hub } = await startCase([await sharded("tiny/llama")]);
    const folder = await resolveCheckpoint("tiny/llama");
    hub.requests.length = 0;
    const events: DownloadProgress[] = [];
    expect(await resolveCheckpoint("tiny/llama", { onProgress: (event) => events.push(event) })).toBe(folder);
    expect(hub.requests.map(({ path }) => path.split("?")[0])).toEqual([
      "/api/models/tiny/llama/revision/main",
      `/api/models/tiny/llama/tree/${folder.split("/").at(-1)}`,
    ]);
    expect(events).toEqual([]);
  });

  test("files that another tool has put there are not downloaded again", async () => {
    const model = await single("tiny/gpt2");
    const { hub, storage } = await startCase([model]);
    const snapshot = join(storage("tiny/gpt2"), "snapshots", commitOf(model));
    const blob = join(storage("tiny/gpt2"), "blobs", "weights");
    await mkdir(join(blob, ".."), { recursive: true });
    await mkdir(snapshot, { recursive: true });
    await cp(join(goldenFolder("gpt2_hub"), "model.safetensors"), blob);
    await symlink("../../blobs/weights", join(snapshot, "model.safetensors"));
    await expectFiles(await resolveCheckpoint("tiny/gpt2"), model, SINGLE_FILES);
    expect(hub.requests.filter(({ path }) => path.includes("model.safetensors"))).toEqual([]);
    expect(await readlink(join(snapshot, "model.safetensors"))).toBe("../../blobs/weights");
  });

  test("a file that was cut short on disk is downloaded again", async () => {
    const model = await single("tiny/gpt2");
    await startCase([model]);
    const folder = await resolveCheckpoint("tiny/gpt2");
    await writeFile(join(folder, "model.safetensors"), "short");
    await expectFiles(await resolveCheckpoint("tiny/gpt2"), model, SINGLE_FILES);
  });

  test("a new commit takes the unchanged files from the old one", async () => {
    const old = await single("tiny/gpt2");
    const models = [old];
    const { hub } = await startCase(models);
    const before = await resolveCheckpoint("tiny/gpt2");
    const changed = { id: "tiny/gpt2", files: { ...old.files, "tokenizer.json": Buffer.from("{}") } };
    models[0] = changed;
    hub.requests.length = 0;
    const after = await resolveCheckpoint("tiny/gpt2");
    expect(after).not.toBe(before);
    await expectFiles(after, changed, [...SINGLE_FILES, "tokenizer.json"]);
    await expectFiles(before, old, SINGLE_FILES);
    expect(hub.requests.filter(({ path }) => path.includes("model.safetensors"))).toEqual([]);
  });

  test("HF_HUB_CACHE goes before HF_HOME", async () => {
    const model = await single("tiny/gpt2");
    const { home } = await startCase([model]);
    vi.stubEnv("HF_HUB_CACHE", join(home, "elsewhere"));
    const folder = await resolveCheckpoint("tiny/gpt2");
    expect(folder).toBe(join(home, "elsewhere", "models--tiny--gpt2", "snapshots", commitOf(model)));
  });
});

describe("without the hub", () => {
  test.each(["1", "true"])(
    "HF_HUB_OFFLINE=%s takes complete files from the cache and asks nobody",
    async (yes) => {
      const { hub } = await startCase([await single("gpt2"), await sharded("tiny/llama")]);
      const folders = [await resolveCheckpoint("gpt2"), await resolveCheckpoint("tiny/llama")];
      hub.requests.length = 0;
      vi.stubEnv("HF_HUB_OFFLINE", yes);
      expect([await resolveCheckpoint("gpt2"), await resolveCheckpoint("tiny/llama")]).toEqual(folders);
      const commit = folders[0]?.split("/").at(-1);
      expect(await resolveCheckpoint("gpt2", { revision: commit })).toBe(folders[0]);
      expect(hub.requests).toEqual([]);
    },
  );

  test("HF_HUB_OFFLINE and a file missing from the cache", async () => {
    const { hub, home } = await startCase([await sharded("tiny/llama")]);
    const folder = await resolveCheckpoint("tiny/llama");
    hub.requests.length = 0;
    vi.stubEnv("HF_HUB_OFFLINE", "1");
    const refused = new InputError(
      `resolveCheckpoint: tiny/llama, revision main: not complete in the cache (${join(home, "hub")}), and HF_HUB_OFFLINE forbids to download it`,
    );
    for (const name of [SHARDS[1] ?? "", "model.safetensors.index.json", "config.json"]) {
      await cp(join(folder, name), join(home, "kept"), { dereference: true });
      await rm(join(folder, name));
      await expect(resolveCheckpoint("tiny/llama")).rejects.toThrow(refused);
      await cp(join(home, "kept"), join(folder, name));
    }
    expect(await resolveCheckpoint("tiny/llama")).toBe(folder);
    await expect(resolveCheckpoint("gpt2")).rejects.toThrow(
      /^resolveCheckpoint: gpt2, revision main: not complete/,
    );
    expect(hub.requests).toEqual([]);
  });

  test.each([503, 429])("status %i: the cached files, with a notice", async (status) => {
    const { hub } = await startCase([await single("gpt2")]);
    const folder = await resolveCheckpoint("gpt2");
    hub.outage = status;
    const notices: string[] = [];
    expect(await resolveCheckpoint("gpt2", { onNotice: (text) => notices.push(text) })).toBe(folder);
    expect(notices).toHaveLength(1);
    expect(notices[0]).toContain(`gpt2: ${hub.endpoint} is out of reach (the hub is having a bad day`);
    expect(notices[0]).toContain(`using the cached files in ${folder}`);
  });

  test("nobody answers: the cached files, with a notice", async () => {
    const { hub } = await startCase([await single("gpt2")]);
    const folder = await resolveCheckpoint("gpt2");
    await hub.close();
    const notices: string[] = [];
    expect(await resolveCheckpoint("gpt2", { onNotice: (text) => notices.push(text) })).toBe(folder);
    expect(notices).toHaveLength(1);
    expect(notices[0]).toMatch(/^gpt2: http:\/\/127\.0\.0\.1:\d+ is out of reach \(connect ECONNREFUSED/);
  });
});
