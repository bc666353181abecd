/** @file What a job leaves in its output folder, beside its shards: each file complete or not there. */

import { basename, dirname, join, relative, resolve } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { writeAtomically } from "../atomic-file.js";
import { type Agreement, AgreementOfRows } from "../bounds/agreement.js";
import type { Certificate } from "../bounds/certificate.js";
import { canonicalJson, hashOf } from "../canonical-json.js";
import { InputError } from "../errors.js";
import type { MetricSums } from "../exact/metric-sums.js";
import { meanOf } from "../exact/pair-statistics.js";
import type { VerifiedRanking } from "../localize.js";
import { type RankedNode, type Ranking, rankedNodes } from "../nodes/ranking.js";
import type { AgreementSummary } from "../report/agreement-text.js";
import { writeCertificate } from "../report/certificate-file.js";
import { nodeMetricSums, writeMetricsCsv } from "../report/metrics-csv.js";
import { summarizePrompts } from "../report/prompt-summary.js";
import { writeRankedCsv } from "../report/ranked-csv.js";
import { type BegunSummary, type RunSummary, writeSummary } from "../report/summary.js";
import { type AskedSource, type Question, questionOf, runId } from "../results/question.js";
import { RESULT_FILES } from "../results/result-files.js";
import { ResultsFolder } from "../results/results-folder.js";
import { describeNoise, noisedPositions } from "../sources/noise.js";
import { packageVersion } from "../version.js";
import type { Effort, KindEffort } from "./coordinator-shards.js";
import type { PortableSource } from "./job.js";
import { readManifest, writeManifest } from "./manifest.js";
import type { PreparedJob } from "./prepare-job.js";
import { writeScoresParquet } from "./score-parquet.js";
import { certifyOptionsOf } from "./spec.js";
import type { ShardFailure } from "./status.js";

/** Rows of a list that are kept for whoever asked; and every verified one, where the others are estimates. */
const KEPT_ROWS = 20;

/** The results of a job, and how far it is. */
const JOB_RESULTS = ["ranked", "scores", "certificate", "metrics", "summary", "manifest"] as const;
const STATUS_FILE = "status.json";

/** Paths by name. */
export type JobFiles = Readonly<Record<(typeof JOB_RESULTS)[number] | "status", string>>;

export function jobFiles(outputFolder: string): JobFiles {
  const path = (name: (typeof JOB_RESULTS)[number]) => join(outputFolder, RESULT_FILES[name].name);
  return {
    ranked: path("ranked"),
    scores: path("scores"),
    certificate: path("certificate"),
    metrics: path("metrics"),
    summary: path("summary"),
    manifest: path("manifest"),
    status: join(outputFolder, STATUS_FILE),
  };
}

/**
 * The job as workers of this machine read it. Named by all that it says, names and plans included: a worker that an earlier job of
 * the folder starts anew finds that job.
 */
export function portableJobFile({ outputFolder, job }: Pick<PreparedJob, "outputFolder" | "job">): string {
  return join(outputFolder, `portable-job-${hashOf(job)}.json`);
}

export class JobOutputs {
  readonly files: JobFiles;
  readonly results: ResultsFolder;
  /** The name of the job's run, and what it asks. */
  readonly run: string;
  readonly #question: Question;
  readonly #begun = new Date();
  #finished: boolean | undefined;

