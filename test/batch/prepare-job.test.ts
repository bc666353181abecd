import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import os from "node:os";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { hashJob, jobHashes } from "../../src/batch/identity.js";
import { type PreparedJob, prepareJob } from "../../src/batch/prepare-job.js";
import { unpackJob } from "../../src/batch/unpack-job.js";
import { formatBytes } from "../../src/byte-size.js";
import { hashModel } from "../../src/checkpoint/model-hash.js";
import { startEngine } from "../../src/engine/start-engine.js";
import { InputError } from "../../src/errors.js";
import { packageVersion } from "../../src/version.js";
import { temporaryFolder } from "../support/checkpoint-folders.js";
import { testBackend } from "../support/engine.js";
import { JOB_MODEL, JOB_PAIRS, pairLines, writeJobFile } from "../support/job-by-hand.js";

/** Prepares a job file in a folder of its own. */
async function prepared(
  changes: Readonly<Record<string, unknown>> = {},
  folder = temporaryFolder(),
): Promise<PreparedJob> {
  return await prepareJob(writeJobFile(folder, changes));
}

/** The error text without what every one begins with. */
async function errorOf(
  changes: Readonly<Record<string, unknown>>,
  folder = temporaryFolder(),
): Promise<string> {
  const error: unknown = await prepared(changes, folder).catch((reason: unknown) => reason);
  if (!(error instanceof InputError)) throw new Error(`expected an InputError, got ${String(error)}`);
  return error.message.replace(/^(prepareJob|readJobSpec): .*?job\.json: /, "").replaceAll(folder, "FOLDER");
}

