import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { InputError } from "../../src/errors.js";
import { readPairs } from "../../src/prompts/read-pairs.js";
import { DEMO_PAIRS, demoContext, idContext } from "./contexts.js";

const NEEDS = { answers: true, wrong: true };
const demo = await demoContext();
const ids = idContext();

const GOOD = '{"clean": [1, 2], "corrupted": [1, 3], "answers": [4], "wrong": [5]}';
const NO_WRONG = '{"clean": [1, 2], "corrupted": [1, 3], "answers": [4]}';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "pairs-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

async function write(name: string, content: string | Uint8Array): Promise<string> {
  const file = join(folder, name);
  await writeFile(file, content);
  return file;
}

async function messageOf(files: string | readonly string[]): Promise<string> {
  try {
    await readPairs(files, ids, NEEDS);
  } catch (error) {
    expect(error).toBeInstanceOf(InputError);
    return error instanceof InputError ? error.message : "";
  }
  throw new Error("expected readPairs to refuse the files");
}

describe("readPairs", () => {
  it("reads every file of demo pairs, word by word", async () => {
    const vocabulary: Record<string, number> = JSON.parse(
      await readFile(join(DEMO_PAIRS, "../tokenizer.json"), "utf8"),
    ).model.vocab;
    const files = await readdir(DEMO_PAIRS);
    expect(files).toHaveLength(8);
    for (const name of files) {
      const file = join(DEMO_PAIRS, name);
      const written = (await readFile(file, "utf8"))
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line));
      const pairs = await readPairs(file, demo, NEEDS);
      // The demo's tokenizer is a table of words separated by spaces.
      const words = (text: string) => text.split(" ").map((word) => vocabulary[word]);
      expect(pairs.map((pair) => pair.clean)).toEqual(written.map((pair) => words(pair.clean)));
      expect(pairs.map((pair) => pair.corrupted)).toEqual(written.map((pair) => words(pair.corrupted)));
      expect(pairs.map((pair) => pair.answers)).toEqual(
        written.map((pair) => pair.answers.map((word: string) => vocabulary[word])),
      );
      expect(pairs.map((pair) => pair.wrong)).toEqual(
        written.map((pair) => pair.wrong.map((word: string) => vocabulary[word])),
      );
      expect(pairs.map((pair) => pair.roles.get("end"))).toEqual(pairs.map((pair) => pair.clean.length - 1));
      expect(pairs.map((pair) => pair.origin)).toEqual(written.map((_, i) => `${file}:${i + 1}`));
    }
  });

  it("reads several files in the given order", async () => {
    const a = await write("a.jsonl", `${GOOD}\n${GOOD}\n`);
    const b = await write("b.jsonl", GOOD);
    const pairs = await readPairs([b, a], ids, NEEDS);
    expect(pairs.map((pair) => pair.origin)).toEqual([`${b}:1`, `${a}:1`, `${a}:2`]);
  });

  it("tolerates a byte order mark, \\r\\n, blank lines and a missing last newline", async () => {
    const file = await write("windows.jsonl", `\ufeff${GOOD}\r\n\r\n  \n${GOOD}`);
    const pairs = await readPairs(file, ids, NEEDS);
    expect(pairs.map((pair) => pair.origin)).toEqual([`${file}:1`, `${file}:4`]);
  });

  it("keeps lines whole that are longer than a chunk of the file or hold a line separator", async () => {
    const name = `${"é".repeat(100_000)}\u2028${"€".repeat(100_000)}`; // 2- and 3-byte characters across chunks
    const line = JSON.stringify({ ...JSON.parse(GOOD), name });
    expect(line).toContain("\u2028"); // JSON.stringify leaves it unescaped, as do other languages' writers
    const file = await write("long.jsonl", `${GOOD}\n${line}\n${GOOD}\n`);
    const pairs = await readPairs(file, ids, NEEDS);
    expect(pairs.map((pair) => pair.name)).toEqual([undefined, name, undefined]);
  });
});

