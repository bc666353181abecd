import { createHash } from "node:crypto";
import {
  appendFileSync,
  copyFileSync,
  cpSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkUnchanged, hashModel, hashSmallFile, ModelChanged } from "../../src/checkpoint/model-hash.js";
import { InputError, RunError } from "../../src/errors.js";
import { temporaryFolder } from "../support/checkpoint-folders.js";
import { goldenFolder } from "../support/goldens.js";

/** Long enough ago to be remembered. */
const BEFORE = new Date("2024-01-02T03:04:05Z");
const WEIGHTS = "model.safetensors";

function sha256(data: string | Buffer): string {
  return createHash("sha256").update(data).digest("hex");
}

function copyOf(variant: string): string {
  const folder = temporaryFolder();
  cpSync(goldenFolder(variant), folder, { recursive: true });
  for (const file of ["config.json", WEIGHTS]) utimesSync(join(folder, file), BEFORE, BEFORE);
  return folder;
}

/** Hashes, and says how many bytes were read for it. */
async function hashed(folder: string, cacheFile = join(temporaryFolder(), "hashes.json")) {
  let bytes = 0;
  const { hash, files } = await hashModel(folder, {
    cacheFile,
    onProgress: (done, total) => {
      expect(done).toBeLessThanOrEqual(total);
      bytes = done;
    },
  });
  return { hash, files, bytes, cacheFile };
}

function sizeOf(folder: string): number {
  return readFileSync(join(folder, "config.json")).length + readFileSync(join(folder, WEIGHTS)).length;
}

