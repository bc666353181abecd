/** @file The stages of a job: estimate every node, rank, verify the best or all, certify; after each one its outputs. */

import type { Method } from "../atpstar/methods.js";
import type { Certificate } from "../bounds/certificate.js";
import type { CertifyOptions } from "../bounds/certification.js";
import { certifyWith } from "../bounds/certify.js";
import { type RankedNode, type Ranking, rankNodes, type VerifiedNodes } from "../nodes/ranking.js";
import type { RunSummary } from "../report/summary.js";
import { JobMeasurements } from "./coordinator-measurements.js";
import type { ShardSource } from "./coordinator-shards.js";
import { estimateTasks } from "./coordinator-splitting.js";
import { mergeEstimates } from "./merge-shards.js";
import type { JobFiles, JobOutputs } from "./outputs.js";
import type { PreparedJob } from "./prepare-job.js";
import { certifyOptionsOf } from "./spec.js";
import type { StatusFile } from "./status.js";

export interface JobOutcome {
  readonly summary: RunSummary;
  /** The best rows; and every verified one, where only some are. */
  readonly rows: readonly RankedNode[];
  readonly certificate?: Certificate;
  /** A certificate and metrics are there where they were asked for. */
  readonly files: Omit<JobFiles, "metrics" | "certificate"> & {
    readonly metrics?: string;
    readonly certificate?: string;
  };
}

interface Estimated extends Ranking {
  /** Signed estimates of each pair. */
  readonly byPair?: readonly Float32Array[];
}

/** A list whose best nodes, or all, are verified. */
type VerifiedList = Ranking & { readonly verified: VerifiedNodes };

export class JobStages {
  constructor(
    readonly job: PreparedJob,
    readonly shards: ShardSource,
    readonly outputs: JobOutputs,
    readonly status: StatusFile,
  ) {}

  async run(): Promise<JobOutcome> {
    const { spec } = this.job;
    const estimated = spec.method === "exact" ? undefined : await this.#estimate(spec.method);
    if (estimated) await this.outputs.saveInterimList(estimated, this.shards.effort);
    const measurements = new JobMeasurements(this.job, spec.shards, this.shards, estimated?.byPair);
    const { ranking, certificate } = await this.#verify(estimated, measurements);

    const { metrics: metricsFile, certificate: certificateFile, ...files } = this.outputs.files;
    const metrics =
      spec.alsoMetrics.length > 0 ? measurements.metricsOfVerified(ranking.verified.nodes) : undefined;
    const saved = await this.outputs.saveList(ranking, this.shards.effort, metrics);
    await this.outputs.saveScores(ranking);
    if (metrics) await this.outputs.saveMetrics(ranking, metrics);
    if (certificate) await this.outputs.saveCertificate(certificate, ranking);
    return {
      ...saved,
      summary: await this.outputs.finishList(saved.summary),
      ...(certificate && { certificate }),
      files: {
        ...files,
        ...(metrics && { metrics: metricsFile }),
        ...(certificate && { certificate: certificateFile }),
      },
    };
  }

  async #estimate(method: Method): Promise<Estimated> {
    const { space, pairs, spec } = this.job;
    const how = { method, byPair: spec.certify !== undefined };
    const named = await this.shards.make("estimate", estimateTasks(pairs.length, spec.shards, how));
    const { scores, forwardEquivalents, ...metric } = await mergeEstimates(
      this.shards.results("estimate", named),
      pairs.length,
    );
    this.status.begin("rank", 0, 0);
    return {
      ...metric,
      space,
      pairs,
      estimates: scores,
      order: rankNodes(space, scores, undefined),
      forwardEquivalents: { estimate: forwardEquivalents, verify: 0 },
    };
  }

  async #verify(
    estimated: Estimated | undefined,
    measurements: JobMeasurements,
  ): Promise<{ readonly ranking: VerifiedList; readonly certificate?: Certificate }> {
    const { space, pairs, spec } = this.job;
    const certify = certifyOptionsOf(spec);
    if (estimated && certify) return await this.#certify(estimated, certify, measurements);
    const all = Uint32Array.from({ length: space.size }, (_, node) => node);
    const nodes = estimated ? estimated.order.slice(0, spec.verify.topK) : all;
    const { verified, forwardEquivalents, unpatched } = await measurements.verify(nodes);
    const order = rankNodes(space, estimated?.estimates, verified);
    if (!unpatched) throw new Error("JobStages: expected at least one node to verify, got none");
    const ranking = {
      baseMetric: unpatched.base,
      sourceMetric: unpatched.source,
      space,
      pairs,
      ...estimated,
      verified,
      order,
      forwardEquivalents: {
        estimate: estimated?.forwardEquivalents.estimate ?? 0,
        verify: forwardEquivalents,
      },
    };
    return { ranking };
  }

  async #certify(
    estimated: Estimated,
    options: CertifyOptions,
    measurements: JobMeasurements,
  ): Promise<{ readonly ranking: VerifiedList; readonly certificate: Certificate }> {
    const { config, job } = this.job;
    const { ranking, certificate } = await certifyWith(config, estimated, measurements, {
      ...options,
      ...(job.source.kind === "noise" && { source: { draws: job.source.draws } }),
      onVerified: (soFar) => this.outputs.saveInterimList(soFar, this.shards.effort),
    });
    const { verified } = ranking;
    if (!verified) throw new Error("certify: expected verified nodes, got none");
    return { ranking: { ...ranking, verified }, certificate };
  }
}
