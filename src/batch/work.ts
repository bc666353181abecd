/**
 * @file What computes shards: an engine, a model and a source, made ready once for a job. A shard's numbers depend on the job and the
 * task alone, not on what was computed before it.
 */

import { estimateBy } from "../atpstar/estimate.js";
import { checkDesign, type SubsetDesign } from "../bounds/design.js";
import { observeSamples } from "../bounds/observe.js";
import { type LoadOptions, type OpenedModel, openModel } from "../checkpoint/load-model.js";
import { checkUnchanged, type ModelFiles } from "../checkpoint/model-hash.js";
import { type Engine, startEngine } from "../engine/start-engine.js";
import { InputError } from "../errors.js";
import { sweepNodes } from "../exact/sweep/sweep.js";
import type { Model } from "../model/model.js";
import { meanSource } from "../sources/mean.js";
import { noiseSource } from "../sources/noise.js";
import type { PatchSource } from "../sources/source.js";
import { zeroSource } from "../sources/zero.js";
import { packageVersion } from "../version.js";
import { type JobHashes, jobHashes } from "./identity.js";
import type { Job } from "./job.js";
import { planOfWorker } from "./job-memory.js";
import {
  estimateResult,
  type ShardFacts,
  type ShardResult,
  sampleResult,
  verifyResult,
} from "./shard-result.js";
import type { EstimateTask, Range, SampleTask, ShardTask, VerifyTask } from "./shard-task.js";
import { type UnpackedJob, unpackJob } from "./unpack-job.js";

export interface JobWorkOptions {
  /** With config.json and safetensors, or a GGUF file, on this machine. Whether it is the job's model is for the caller to check, by its hash. */
  readonly modelFolder: string;
  /** Its files as they were when the caller hashed them: a streamed model reads them for as long as it is open. */
  readonly modelFiles: ModelFiles;
  /** What this process may take in all, in bytes: layers that do not fit are read when they are needed. Default: all are in memory. */
  readonly memoryBudget?: number;
  readonly signal?: AbortSignal;
}

export interface JobWork {
  readonly engine: Engine;
  /**
   * Computes one shard; one at a time.
   * @throws InputError for a task that does not fit the job; RunError if a metric is not finite; the signal's reason
   * @throws ModelChanged, an InputError, where the model is not the one any more that was hashed
   */
  compute(task: ShardTask, options?: { readonly signal?: AbortSignal }): Promise<ShardResult>;
  /** Frees model and source. */
  dispose(): void;
}

/**
 * Starts the job's engine and loads its model.
 *
 * How many threads the engine's library has is decided by the environment before it is started: see `job.threads`.
 * @param job of the shape of a job; see `parseJob`
 * @throws InputError for a job of another version, an engine that cannot be started or is not the running one, a model that cannot be
 *   loaded, does not fit the job or is not the one any more that was hashed (ModelChanged), or a memory budget that cannot be met
 * @throws the signal's reason
 */
export async function openJobWork(
  job: Job,
  { modelFolder, modelFiles, memoryBudget, signal }: JobWorkOptions,
): Promise<JobWork> {
  const version = packageVersion();
  if (job.atpkit !== version) {
    throw new InputError(
      `openJobWork: expected a job of atpkit ${version}, which this is, got one of ${job.atpkit}`,
    );
  }
  const engine = await startEngine({ prefer: job.backend });
  signal?.throwIfAborted();
  const checkModel = () => checkUnchanged(modelFolder, modelFiles);
  await checkModel();
  const opened = await openModel(modelFolder);
  try {
    const unpacked = unpackJob(job, opened.config);
    const model = await opened.load({
      ...(memoryBudget !== undefined && streamingWithin(job, unpacked, opened, memoryBudget)),
      onProgress: () => signal?.throwIfAborted(),
    });
    try {
      await checkModel();
      const source = await sourceOf(job, unpacked, model, signal);
      return new Work(job, unpacked, engine, model, source, checkModel);
    } catch (error) {
      model.dispose();
      throw error;
    }
  } finally {
    await opened.close();
  }
}

/** How many layers stay in memory; nothing where all of them do. */
function streamingWithin(
  job: Job,
  unpacked: UnpackedJob,
  { checkpoint }: OpenedModel,
  memoryBytes: number,
): Pick<LoadOptions, "streaming"> {
  const budgets = { memoryBytes, activationBytes: job.activationBudgetBytes };
  const held = process.memoryUsage.rss();
  const plan = planOfWorker(job, unpacked, checkpoint, budgets, held, "openJobWork: memoryBudget");
  return plan.inMemory ? {} : { streaming: { residentLayers: plan.residentLayers } };
}