describe("hashModel", () => {
  it("is the hash of the files' hashes and names", async () => {
    const folder = copyOf("gpt2");
    const lines = ["config.json", WEIGHTS].map(
      (name) => `${sha256(readFileSync(join(folder, name)))} ${name}\n`,
    );
    const { hash, bytes } = await hashed(folder);
    expect(hash).toBe(sha256(lines.join("")));
    expect(bytes).toBe(sizeOf(folder));
    expect((await hashed(copyOf("gpt2"))).hash).toBe(hash);
  });

  it("takes every shard that the index names, and the index", async () => {
    const folder = temporaryFolder();
    cpSync(goldenFolder("llama_sharded"), folder, { recursive: true });
    const { hash } = await hashed(folder);
    const index = join(folder, "model.safetensors.index.json");
    const map: { weight_map: Record<string, string> } = JSON.parse(readFileSync(index, "utf8"));
    const shards = [...new Set(Object.values(map.weight_map))];
    expect(shards.length).toBeGreaterThan(1);
    for (const file of [...shards.map((shard) => join(folder, shard)), index, join(folder, "config.json")]) {
      const good = readFileSync(file);
      writeFileSync(file, Buffer.concat([good, Buffer.from(" ")]));
      expect((await hashed(folder)).hash).not.toBe(hash);
      writeFileSync(file, good);
    }
    expect((await hashed(folder)).hash).toBe(hash);
  });

  it("changes with any byte, also where the size stays and the cache knows the file", async () => {
    const folder = copyOf("gpt2");
    const file = join(folder, WEIGHTS);
    const good = readFileSync(file);
    const { hash, cacheFile } = await hashed(folder);
    await fc.assert(
      fc.asyncProperty(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
        const bad = Buffer.from(good);
        bad[at] ^= change;
        writeFileSync(file, bad);
        expect((await hashed(folder, cacheFile)).hash).not.toBe(hash);
        writeFileSync(file, good);
        expect((await hashed(folder, cacheFile)).hash).toBe(hash);
      }),
      { numRuns: 10 },
    );
  });

  it("reads a file once, and again when its size, time or inode changes", async () => {
    const folder = copyOf("gpt2");
    const first = await hashed(folder);
    const again = await hashed(folder, first.cacheFile);
    expect(again).toEqual({ ...first, bytes: 0 });

    // Other bytes with the size, time and inode of before are what the cache cannot see: so it is the cache that answers.
    const file = join(folder, WEIGHTS);
    const bytes = readFileSync(file);
    bytes[bytes.length - 1] ^= 1;
    writeFileSync(file, bytes);
    utimesSync(file, BEFORE, BEFORE);
    expect(await hashed(folder, first.cacheFile)).toEqual({ ...first, bytes: 0 });

    const later = new Date(BEFORE.getTime() + 1);
    utimesSync(file, later, later);
    const seen = await hashed(folder, first.cacheFile);
    expect(seen.bytes).toBe(bytes.length);
    expect(seen.hash).not.toBe(first.hash);

    const config = join(folder, "config.json");
    copyFileSync(config, `${config}.copy`);
    renameSync(`${config}.copy`, config);
    utimesSync(config, BEFORE, BEFORE);
    expect((await hashed(folder, first.cacheFile)).bytes).toBe(readFileSync(config).length);
  });

  it("remembers a file through every link to it, as in the hub's cache", async () => {
    const folder = copyOf("gpt2");
    const { hash, cacheFile } = await hashed(folder);
    const links = temporaryFolder();
    for (const file of ["config.json", WEIGHTS]) symlinkSync(join(folder, file), join(links, file));
    expect(await hashed(links, cacheFile)).toMatchObject({ hash, bytes: 0 });
  });

  it("does not remember a file that has just been written, nor trust a cache that is none or of another machine", async () => {
    const folder = copyOf("gpt2");
    const now = new Date();
    utimesSync(join(folder, WEIGHTS), now, now);
    const { hash, cacheFile } = await hashed(folder);
    expect((await hashed(folder, cacheFile)).bytes).toBe(readFileSync(join(folder, WEIGHTS)).length);
    utimesSync(join(folder, WEIGHTS), BEFORE, BEFORE);
    await hashed(folder, cacheFile);
    const text = readFileSync(cacheFile, "utf8");
    for (const bad of [
      "",
      "[]",
      text.slice(0, 100),
      text.replaceAll(/"host": "[^"]*"/g, '"host": "elsewhere"'),
    ]) {
      writeFileSync(cacheFile, bad);
      expect(await hashed(folder, cacheFile)).toMatchObject({ hash, bytes: sizeOf(folder) });
    }
  });

  it("says what is missing, and stops when it is told to", async () => {
    const empty = temporaryFolder();
    const cacheFile = join(empty, "hashes.json");
    await expect(hashModel(empty, { cacheFile })).rejects.toThrow(
      new InputError(
        `hashModel: expected model.safetensors or model.safetensors.index.json in ${empty}, got neither`,
      ),
    );
    writeFileSync(join(empty, WEIGHTS), "");
    await expect(hashModel(empty, { cacheFile })).rejects.toThrow(
      `hashModel: expected config.json in ${empty}, got: Error: ENOENT`,
    );
    const folder = copyOf("gpt2");
    const stop = new AbortController();
    const stopped = hashModel(folder, {
      cacheFile,
      signal: stop.signal,
      onProgress: () => stop.abort(new Error("enough")),
    });
    await expect(stopped).rejects.toThrow("enough");
  });

  it("refuses a file that changes while it is read", async () => {
    const folder = copyOf("gpt2");
    const file = join(folder, WEIGHTS);
    const hash = hashModel(folder, {
      cacheFile: join(temporaryFolder(), "hashes.json"),
      onProgress: () => writeFileSync(file, "other"),
    });
    const text = `hashModel: ${file}: expected a file that stays as it is, got ${WEIGHTS} changed meanwhile`;
    await expect(hash).rejects.toThrow(new RunError(text));
    const other = copyOf("gpt2");
    const gone = hashModel(other, {
      cacheFile: join(temporaryFolder(), "hashes.json"),
      onProgress: () => rmSync(join(other, WEIGHTS), { force: true }),
    });
    await expect(gone).rejects.toThrow(new RunError(text.replace(folder, other)));
  });
});