describe("prepareJob", () => {
  it("resolves everything to a job that depends on no folder of this machine", async () => {
    const folder = temporaryFolder();
    const job = await prepared({ maxPairs: 4, threads: 1, method: "atp" }, folder);
    expect(job).toMatchObject({
      specFile: join(folder, "job.json"),
      outputFolder: join(folder, "out"),
      modelFolder: JOB_MODEL,
      available: 5,
      jobHash: hashJob(job.job),
    });
    expect(job.pairs.length).toBe(4);
    expect(job.job).toMatchObject({
      atpkit: packageVersion(),
      backend: testBackend(),
      threads: 1,
      source: { kind: "prompt" },
      metrics: [{ output: "logit-diff" }],
      direction: "noising",
      sites: ["q", "k", "v", "z", "mlpOut"],
      positions: "each",
      batchSize: 16,
      activationBudgetBytes: 2 ** 30,
      workload: { method: "atp", byPair: false, pairs: 16, nodes: 256 },
    });
    expect(job.jobHashes).toEqual(jobHashes(job.job));
    const [first] = job.job.pairs;
    const { origin, ...wanted } = JOB_PAIRS[Number(/:(\d)$/.exec(first.origin)?.[1]) - 1];
    expect(first).toMatchObject(wanted);
    expect(JSON.stringify(job.job)).not.toContain(folder);
    expect(origin).not.toBe(first.origin);
    expect(unpackJob(job.job, job.config)).toMatchObject({ pairs: job.pairs, space: job.space });
    const { hash: modelHash } = await hashModel(JOB_MODEL, {
      cacheFile: join(temporaryFolder(), "hashes.json"),
    });
    expect(job.job.model.hash).toBe(modelHash);
    expect(job.hashes).toEqual({
      model: modelHash,
      pairs: { "pairs.jsonl": createHash("sha256").update(pairLines()).digest("hex") },
    });
  });

  it("gives the same job for the same files elsewhere", async () => {
    const [one, other] = [temporaryFolder(), temporaryFolder()];
    for (const folder of [one, other]) {
      cpSync(JOB_MODEL, join(folder, "model"), { recursive: true });
      mkdirSync(join(folder, "more"));
      writeFileSync(join(folder, "more", "b.jsonl"), pairLines(JOB_PAIRS.slice(0, 2)));
    }
    const changes = {
      model: "model",
      pairs: ["pairs.jsonl", "more/b.jsonl"],
      source: { mean: "more/b.jsonl" },
    };
    const [first, second] = [await prepared(changes, one), await prepared(changes, other)];
    expect(second.jobHash).toBe(first.jobHash);
    expect(first.pairs.map(({ origin }) => origin)).toEqual([
      ...[1, 2, 3, 4, 5].map((line) => `pairs.jsonl:${line}`),
      "more/b.jsonl:1",
      "more/b.jsonl:2",
    ]);
    expect(first.averaged?.pairs.length).toBe(2);
    expect(Object.keys(first.hashes.pairs)).toEqual(["pairs.jsonl", "more/b.jsonl"]);
    writeFileSync(
      join(other, "model", "config.json"),
      `${readFileSync(join(other, "model", "config.json"), "utf8")} `,
    );
    expect((await prepared(changes, other)).jobHash).not.toBe(first.jobHash);
  });

  it("leaves out of the job what changes no number", async () => {
    const folder = temporaryFolder();
    const { jobHash } = await prepared({}, folder);
    for (const changes of [
      { verify: { topK: 3 } },
      { shards: { pairs: 1, nodes: 1, retries: 0 } },
      { memory: "64GiB" },
      { output: "elsewhere" },
      { seed: 4 },
      { method: "atp" },
      { model: JOB_MODEL },
    ]) {
      expect((await prepared(changes, folder)).jobHash).toBe(jobHash);
    }
    expect((await prepared({ method: "exact" }, folder)).job.workload).toEqual({
      byPair: false,
      pairs: 16,
      nodes: 256,
    });
    writeFileSync(join(folder, "blank.jsonl"), `\n${pairLines()}\n`);
    const blank = await prepared({ pairs: "blank.jsonl" }, folder);
    expect(blank.pairs[0].origin).toBe("blank.jsonl:2");
    expect(blank.jobHash).toBe(jobHash);
    const certified = await prepared(
      { certify: { confidence: 0.9 }, positions: "all", verify: { topK: 3 } },
      folder,
    );
    expect(certified.jobHash).toBe((await prepared({ positions: "all" }, folder)).jobHash);
    expect(certified.job.workload.byPair).toBe(true);
  });

  it("divides a worker's memory by the spec alone, so that the job is the same one every time", async () => {
    const changes = { memory: "612MiB", nodes: "all" };
    const { jobHash, job } = await prepared(changes);
    expect(job.activationBudgetBytes).toBeLessThan(2 ** 30);
    const ballast = Buffer.alloc(2 ** 26, 1);
    expect((await prepared(changes)).jobHash).toBe(jobHash);
    expect(ballast.length).toBe(2 ** 26);
    const asked = await prepared({ ...changes, activationMemory: "512KiB" });
    expect(asked.job.activationBudgetBytes).toBe(2 ** 19);
  });

  it("takes the engine that starts here where the spec leaves it open", async () => {
    const { backend } = await startEngine({ prefer: testBackend() });
    expect((await prepared({ engine: "auto" })).job.backend).toBe(backend);
  });

  it("reads a metric's direction beside the job file, and names it as the spec does", async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, "up.json"), JSON.stringify(Array.from({ length: 32 }, (_, d) => d / 8)));
    const { job, metrics } = await prepared(
      { metric: "L1.residPost@end:up.json", alsoMetrics: ["logit"] },
      folder,
    );
    expect(metrics.map(({ name }) => name)).toEqual(["L1.residPost@end:up.json", "logit"]);
    const direction = Array.from({ length: 32 }, (_, d) => d / 8);
    expect(job.metrics[0]).toMatchObject({ internal: { takes: { direction } } });
    expect(JSON.stringify(job)).not.toContain(folder);
  });

  it("needs no corrupted prompts with noise, and says what the noise is", async () => {
    const folder = temporaryFolder();
    writeFileSync(
      join(folder, "alone.jsonl"),
      '{"clean": [1, 2, 3], "answers": [4], "wrong": [5], "roles": {"x": 1}}',
    );
    const source = { noise: { at: ["x"], scale: 2, draws: 4, seed: 6 } };
    const { job, pairs } = await prepared({ pairs: "alone.jsonl", source }, folder);
    expect(job.source).toEqual({ kind: "noise", at: ["x"], multiple: 2, draws: 4, seed: 6 });
    expect(pairs[0].corrupted).toBe(pairs[0].clean);
  });

  it("has room for the estimates of each pair of a certificate, or refuses it", async () => {
    const changes = { certify: { confidence: 0.99 }, positions: "roles", verify: { topK: 3 } };
    const { pairs, space } = await prepared(changes);
    // Those of all nodes, and of the nodes that are sampled, in float32.
    const bytes = 2 * 4 * pairs.length * space.size;
    const total = vi.spyOn(os, "totalmem").mockReturnValue(2 * bytes);
    try {
      await prepared(changes);
      total.mockReturnValue(2 * bytes - 2);
      expect(await errorOf(changes)).toBe(
        `certify: expected estimates of each pair that take at most half of this machine's memory, ${formatBytes(bytes - 1)}, got ${formatBytes(bytes)} for 5 pairs and ${space.size} nodes: use fewer pairs (maxPairs) or nodes, or do without a certificate`,
      );
      await prepared({ ...changes, certify: undefined });
    } finally {
      total.mockRestore();
    }
  });

  it.each<[Record<string, unknown>, string]>([
    [{ metric: "logits" }, "metric: parseMetric: expected one of logit-diff, logit, "],
    [
      { metric: "L1.residPost@end:none.json" },
      "metric: parseMetric: expected a direction in FOLDER/none.json, got no such file",
    ],
    [{ alsoMetrics: ["prob", "x"] }, "alsoMetrics[1]: parseMetric: expected one of"],
    [
      { alsoMetrics: ["logit-diff"] },
      "alsoMetrics: metricsByName: expected each metric once, got logit-diff twice",
    ],
    [{ pairs: ["pairs.jsonl", "none.jsonl"] }, "pairs[1]: expected a file, got nothing at FOLDER/none.jsonl"],
    [{ pairs: "." }, "pairs[0]: expected a file, got a folder at FOLDER"],
    [{ source: { mean: "none.jsonl" } }, "source.mean: expected a file, got nothing at FOLDER/none.jsonl"],
    [{ source: { mean: "job.json" } }, "source.mean: readPairs: FOLDER/job.json:1: "],
    [{ model: "./none" }, "model: resolveCheckpoint: folder not found: ./none"],
    [
      { model: "test" },
      "model: expected a folder relative to the job file, or a model id, got nothing at FOLDER/test, and a folder in the working folder",
    ],
    [
      { model: "pairs.jsonl" },
      "model: resolveCheckpoint: FOLDER/pairs.jsonl: expected a folder, a GGUF file (.gguf) or a model id, got another file",
    ],
    [{ model: "." }, "model: loadModel: "],
    [{ nodes: "q,w" }, 'nodes: parseSites: expected "all" or sites among'],
    [{ metric: "accuracy" }, "estimate: expected a metric with a gradient, got accuracy"],
    [{ metric: "kl" }, "estimate: expected direction denoising for metric kl, got noising"],
    [
      { metric: "L0.neuron[1]@end" },
      "estimateBy: expected a metric with at least 2 layers below it for method atp*, got L0.neuron[1]@end with ",
    ],
    [
      { metric: "L7.neuron[1]@end" },
      "checkModelForMetric: metric L7.neuron[1]@end: expected a layer from 0 to 2, got 7",
    ],
    [
      { metric: "L1.neuron[1]@verb" },
      "checkPairsForMetric: pairs.jsonl:1: metric L1.neuron[1]@verb: position: expected one of end, subject, got the role",
    ],
    [
      { source: { noise: { at: ["verb"] } } },
      "noiseSource: pairs.jsonl:1: expected a pair with all that gets noise, verb",
    ],
    [
      { certify: { confidence: 0.9 } },
      "checkComplete: pairs.jsonl:2: expected pairs that have every position of the nodes, got one without 5",
    ],
    [
      { certify: { confidence: 0.9 }, positions: "all", verify: { topK: 1000 } },
      "certify: certify: expected topK from 1 to 51, the number of nodes, got 1000",
    ],
    [
      { certify: { confidence: 0.9 }, positions: "all", method: "exact" },
      "certify: expected a method that estimates, got exact: it patches every node, so the list is certain",
    ],
    [{ output: "pairs.jsonl" }, "output: expected a folder, got the file FOLDER/pairs.jsonl"],
  ])("refuses %j", async (changes, text) => {
    expect((await errorOf(changes)).slice(0, text.length)).toBe(text);
  });

  it("says which line of a pairs file is wrong", async () => {
    const folder = temporaryFolder();
    writeFileSync(
      join(folder, "bad.jsonl"),
      `${pairLines()}\n{"clean": [1], "corrupted": [99], "answers": [1], "wrong": [2]}`,
    );
    expect(await errorOf({ pairs: "bad.jsonl" }, folder)).toBe(
      "pairs: readPairs: FOLDER/bad.jsonl:6: corrupted[0]: expected a token id of the model's vocabulary, an integer from 0 to 96, got 99",
    );
  });

  it("stops when it is told to", async () => {
    const file = writeJobFile(temporaryFolder());
    await expect(prepareJob(file, { signal: AbortSignal.abort(new Error("enough")) })).rejects.toThrow(
      "enough",
    );
  });
});
