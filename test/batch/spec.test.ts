import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readJobSpec } from "../../src/batch/read-spec.js";
import { jobJsonSchema } from "../../src/batch/spec.js";
import { InputError } from "../../src/errors.js";
import { temporaryFolder } from "../support/checkpoint-folders.js";

const SMALLEST = { model: "m", pairs: "p.jsonl", output: "out" };

function written(text: string): string {
  const file = join(temporaryFolder(), "job.json");
  writeFileSync(file, text);
  return file;
}

function specOf(changes: Readonly<Record<string, unknown>>) {
  return readJobSpec(written(JSON.stringify({ ...SMALLEST, ...changes })));
}

/** The error text without what every one begins with. */
async function errorOf(changes: Readonly<Record<string, unknown>>): Promise<string> {
  const error: unknown = await specOf(changes).catch((reason: unknown) => reason);
  if (!(error instanceof InputError)) throw new Error(`expected an InputError, got ${String(error)}`);
  return error.message.replace(/^readJobSpec: .*job\.json: /, "");
}

describe("readJobSpec", () => {
  it("fills in the defaults of the command line", async () => {
    expect(await specOf({})).toEqual({
      model: "m",
      pairs: ["p.jsonl"],
      output: "out",
      seed: 0,
      direction: "noising",
      metric: "logit-diff",
      alsoMetrics: [],
      source: "prompt",
      nodes: "q,k,v,z,mlpOut",
      positions: "each",
      method: "atp*",
      verify: { topK: 20 },
      shards: { pairs: 16, nodes: 256, samples: 256, retries: 2 },
      batchSize: 16,
      engine: "auto",
    });
  });

  it("takes every field, and sizes as text", async () => {
    const given = {
      $schema: "https://example.org/job.schema.json",
      pairs: ["a.jsonl", "b.jsonl"],
      maxPairs: 3,
      seed: -7,
      direction: "denoising",
      metric: "kl",
      alsoMetrics: ["prob", "L1.neuron[2]@end"],
      source: { noise: { at: ["subject", 3] } },
      nodes: "all",
      positions: "roles",
      method: "exact",
      verify: { topK: 1 },
      certify: { confidence: 0.99, budget: 1.5, inclusion: 0.1, prevalenceSample: 0, seed: 4 },
      shards: { pairs: 1, nodes: 2, samples: 3, retries: 0 },
      batchSize: 1,
      engine: "wasm",
      threads: 4,
    };
    const spec = await specOf({ ...given, activationMemory: "1.5MiB", memory: "6GiB" });
    expect(spec).toEqual({
      ...SMALLEST,
      ...given,
      source: { noise: { at: ["subject", 3], scale: 3, draws: 10, seed: 0 } },
      activationMemory: 1572864,
      memory: 6442450944,
    });
    expect((await specOf({ memory: 12345 })).memory).toBe(12345);
    expect((await specOf({ source: { mean: "others.jsonl" } })).source).toEqual({ mean: "others.jsonl" });
  });

  it.each<[Record<string, unknown>, string]>([
    [{ model: undefined }, "model: expected a folder or a model id, got nothing (the field is missing)"],
    [{ model: "" }, 'model: expected a folder or a model id, got the text ""'],
    [{ $schema: 3 }, "$schema: expected text, got 3"],
    [
      { pairs: undefined },
      "pairs: expected a file name, or an array of them, got nothing (the field is missing)",
    ],
    [{ pairs: [] }, "pairs: expected a file name, or an array of them, got an array"],
    [{ pairs: 3 }, "pairs: expected a file name, or an array of them, got 3"],
    [{ maxPairs: 0 }, "maxPairs: expected a positive integer, got 0"],
    [{ maxPairs: 1.5 }, "maxPairs: expected a positive integer, got 1.5"],
    [{ seed: 2 ** 31 }, "seed: expected an integer from -2^31 to 2^31 - 1, got 2147483648"],
    [{ seed: "1" }, 'seed: expected an integer from -2^31 to 2^31 - 1, got the text "1"'],
    [{ direction: "up" }, 'direction: expected one of noising, denoising, got the text "up"'],
    [{ metric: null }, "metric: expected the name of a metric, got null"],
    [{ alsoMetrics: "prob" }, 'alsoMetrics: expected an array of metrics, got the text "prob"'],
    [{ alsoMetrics: ["prob", 1] }, "alsoMetrics[1]: expected the name of a metric, got 1"],
    [
      { source: "nothing" },
      'source: expected "prompt", "zero", "mean", an object with `mean` (a pairs file), or one with `noise`, got the text "nothing"',
    ],
    [
      { source: { foo: 1 } },
      'source: expected "prompt", "zero", "mean", an object with `mean` (a pairs file), or one with `noise`, got an object',
    ],
    [{ source: { mean: 1 } }, "source.mean: expected a pairs file, got 1"],
    [
      { source: { noise: {} } },
      'source.noise.at: expected an array of positions, roles or "*", got nothing (the field is missing)',
    ],
    [
      { source: { noise: { at: [] } } },
      'source.noise.at: expected at least one position, role or "*", got an array',
    ],
    [{ source: { noise: { at: [1.5] } } }, 'source.noise.at[0]: expected a position, a role or "*", got 1.5'],
    [{ source: { noise: { at: [1], scale: 0 } } }, "source.noise.scale: expected a positive number, got 0"],
    [{ source: { noise: { at: [1], draws: 0 } } }, "source.noise.draws: expected a positive integer, got 0"],
    [{ source: { noise: { at: [1], sigma: 3 } } }, "unknown field `source.noise.sigma`"],
    [{ nodes: 3 }, "nodes: expected sites, separated by commas, got 3"],
    [{ positions: "some" }, 'positions: expected one of each, roles, all, got the text "some"'],
    [
      { method: "eap" },
      'method: expected one of atp, atp+qkfix, atp+graddrop, atp*, exact, got the text "eap"',
    ],
    [{ verify: 3 }, "verify: expected an object with `topK`, got 3"],
    [{ verify: { topK: 0 } }, "verify.topK: expected a positive integer, got 0"],
    [{ verify: { k: 3 } }, "unknown field `verify.k`"],
    [{ certify: true }, "certify: expected an object with `confidence`, got true"],
    [
      { certify: {} },
      "certify.confidence: expected a number from 0.5 to below 1, got nothing (the field is missing)",
    ],
    [{ certify: { confidence: 1 } }, "certify.confidence: expected a number from 0.5 to below 1, got 1"],
    [{ certify: { confidence: 0.9, budget: -1 } }, "certify.budget: expected a positive number, got -1"],
    [
      { certify: { confidence: 0.9, inclusion: 1 } },
      "certify.inclusion: expected a number between 0 and 1, got 1",
    ],
    [
      { certify: { confidence: 0.9, prevalenceSample: -1 } },
      "certify.prevalenceSample: expected 0 or a positive integer, got -1",
    ],
    [{ output: undefined }, "output: expected a folder, got nothing (the field is missing)"],
    [{ shards: [] }, "shards: expected an object with `pairs`, `nodes`, `samples`, `retries`, got an array"],
    [{ shards: { pairs: 0 } }, "shards.pairs: expected a positive integer, got 0"],
    [{ shards: { retries: -1 } }, "shards.retries: expected 0 or a positive integer, got -1"],
    [{ batchSize: 0 }, "batchSize: expected a positive integer, got 0"],
    [
      { activationMemory: "lots" },
      'activationMemory: expected bytes, or a text such as "512MiB" or "6GiB", got the text "lots"',
    ],
    [{ memory: 0 }, 'memory: expected bytes, or a text such as "512MiB" or "6GiB", got 0'],
    [{ memory: "0.1" }, 'memory: expected bytes, or a text such as "512MiB" or "6GiB", got the text "0.1"'],
    [{ engine: "cuda" }, 'engine: expected one of auto, tensorflow, wasm, got the text "cuda"'],
    [{ threads: 0 }, "threads: expected a positive integer, got 0"],
  ])("refuses %j", async (changes, text) => {
    expect(await errorOf(changes)).toBe(text);
  });

  it("names unknown fields with the known ones, and several errors at once", async () => {
    expect(await errorOf({ topK: 3 })).toBe(
      "unknown field `topK` (known: $schema, model, pairs, maxPairs, seed, direction, metric, alsoMetrics, source, nodes, positions, method, verify, certify, output, shards, batchSize, activationMemory, memory, engine, threads)",
    );
    expect(await errorOf({ seed: 0.5, engine: "x" })).toBe(
      'seed: expected an integer from -2^31 to 2^31 - 1, got 0.5; engine: expected one of auto, tensorflow, wasm, got the text "x"',
    );
  });

  it("says where a file is not JSON, or that it is not an object or not there", async () => {
    const failing = async (text: string) => {
      const file = written(text);
      const error: unknown = await readJobSpec(file).catch((reason: unknown) => reason);
      return error instanceof InputError ? error.message.replace(file, "job.json") : error;
    };
    expect(await failing('{\n  "model": "m",\n  "pairs": ,\n}')).toBe(
      'readJobSpec: job.json:3:12: expected JSON, got ","',
    );
    expect(await failing('{"model": "m",}')).toBe('readJobSpec: job.json:1:15: expected JSON, got "}"');
    expect(await failing('{"model": "m"} x')).toBe('readJobSpec: job.json:1:16: expected JSON, got "x"');
    expect(await failing('{"model": tru, "x": 1}')).toBe(
      'readJobSpec: job.json:1:14: expected JSON, got ","',
    );
    expect(await failing('{"model": "m"')).toBe(
      "readJobSpec: job.json:1:14: expected JSON, got the end of the file",
    );
    expect(await failing("")).toBe("readJobSpec: job.json:1:1: expected JSON, got the end of the file");
    expect(await failing("[]")).toBe(
      "readJobSpec: job.json: expected an object with the fields of a job, got an array",
    );
    await expect(readJobSpec(join(temporaryFolder(), "none.json"))).rejects.toThrow(
      /^readJobSpec: .*none\.json: expected a job file, got: ENOENT: no such file or directory/,
    );
  });

  it("finds the place of a character that does not belong, wherever it is put", async () => {
    const valid = JSON.stringify({ a: [1, { b: "text" }, null], c: true }, undefined, 1);
    // Outside of texts, "§" can stand nowhere.
    const outside = Array.from(valid, (_, at) => at).filter(
      (at) => valid.slice(0, at).split('"').length % 2 === 1,
    );
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...outside), async (at) => {
        const lines = valid.slice(0, at).split("\n");
        const place = `${lines.length}:${lines[lines.length - 1].length + 1}: expected JSON, got "§"`;
        await expect(readJobSpec(written(`${valid.slice(0, at)}§${valid.slice(at)}`))).rejects.toThrow(place);
      }),
      { numRuns: 30 },
    );
  });
});

describe("schema/job.schema.json", () => {
  it("is the schema that reads job files; `npx tsx scripts/job-schema.ts` writes it", () => {
    const text = readFileSync(new URL("../../schema/job.schema.json", import.meta.url), "utf8");
    expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(jobJsonSchema())));
  });
});
