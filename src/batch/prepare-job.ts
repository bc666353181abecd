/**
 * @file From a job file to a job: everything that can be wrong with it is found here, in the order of how soon it can be known, before
 * an engine computes anything. What takes long at the end, hashing the model, is remembered in the output folder.
 */

import { stat } from "node:fs/promises";
import os from "node:os";
import { dirname, join, resolve } from "node:path";
import { DEFAULT_ACTIVATION_BUDGET_BYTES } from "../activation-budget.js";
import { checkGradient } from "../atp/batches.js";
import { checkMethod } from "../atpstar/estimate.js";
import { checkCertifyOptions } from "../bounds/certify.js";
import { checkComplete } from "../bounds/observe.js";
import { formatBytes } from "../byte-size.js";
import { isGgufPath } from "../checkpoint/gguf/gguf-file.js";
import type { DownloadProgress } from "../checkpoint/hub.js";
import { type OpenedModel, openModel } from "../checkpoint/load-model.js";
import { hashModel, hashSmallFile, MODEL_HASH_CACHE, type ModelFiles } from "../checkpoint/model-hash.js";
import { type Backend, startEngine } from "../engine/start-engine.js";
import { InputError } from "../errors.js";
import type { ModelConfig } from "../model/config.js";
import type { Tokenizer } from "../model/model.js";
import { parseSites } from "../nodes/node-space.js";
import { metricsByName } from "../prompts/metrics/by-names.js";
import type { Metric } from "../prompts/metrics/metric.js";
import { parseMetric } from "../prompts/metrics/parse-metric.js";
import type { Pair } from "../prompts/pair.js";
import { readAveragedPairs, readPairs } from "../prompts/read-pairs.js";
import { samplePairs } from "../prompts/sample-pairs.js";
import { checkFolder, makeFolder } from "../results/make-folder.js";
import type { Progress } from "../run-control.js";
import { notesOn } from "../sources/averaged.js";
import { packageVersion } from "../version.js";
import { type JobHashes, jobHashes } from "./identity.js";
import type { Job, PortableSource } from "./job.js";
import { planOfWorker, WORKER_PROCESS_BYTES } from "./job-memory.js";
import { portableMetric, portablePair } from "./portable.js";
import { readJobSpec } from "./read-spec.js";
import { certifyOptionsOf, type JobSpec } from "./spec.js";
import { type UnpackedJob, unpackJob } from "./unpack-job.js";

export interface PrepareOptions {
  readonly signal?: AbortSignal;
  /** Stage "hash", in bytes. */
  readonly onProgress?: (progress: Progress) => void;
  /** Of a model from the hub. */
  readonly onDownload?: (event: DownloadProgress) => void;
  readonly onNotice?: (text: string) => void;
}

/** A job whose input is checked; nothing is loaded. Its `metrics`, `pairs` and `space` are those that workers get. */
export interface PreparedJob extends UnpackedJob {
  /** Absolute. */
  readonly specFile: string;
  readonly spec: JobSpec;
  readonly job: Job;
  /** Of the job with all of its metrics. */
  readonly jobHash: string;
  readonly jobHashes: JobHashes;
  readonly config: ModelConfig;
  readonly tokenizer?: Tokenizer;
  /** Pairs in the files, before sampling. */
  readonly available: number;
  /** Absolute; it is there and can be written to. */
  readonly outputFolder: string;
  /** On this machine. */
  readonly modelFolder: string;
  /** As they were when they were hashed. */
  readonly modelFiles: ModelFiles;
  readonly hashes: {
    readonly model: string;
    /** SHA-256 of each pairs file, that of a mean among them, by its name in the spec. */
    readonly pairs: Readonly<Record<string, string>>;
  };
}

/**
 * Reads and checks a job, makes its output folder, and hashes its model.
 *
 * Where the spec leaves the engine open, this starts the one that this process has, and the job is for that one.
 * @throws InputError for anything that is wrong with the spec, the model, the pairs, or how they fit; for a folder that cannot be
 *   written to
 * @throws RunError for a download that breaks off, or a disk that refuses
 * @throws the signal's reason
 */