describe("readPairs refuses", () => {
  it("no files, and files that cannot be read", async () => {
    expect(await messageOf([])).toBe("readPairs: expected at least 1 file, got none");
    const missing = join(folder, "missing.jsonl");
    expect(await messageOf(missing)).toBe(`readPairs: ${missing}: expected a file, got nothing at this path`);
    expect(await messageOf(folder)).toBe(
      `readPairs: ${folder}: expected a file, got a folder, pipe or device`,
    );
    const odd = join(folder, "a\0b");
    expect(await messageOf(odd)).toContain(
      `${join(folder, String.raw`a\u0000b`)}: expected a readable file, got: `,
    );
  });

  it("a file without pairs", async () => {
    for (const content of ["", "\n\n", "\ufeff\r\n"]) {
      const file = await write("empty.jsonl", content);
      expect(await messageOf(file)).toBe(`readPairs: ${file}: expected at least 1 pair, got an empty file`);
    }
    const good = await write("good.jsonl", GOOD);
    const empty = await write("empty.jsonl", "");
    expect(await messageOf([good, empty])).toContain(`${empty}: expected at least 1 pair`);
  });

  it("text that is not UTF-8, naming the line", async () => {
    const latin1 = await write("latin1.jsonl", Buffer.from(`${GOOD}\n{"name": "caf\u00e9"}`, "latin1"));
    expect(await messageOf(latin1)).toBe(
      `readPairs: ${latin1}:2: expected UTF-8 text, got bytes that are not UTF-8`,
    );
    const utf16 = await write("utf16.jsonl", Buffer.from(`\ufeff${GOOD}`, "utf16le"));
    expect(await messageOf(utf16)).toContain(`${utf16}:1: expected UTF-8 text`);
  });

  it("malformed JSON, naming the line and where in it", async () => {
    const at = async (line: string) => messageOf(await write("malformed.jsonl", `${GOOD}\n${line}\n`));
    const file = join(folder, "malformed.jsonl");
    expect(await at('{"clean": [1, 2] "corrupted": [1, 3]}')).toBe(
      `readPairs: ${file}:2: expected one JSON object per line: Expected ',' or '}' after property value in JSON at column 18`,
    );
    expect(await at(`${GOOD} ${GOOD}`)).toContain(
      `Unexpected non-whitespace character after JSON at column ${GOOD.length + 2}`,
    );
    expect(await at('{"clean": tru}')).toContain(
      `:2: expected one JSON object per line: Unexpected token '}', "{"clean": tru}"`,
    );
    expect(await at('{"clean":')).toContain(
      ":2: expected one JSON object per line: Unexpected end of JSON input",
    );
    expect(await at("[1, 2]")).toContain(":2: expected an object with the fields of a pair, got an array");
    expect(await at("3")).toContain(":2: expected an object with the fields of a pair, got 3");
  });

  it("one bad line in one line of text", async () => {
    const file = await write("one.jsonl", `${GOOD}\n${NO_WRONG}\n${GOOD}\n`);
    expect(await messageOf(file)).toBe(
      `readPairs: ${file}:2: wrong: this metric needs \`wrong\`, got no tokens`,
    );
  });

  it("several bad lines, listing the first five over all files", async () => {
    const two = await write("two.jsonl", `${NO_WRONG}\n${GOOD}\n{}\n`);
    expect(await messageOf(two)).toBe(
      [
        "readPairs: 2 bad lines:",
        `  ${two}:1: wrong: this metric needs \`wrong\`, got no tokens`,
        `  ${two}:3: clean: expected text or an array of token ids, got nothing (the field is missing); corrupted: expected text or an array of token ids, got nothing (the field is missing)`,
      ].join("\n"),
    );
    const many = await write("many.jsonl", `${NO_WRONG}\n`.repeat(9));
    const lines = (await messageOf([two, many])).split("\n");
    expect(lines[0]).toBe("readPairs: the first 5 bad lines:");
    expect(lines.slice(1).map((line) => line.trim().split(": ")[0])).toEqual([
      `${two}:1`,
      `${two}:3`,
      `${many}:1`,
      `${many}:2`,
      `${many}:3`,
    ]);
  });
});