describe("a GGUF file", () => {
  const whole = fileURLToPath(new URL("../fixtures/gguf/qwen2.gguf", import.meta.url));

  it("has one hash, whatever it is called, and is noticed when it changes", async () => {
    const folder = temporaryFolder();
    const [first, renamed] = ["a.gguf", "b.gguf"].map((name) => join(folder, name));
    for (const path of [first, renamed]) {
      copyFileSync(whole, path);
      utimesSync(path, BEFORE, BEFORE);
    }
    const { hash, files } = await hashed(first);
    expect(hash).toBe(sha256(`${sha256(readFileSync(whole))} model.gguf\n`));
    expect((await hashed(renamed)).hash).toBe(hash);
    await checkUnchanged(first, files);
    appendFileSync(first, " ");
    await expect(checkUnchanged(first, files)).rejects.toThrow(
      `checkUnchanged: ${first}: expected the model to stay as it was when the job was prepared or the worker started, got a file that has changed since`,
    );
    rmSync(first);
    await expect(hashed(first)).rejects.toThrow("hashModel: expected a.gguf, got: Error: ENOENT");
  });
});

describe("checkUnchanged", () => {
  const WAS = "expected the model to stay as it was when the job was prepared or the worker started, got";

  it("lets a model be that is as it was, links to it included", async () => {
    const folder = copyOf("gpt2");
    const { files } = await hashed(folder);
    await checkUnchanged(folder, files);
    const links = temporaryFolder();
    for (const file of ["config.json", WEIGHTS]) symlinkSync(join(folder, file), join(links, file));
    await checkUnchanged(links, files);
    // Another folder with the same bytes has other files.
    await expect(checkUnchanged(copyOf("gpt2"), files)).rejects.toThrow(ModelChanged);
  });

  it.each<[string, (file: string) => void, string]>([
    ["its size", (file) => appendFileSync(file, " "), "a file that has changed since"],
    ["its time", (file) => utimesSync(file, BEFORE, new Date()), "a file that has changed since"],
    [
      "its inode",
      (file) => {
        copyFileSync(file, `${file}.copy`);
        renameSync(`${file}.copy`, file);
        utimesSync(file, BEFORE, BEFORE);
      },
      "a file that has changed since",
    ],
    [
      "all of it",
      (file) => rmSync(file),
      "a file that cannot be found any more: InputError: hashModel: expected ",
    ],
  ])("tells of a file when %s changes", async (_, change, found) => {
    for (const name of ["config.json", WEIGHTS]) {
      const folder = copyOf("gpt2");
      const { files } = await hashed(folder);
      change(join(folder, name));
      const check = checkUnchanged(folder, files);
      await expect(check).rejects.toThrow(ModelChanged);
      await expect(check).rejects.toThrow(`checkUnchanged: ${join(folder, name)}: ${WAS} ${found}`);
    }
  });

  it("tells of weights in one file that come before those in several", async () => {
    const folder = temporaryFolder();
    cpSync(goldenFolder("llama_sharded"), folder, { recursive: true });
    const { files } = await hashed(folder);
    await checkUnchanged(folder, files);
    writeFileSync(join(folder, WEIGHTS), "");
    await expect(checkUnchanged(folder, files)).rejects.toThrow(
      new ModelChanged(`checkUnchanged: ${join(folder, WEIGHTS)}: ${WAS} a file that was not there`),
    );
  });
});

describe("hashSmallFile", () => {
  it("is SHA-256, and names a file that cannot be read", async () => {
    const file = join(temporaryFolder(), "pairs.jsonl");
    writeFileSync(file, "abc");
    expect(await hashSmallFile(file)).toBe(sha256("abc"));
    const missing = hashSmallFile(`${file}.not`);
    await expect(missing).rejects.toThrow(RunError);
    await expect(missing).rejects.toThrow(`hashSmallFile: ${file}.not: Error: ENOENT`);
  });
});