export async function prepareJob(specFile: string, options: PrepareOptions = {}): Promise<PreparedJob> {
  const path = resolve(specFile);
  const spec = await readJobSpec(specFile);
  const input = new JobInput(specFile, spec, dirname(path));
  const metrics = input.metrics();
  await input.checkFiles();
  const opened = await input.openModel(options);
  try {
    const { config, tokenizer, folder: modelFolder } = opened;
    const { pairs, available } = await input.pairs(opened, metrics[0], options);
    const draft = await input.job(opened, metrics, pairs);
    const unpacked = await input.inField(undefined, () => unpackJob(draft, config));
    await input.inField(undefined, () => checkMethodOf(spec, config, unpacked));
    await input.inField("certify", () => checkCertify(spec, unpacked));
    if (unpacked.averaged) for (const note of notesOn(unpacked.averaged)) options.onNotice?.(note);
    const outputFolder = await input.outputFolder();
    const backend = spec.engine === "auto" ? (await startEngine()).backend : spec.engine;
    const sized = await input.inField(undefined, () =>
      withinMemory({ ...draft, backend }, unpacked, opened, spec),
    );
    const { hash: model, files: modelFiles } = await hashModel(modelFolder, {
      cacheFile: join(outputFolder, MODEL_HASH_CACHE),
      ...(options.signal && { signal: options.signal }),
      onProgress: (done, total) => options.onProgress?.({ stage: "hash", done, total }),
    });
    const job = { ...sized, model: { ...draft.model, hash: model } };
    const hashes = jobHashes(job);
    return {
      ...unpacked,
      specFile: path,
      spec,
      job,
      jobHash: hashes.verify,
      jobHashes: hashes,
      config,
      ...(tokenizer && { tokenizer }),
      available,
      outputFolder,
      modelFolder: resolve(modelFolder),
      modelFiles,
      hashes: { model, pairs: await input.hashFiles() },
    };
  } finally {
    await opened.close();
  }
}

/** What the spec's fields name; errors say which field that is. */
class JobInput {
  constructor(
    readonly specFile: string,
    readonly spec: JobSpec,
    /** What its paths are relative to. */
    readonly folder: string,
  ) {}

  metrics(): readonly [Metric, ...Metric[]] {
    const { metric, alsoMetrics } = this.spec;
    const parse = (field: string, text: string) =>
      this.inFieldNow(field, () => parseMetric(text, this.folder));
    const first = parse("metric", metric);
    const also = alsoMetrics.map((text, m) => parse(`alsoMetrics[${m}]`, text));
    this.inFieldNow("alsoMetrics", () => metricsByName([first, ...also]));
    return [first, ...also];
  }

  async checkFiles(): Promise<void> {
    for (const [field, name] of this.#files()) {
      const file = await stat(this.#path(name)).catch(() => undefined);
      if (file?.isFile()) continue;
      throw this.#error(
        field,
        `expected a file, got ${file ? "a folder" : "nothing"} at ${this.#path(name)}`,
      );
    }
  }

  async hashFiles(): Promise<Record<string, string>> {
    const hashes = this.#files().map(
      async ([, name]) => [name, await hashSmallFile(this.#path(name))] as const,
    );
    return Object.fromEntries(await Promise.all(hashes));
  }

  async openModel({ signal, onDownload, onNotice }: PrepareOptions): Promise<OpenedModel> {
    const { model } = this.spec;
    const folder = this.#path(model);
    const isThere = await stat(folder).then(
      () => true,
      () => false,
    );
    if (!isThere && isGgufPath(model)) {
      throw this.#error("model", `expected a GGUF file relative to the job file, got nothing at ${folder}`);
    }
    // What looks like a model's id could be a folder of whoever starts the job, who means another one.
    if (!isThere && (await isFolder(model))) {
      throw this.#error(
        "model",
        `expected a folder relative to the job file, or a model id, got nothing at ${folder}, and a folder in the working folder`,
      );
    }
    return await this.inField("model", () =>
      openModel(isThere ? folder : model, {
        ...(signal && { signal }),
        ...(onDownload && { onProgress: onDownload }),
        ...(onNotice && { onNotice }),
      }),
    );
  }