async function sourceOf(
  { source, direction, sites, batchSize }: Job,
  { pairs, averaged }: UnpackedJob,
  model: Model,
  signal: AbortSignal | undefined,
): Promise<PatchSource | undefined> {
  switch (source.kind) {
    case "prompt":
      return undefined;
    case "zero":
      return zeroSource();
    case "mean": {
      // All of the job's pairs are studied, whichever a shard has: means of all their lengths are there.
      const options = { direction, sites, batchSize, studied: pairs, ...(signal && { signal }) };
      return await meanSource(model, averaged?.pairs ?? pairs, options);
    }
    case "noise": {
      const { at, multiple, draws, seed } = source;
      return await noiseSource(model, { at, multiple, draws, seed });
    }
  }
}

class Work implements JobWork {
  readonly #hashes: JobHashes;

  constructor(
    readonly job: Job,
    readonly unpacked: UnpackedJob,
    readonly engine: Engine,
    readonly model: Model,
    readonly source: PatchSource | undefined,
    readonly checkModel: () => Promise<void>,
  ) {
    this.#hashes = jobHashes(job);
  }

  async compute(task: ShardTask, { signal }: { readonly signal?: AbortSignal } = {}): Promise<ShardResult> {
    await this.checkModel();
    const result = await this.#compute(task, signal);
    // A streamed model has read its files meanwhile.
    await this.checkModel();
    return result;
  }

  dispose(): void {
    this.source?.dispose();
    this.model.dispose();
  }

  async #compute(task: ShardTask, signal: AbortSignal | undefined): Promise<ShardResult> {
    const began = performance.now();
    const facts = (): ShardFacts => ({
      job: this.#hashes[task.kind],
      seconds: (performance.now() - began) / 1000,
      device: this.engine.device,
    });
    switch (task.kind) {
      case "estimate":
        return estimateResult(task, await this.#estimate(task, signal), facts());
      case "verify":
        return verifyResult(task, await this.#verify(task, signal), facts());
      case "sample":
        return sampleResult(task, await this.#sample(task, signal), facts());
    }
  }

  async #estimate({ pairs, method, byPair }: EstimateTask, signal: AbortSignal | undefined) {
    const { space, metrics } = this.unpacked;
    const { activationBudgetBytes: streamBudgetBytes } = this.job;
    const options = { ...this.#control(signal), metric: metrics[0], space, byPair, streamBudgetBytes };
    return await estimateBy(method, this.model, this.#pairsOf(pairs), options);
  }

  async #verify({ pairs, nodes }: VerifyTask, signal: AbortSignal | undefined) {
    const { space, metrics } = this.unpacked;
    this.#checkNodes(nodes);
    if (nodes.length === 0) throw new InputError("compute: expected at least one node to verify, got none");
    const options = { ...this.#control(signal), metrics };
    return await sweepNodes(this.model, this.#pairsOf(pairs), space, Uint32Array.from(nodes), options);
  }

  async #sample({ excluded, probability, seed, samples }: SampleTask, signal: AbortSignal | undefined) {
    const { pairs, space, metrics } = this.unpacked;
    this.#checkNodes(excluded);
    const out = new Set(excluded);
    const all = Uint32Array.from({ length: space.size }, (_, node) => node);
    const design: SubsetDesign = { nodes: all.filter((node) => !out.has(node)), probability, seed };
    checkDesign(design);
    if (!(samples.first >= 0 && samples.end > samples.first)) {
      throw new InputError(
        `compute: expected at least one sample, got ${samples.first} to ${samples.end - 1}`,
      );
    }
    const options = { ...this.#control(signal), metric: metrics[0] };
    return await observeSamples(this.model, pairs, space, design, samples, options);
  }

  #control(signal: AbortSignal | undefined) {
    const { direction, batchSize, activationBudgetBytes } = this.job;
    const { source } = this;
    return {
      direction,
      batchSize,
      activationBudgetBytes,
      ...(source && { source }),
      ...(signal && { signal }),
    };
  }

  #pairsOf({ first, end }: Range) {
    const { pairs } = this.unpacked;
    if (first >= 0 && end > first && end <= pairs.length) return pairs.slice(first, end);
    throw new InputError(
      `compute: expected pairs among 0 to ${pairs.length - 1}, those of the job, got ${first} to ${end - 1}`,
    );
  }

  #checkNodes(nodes: readonly number[]): void {
    const { size } = this.unpacked.space;
    const wrong = nodes.find((node) => !(Number.isInteger(node) && node >= 0 && node < size));
    if (wrong !== undefined) {
      throw new InputError(`compute: expected nodes from 0 to ${size - 1}, those of the job, got ${wrong}`);
    }
    if (new Set(nodes).size < nodes.length)
      throw new InputError("compute: expected each node once, got one twice");
  }
}