  /** @throws InputError for a spec that has the name and folder of an output */
  constructor(
    readonly job: PreparedJob,
    readonly signal: AbortSignal | undefined,
  ) {
    this.files = jobFiles(job.outputFolder);
    this.results = ResultsFolder.at(job.outputFolder, "output");
    this.#question = questionOfJob(job);
    this.run = runId(this.#question, settingsOf(job));
    const taken = Object.values(this.files).find((file) => file === resolve(job.specFile));
    if (taken) {
      throw new InputError(
        `${job.specFile}: output: expected another folder than that of the spec, where ${basename(taken)} is one of the job's own files`,
      );
    }
  }

  /** The job for workers of this machine. */
  async saveJob(): Promise<void> {
    await writeAtomically(portableJobFile(this.job), (handle) =>
      handle.writeFile(JSON.stringify(this.job.job)),
    );
  }

  /**
   * Writes the list as it is on the way, unless the folder has the end of this very job already: a run that only finds its shards
   * again leaves that alone until it comes to its own end.
   */
  async saveInterimList(ranking: Ranking, effort: Effort): Promise<void> {
    this.#finished ??= await this.#wasFinished();
    if (!this.#finished) await this.saveList(ranking, effort);
  }

  /**
   * Writes the list, and a summary that says that the job goes on. What an earlier job has left beside it and does not belong to it
   * goes.
   * @returns its summary, and the rows for whoever asked
   */
  async saveList(
    ranking: Ranking,
    effort: Effort,
    metrics: readonly MetricSums[] = [],
  ): Promise<{ readonly summary: RunSummary; readonly rows: readonly RankedNode[] }> {
    const { summary: summaryFile, ranked } = this.files;
    const begun = this.#about(ranking, effort, metrics);
    await this.results.beginList(this.run, (path) => writeSummary(path, begun));
    const { tokenizer } = this.job;
    const rows: RankedNode[] = [];
    const nodes = { ranked: 0, verified: 0 };
    const agreement = new AgreementOfRows(this.job.spec.verify.topK);
    function* counted(): Generator<RankedNode> {
      for (const row of rankedNodes(ranking, { ...(tokenizer && { tokenizer }) })) {
        nodes.ranked++;
        agreement.add(row);
        if (row.verified) nodes.verified++;
        if ((row.verified && ranking.estimates) || row.rank <= KEPT_ROWS) rows.push(row);
        yield row;
      }
    }
    await writeRankedCsv(ranked, counted(), this.#control);
    const settling = withField(agreement.result(), shown(this.job.specFile));
    const summary = {
      ...begun,
      nodes,
      ...(settling && { agreement: settling }),
    };
    await writeSummary(summaryFile, summary);
    return { summary, rows };
  }

  /** Says that the list, and all that belongs to it, is there. */
  async finishList(summary: RunSummary): Promise<RunSummary> {
    const done = { ...summary, state: "done" } as const;
    await writeSummary(this.files.summary, done);
    return done;
  }

  async saveScores(ranking: Ranking): Promise<void> {
    await writeScoresParquet(this.files.scores, ranking, this.#control);
  }

  /** @param ranking its verified nodes in the order of the metrics' sums */
  async saveMetrics(
    ranking: Omit<VerifiedRanking, "metrics">,
    metrics: readonly MetricSums[],
  ): Promise<void> {
    const known = new Set(ranking.verified.nodes);
    const order = ranking.order.filter((node) => known.has(node));
    await writeMetricsCsv(this.files.metrics, nodeMetricSums({ ...ranking, order }, metrics), this.#control);
  }

  /** Nothing in it tells when or where it was made: the same job gives the same bytes. */
  async saveCertificate(certificate: Certificate, ranking: Ranking): Promise<void> {
    const { spec, config, job } = this.job;
    const about = {
      atpkit: packageVersion(),
      run: this.run,
      command: "batch run",
      question: this.#question,
      model: { ...job.model, family: config.family, layers: config.layers },
      pairs: { files: spec.pairs, ...this.#pairs },
      ...this.#measured(ranking),
      backend: job.backend,
    };
    await writeCertificate(this.files.certificate, certificate, about);
  }

  /** @param failures of shards that were given up */
  async saveManifest({ times, devices }: Effort, failures: readonly ShardFailure[]): Promise<void> {
    const { spec, job, jobHash, hashes } = this.job;
    const perStage = (of: keyof KindEffort) => ({
      estimate: times.estimate[of],
      verify: times.verify[of],
      certify: times.sample[of],
    });
    const certify = certifyOptionsOf(spec);
    await writeManifest(this.files.manifest, {
      begun: this.#begun.toISOString(),
      ended: new Date().toISOString(),
      versions: { atpkit: packageVersion(), node: process.versions.node, tfjs: tf.version_core },
      run: this.run,
      spec,
      job: jobHash,
      hashes,
      engine: { backend: job.backend, devices: [...devices] },
      seeds: {
        pairs: spec.seed,
        ...(certify && { certify: certify.seed }),
        ...(job.source.kind === "noise" && { noise: job.source.seed }),
      },
      shards: perStage("shards"),
      seconds: perStage("seconds"),
      forwardEquivalents: perStage("forwardEquivalents"),
      missing: failures.map(({ shard, what, tries, error }) => ({
        name: shard,
        tries,
        error: `${what}: ${error}`,
      })),
    });
  }

  /** Whether the manifest says that all of this job, with this spec, was done. */
  async #wasFinished(): Promise<boolean> {
    try {
      const { job, spec, hashes, missing } = await readManifest(this.files.manifest);
      const mine = { job: this.job.jobHash, spec: this.job.spec, hashes: this.job.hashes };
      return missing.length === 0 && canonicalJson({ job, spec, hashes }) === canonicalJson(mine);
    } catch (error) {
      if (error instanceof InputError) return false;
      throw error;
    }
  }

  get #control() {
    return { run: this.run, ...(this.signal && { signal: this.signal }) };
  }

  get #pairs() {
    return { available: this.job.available, used: this.job.pairs.length };
  }

  #about(ranking: Ranking, { times, devices }: Effort, metrics: readonly MetricSums[]): BegunSummary {
    const { spec, config, job, specFile, outputFolder } = this.job;
    const model = fromHere(specFile, spec.model, this.job.modelFolder);
    const files = spec.pairs.map((file) => shown(resolve(dirname(specFile), file)));
    const { source } = job;
    const prompts = summarizePrompts(
      this.job.pairs,
      this.job.tokenizer,
      source.kind === "noise" ? (pair) => noisedPositions(pair, source.at) : undefined,
    );
    const also = metrics
      .slice(1)
      .map(({ name, base, source }) => ({ name, base: meanOf(base), source: meanOf(source) }));
    return {
      atpkit: packageVersion(),
      run: this.run,
      state: "running",
      question: this.#question,
      command: "batch run",
      date: this.#begun.toISOString(),
      options: { ...spec, model, pairs: files, out: shown(outputFolder), job: shown(specFile) },
      model: { name: model, family: config.family, layers: config.layers },
      pairs: { files, ...this.#pairs },
      ...(prompts && { prompts }),
      ...this.#measured(ranking),
      ...(also.length > 0 && { alsoMetrics: also }),
      engine: { backend: job.backend, device: devices.join("; "), reason: "named by the job" },
      forwardEquivalents: ranking.forwardEquivalents,
      seconds: {
        estimate: times.estimate.seconds,
        verify: times.verify.seconds + times.sample.seconds,
      },
    };
  }

  #measured({ baseMetric, sourceMetric }: Ranking) {
    const { spec, metrics, averaged } = this.job;
    const source = sourceText(this.job);
    return {
      metric: { name: metrics[0].name, base: meanOf(baseMetric), source: meanOf(sourceMetric) },
      direction: spec.direction,
      ...(source !== "prompt" && { source }),
      ...(averaged && { averaged: averaged.lengths }),
      ...(spec.method !== "exact" && { method: spec.method }),
    };
  }
}

/** With the field of the job's file that has all verified that could belong to the first rows. */
function withField(agreement: Agreement | undefined, specFile: string): AgreementSummary | undefined {
  if (agreement?.lastRank === undefined) return agreement;
  return {
    ...agreement,
    settle: {
      verify: `"verify": { "topK": ${agreement.lastRank} } in ${specFile}`,
      certify: '"certify": { "confidence": 0.99 }',
    },
  };
}

function questionOfJob({ job, pairs, metrics, averaged }: PreparedJob): Question {
  return questionOf({
    modelHash: job.model.hash,
    pairs,
    metric: metrics[0],
    direction: job.direction,
    source: askedSource(job.source, averaged),
  });
}

function askedSource(source: PortableSource, averaged: PreparedJob["averaged"]): AskedSource {
  if (source.kind === "noise") return { kind: "noise", noise: source };
  if (averaged) return { kind: "mean", pairs: averaged.pairs };
  return { kind: source.kind === "zero" ? "zero" : "prompt" };
}

/** What decides the results beside the question; how the work is divided does not. */
function settingsOf({ spec, job }: PreparedJob): object {
  const { method, verify, nodes, positions, alsoMetrics } = spec;
  return {
    atpkit: packageVersion(),
    command: "batch run",
    backend: job.backend,
    method,
    verify,
    nodes,
    positions,
    alsoMetrics,
    certify: certifyOptionsOf(spec),
  };
}

/** A path as one would write it in the folder where this was started, so that other commands find the same thing. */
function shown(path: string): string {
  const near = relative("", path) || ".";
  return near.startsWith("..") ? path : near;
}

/** A model's name: a folder or file as it is called from here, or a hub id. */
function fromHere(specFile: string, model: string, modelFolder: string): string {
  return resolve(dirname(specFile), model) === modelFolder ? shown(modelFolder) : model;
}

/** What is patched in, as the summaries of other commands have it. */
function sourceText({ spec: { source }, specFile }: PreparedJob): string {
  if (typeof source === "string") return source;
  if ("mean" in source) return shown(resolve(dirname(specFile), source.mean));
  const { scale, ...noise } = source.noise;
  return describeNoise({ ...noise, multiple: scale });
}