  async pairs(
    opened: OpenedModel,
    metric: Metric,
    told: PrepareOptions,
  ): Promise<{ pairs: readonly Pair[]; available: number }> {
    const { pairs: files, source, maxPairs, seed } = this.spec;
    const noised = typeof source === "object" && "noise" in source;
    const read = await Promise.all(
      files.map((name) =>
        this.#read("pairs", name, (path) =>
          readPairs(
            path,
            opened,
            { ...metric.needs, corrupted: !noised },
            told.onNotice && { onNotice: told.onNotice },
          ),
        ),
      ),
    );
    const all = read.flat();
    return { pairs: maxPairs === undefined ? all : samplePairs(all, maxPairs, seed), available: all.length };
  }

  /** The job but for its backend, where that is left open, and the hash of its model. */
  async job(
    opened: OpenedModel,
    metrics: readonly [Metric, ...Metric[]],
    pairs: readonly Pair[],
  ): Promise<Job> {
    const { spec } = this;
    const { model, direction, nodes, positions, method, batchSize, activationMemory, threads, engine } = spec;
    const { pairs: shardPairs, nodes: shardNodes } = spec.shards;
    const backend: Backend = engine === "auto" ? "wasm" : engine;
    return {
      atpkit: packageVersion(),
      backend,
      ...(threads !== undefined && { threads }),
      model: { name: model, hash: "" },
      pairs: pairs.map(portablePair),
      source: await this.#source(opened),
      metrics: metrics.map(portableMetric),
      direction,
      sites: await this.inField("nodes", () => parseSites(nodes, opened.config)),
      positions,
      batchSize,
      activationBudgetBytes: activationMemory ?? DEFAULT_ACTIVATION_BUDGET_BYTES,
      workload: {
        ...(method !== "exact" && { method }),
        byPair: spec.certify !== undefined,
        pairs: shardPairs,
        nodes: shardNodes,
      },
    };
  }

  async outputFolder(): Promise<string> {
    const folder = this.#path(this.spec.output);
    try {
      await checkFolder("output", folder);
      await makeFolder("output", folder);
      return folder;
    } catch (error) {
      throw error instanceof InputError ? this.#error(undefined, error.message) : error;
    }
  }

  /** Adds where they stand to the errors of a field. */
  async inField<Result>(field: string | undefined, body: () => Promise<Result> | Result): Promise<Result> {
    try {
      return await body();
    } catch (error) {
      throw error instanceof InputError ? this.#error(field, error.message) : error;
    }
  }

  inFieldNow<Result>(field: string, body: () => Result): Result {
    try {
      return body();
    } catch (error) {
      throw error instanceof InputError ? this.#error(field, error.message) : error;
    }
  }

  async #source(opened: OpenedModel): Promise<PortableSource> {
    const { source, direction } = this.spec;
    if (typeof source === "string") return { kind: source };
    if ("noise" in source) {
      const { scale, ...noise } = source.noise;
      return { kind: "noise", multiple: scale, ...noise };
    }
    const pairs = await this.#read("source.mean", source.mean, (path) =>
      readAveragedPairs(path, opened, direction),
    );
    return { kind: "mean", pairs: pairs.map(portablePair) };
  }

  async #read(field: string, name: string, read: (path: string) => Promise<Pair[]>): Promise<Pair[]> {
    const path = this.#path(name);
    const pairs = await this.inField(field, () => read(path));
    // As the spec names the file: where it lies on this machine is no part of the job.
    return pairs.map((pair) => ({ ...pair, origin: `${name}${pair.origin.slice(path.length)}` }));
  }

  /** Every file of pairs, with the field that names it. */
  #files(): (readonly [field: string, name: string])[] {
    const { pairs, source } = this.spec;
    const mean =
      typeof source === "object" && "mean" in source ? [["source.mean", source.mean] as const] : [];
    return [...pairs.map((name, p) => [`pairs[${p}]`, name] as const), ...mean];
  }

  #path(name: string): string {
    return resolve(this.folder, name);
  }

  #error(field: string | undefined, text: string): InputError {
    return new InputError(`prepareJob: ${this.specFile}: ${field === undefined ? "" : `${field}: `}${text}`);
  }
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
}

/** The job with what its activations may take, so that a worker can stay within the memory that the spec gives it. */
function withinMemory(job: Job, unpacked: UnpackedJob, { checkpoint }: OpenedModel, spec: JobSpec): Job {
  const { memory, activationMemory } = spec;
  if (memory === undefined) return job;
  const budgets = {
    memoryBytes: memory,
    ...(activationMemory !== undefined && { activationBytes: activationMemory }),
  };
  const plan = planOfWorker(job, unpacked, checkpoint, budgets, WORKER_PROCESS_BYTES, "memory");
  return { ...job, activationBudgetBytes: plan.activationBudgetBytes };
}

function checkMethodOf(
  { method, direction, certify }: JobSpec,
  { layers }: ModelConfig,
  { metrics, space, pairs }: UnpackedJob,
): void {
  if (method !== "exact") {
    checkGradient(metrics[0], direction);
    checkMethod(method, layers, metrics[0]);
  }
  if (certify) checkComplete(space, pairs);
}

function checkCertify(spec: JobSpec, { space, pairs }: UnpackedJob): void {
  const options = certifyOptionsOf(spec);
  if (!options) return;
  if (spec.method === "exact") {
    throw new InputError(
      "expected a method that estimates, got exact: it patches every node, so the list is certain",
    );
  }
  checkCertifyOptions(options, space.size);
  checkEstimatesFit(pairs.length, space.size);
}

/** Share of this machine's memory that estimates of each pair may take. */
const ESTIMATES_SHARE = 1 / 2;

/**
 * A certificate's samples are corrected by the estimates of their own pairs, in any order: the coordinator holds them all, and once
 * more those of the nodes that are sampled.
 * @throws InputError where that is too much for this machine
 */
function checkEstimatesFit(pairs: number, nodes: number): void {
  const bytes = 2 * Float32Array.BYTES_PER_ELEMENT * pairs * nodes;
  const most = ESTIMATES_SHARE * os.totalmem();
  if (bytes <= most) return;
  throw new InputError(
    `expected estimates of each pair that take at most half of this machine's memory, ${formatBytes(most)}, got ${formatBytes(bytes)} for ${pairs} pairs and ${nodes} nodes: use fewer pairs (maxPairs) or nodes, or do without a certificate`,
  );
}
