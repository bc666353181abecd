/**
 * @file The pipeline: estimate every node, rank, verify the best by exact patching, rank again, certify; and sweeps.
 */

import { DEFAULT_ACTIVATION_BUDGET_BYTES } from "./activation-budget.js";
import { estimateBy } from "./atpstar/estimate.js";
import type { Method } from "./atpstar/methods.js";
import { type Agreement, agreementOf } from "./bounds/agreement.js";
import type { Certificate } from "./bounds/certificate.js";
import type { CertifyOptions } from "./bounds/certification.js";
import { certify, checkCertifyOptions } from "./bounds/certify.js";
import { checkComplete } from "./bounds/observe.js";
import { InputError } from "./errors.js";
import { partialOfNodes } from "./exact/partial-runs.js";
import type { MetricOfRuns, PatchedRuns } from "./exact/patched-runs.js";
import { scoresOfRuns } from "./exact/scores-of-runs.js";
import { sweepNodes } from "./exact/sweep/sweep.js";
import { checkLimit, LIMITS } from "./limits.js";
import type { ModelConfig } from "./model/config.js";
import type { Model } from "./model/model.js";
import { type Site, sitesOf } from "./model/sites.js";
import { formatNodeId, type Node, parseNodeId } from "./nodes/node-id.js";
import { indexOfNode, makeNodeSpace, type NodeSpace, parseSites } from "./nodes/node-space.js";
import { type PositionMode, positionLabels, spanInPair } from "./nodes/positions.js";
import { type Ranking, rankNodes, type VerifiedNodes, withVerified } from "./nodes/ranking.js";
import type { Direction } from "./prompts/direction.js";
import { metricsByName } from "./prompts/metrics/by-names.js";
import type { Metric } from "./prompts/metrics/metric.js";
import type { Pair } from "./prompts/pair.js";
import type { RunControl } from "./run-control.js";
import type { PatchSource } from "./sources/source.js";

export const DEFAULT_METHOD: Method = "atp*";
export const DEFAULT_METRIC = "logit-diff";
/** Every head and every MLP, without the neurons, of which there are many more. */
export const DEFAULT_SITES = "q,k,v,z,mlpOut";
export const DEFAULT_TOP_K = 20;
/** Enough rows to keep either engine busy with prompts of a sentence. */
export const DEFAULT_BATCH_SIZE = 16;

export interface RunOptions extends RunControl {
  /**
   * A metric or its text: the name of one of the logits, or an internal one such as `L5.pattern[3]@end:subject`
   * (`parseMetric`); default `logit-diff`.
   */
  readonly metric?: string | Metric;
  /** noising (default): patch corrupted activations into the clean run; denoising: the reverse. */
  readonly direction?: Direction;
  /** Most prompts in one pass; default 16. */
  readonly batchSize?: number;
  /** What the activations of one pass may take, in bytes; default 1 GiB. Batches of patched runs follow it. */
  readonly activationBudgetBytes?: number;
  /** What GradDrop's gradient streams of one layer may take, in bytes; default 1 GiB. */
  readonly streamBudgetBytes?: number;
  /**
   * Where patched values come from: `zeroSource()`, `meanSource(…)`; by default the pair's other prompt. Or, with
   * `noiseSource(…)`, what is run in place of its corrupted prompt.
   */
  readonly source?: PatchSource;
}

export interface VerifyOptions extends RunOptions {
  /** Metrics that are read off the same runs beside `metric`, which ranks. */
  readonly alsoMetrics?: readonly (string | Metric)[];
  /**
   * Called where the signal stops the runs, before the call rejects, with the exact effects so far, so that they can be saved: of
   * some of the nodes, or on some of the pairs. Not called where there are none.
   */
  readonly onInterrupted?: (soFar: VerifiedRanking) => Promise<void> | void;
}

export interface NodeSelection {
  /** Sites, as a list or as text ("z,mlpOut", "neuron", "all"); default `q,k,v,z,mlpOut`. */
  readonly nodes?: string | readonly Site[];
  /** One node per position ("each", default), per role ("roles"), or for all positions together ("all"). */
  readonly positions?: PositionMode;
}

export interface EstimateSelection extends NodeSelection {
  /** `atp*` (default), `atp`, `atp+qkfix` or `atp+graddrop`. */
  readonly method?: Method;
}

/** A ranking by exact effects alone. */
export interface VerifiedRanking extends Ranking {
  readonly verified: VerifiedNodes;
  /** Every metric of all runs, the ranking one first; patched values lie in [pairs, `verified.nodes`]. */
  readonly metrics: readonly MetricOfRuns[];
}

export interface LocalizeOptions
  extends RunOptions,
    EstimateSelection,
    Omit<CertifyOptions, "topK" | "confidence"> {
  /** How many of the best nodes to verify by exact patching; default 20. */
  readonly topK?: number;
  /**
   * Called where the signal stops the exact runs, before the call rejects, with all estimates and the exact effects so far. Those of
   * the last runs may be over fewer pairs: each row says over how many. Not called where there are none.
   */
  readonly onInterrupted?: (soFar: Ranking) => Promise<void> | void;
  /** Called with the estimates before verification starts, so that they can be saved first. */
  readonly onEstimates?: (ranking: Ranking) => Promise<void> | void;
  /**
   * Such as 0.99: verifies and samples until the top k are certain, and says so in a certificate. The options below are for
   * that alone.
   */
  readonly confidence?: number;
}

/** A ranking, and what is certain of it where a confidence was asked for. */
export interface Localization extends Ranking {
  /** How good the estimates of the verified nodes were, and which of the others could belong to the top k; absent where all are verified. */
  readonly agreement?: Agreement;
  readonly certificate?: Certificate;
}

/**
 * Estimates the effect of every selected node by a gradient method, and ranks them.
 * @throws InputError for an unknown metric or site, a metric without gradient, GradDrop with no layers to drop, or pairs
 *   that do not fit
 * @throws RunError if a run's metric is not finite
 */
export async function estimate(
  model: Model,
  pairs: readonly Pair[],
  options: RunOptions & EstimateSelection = {},
): Promise<Ranking> {
  const { method = DEFAULT_METHOD } = options;
  const space = spaceOfSelection(model.config, pairs, options);
  const { scores, baseMetric, sourceMetric, forwardEquivalents } = await estimateBy(method, model, pairs, {
    ...resolve(options),
    ...(options.streamBudgetBytes !== undefined && { streamBudgetBytes: options.streamBudgetBytes }),
    space,
  });
  return {
    space,
    pairs,
    baseMetric,
    sourceMetric,
    estimates: scores,
    order: rankNodes(space, scores, undefined),
    forwardEquivalents: { estimate: forwardEquivalents, verify: 0 },
  };
}

/**
 * Exact effects of every selected node, ranked.
 * @throws InputError for an unknown metric or site, a metric that is there twice, or pairs that do not fit
 * @throws RunError if a metric of a run is not finite
 */
export async function sweep(
  model: Model,
  pairs: readonly Pair[],
  options: VerifyOptions & NodeSelection = {},
): Promise<VerifiedRanking> {
  const space = spaceOfSelection(model.config, pairs, options);
  const all = Uint32Array.from({ length: space.size }, (_, node) => node);
  return await verifiedRanking(model, pairs, space, all, options);
}

/**
 * Exact effects of the named nodes, ranked.
 * @param ids node ids; positions, roles and `*` may be mixed
 * @throws InputError for an unknown metric or one that is there twice; for an id that is malformed or that the model or the pairs do not have
 */
export async function verify(
  model: Model,
  pairs: readonly Pair[],
  ids: readonly string[],
  options: VerifyOptions = {},
): Promise<VerifiedRanking> {
  if (ids.length === 0) throw new InputError("verify: expected at least one node id, got none");
  const nodes = ids.map(parseNodeId);
  const space = spaceOfNodes(model.config, pairs, nodes);
  const flat = Uint32Array.from(new Set(nodes.map((node) => indexOfNode(space, node))));
  return await verifiedRanking(model, pairs, space, flat, options);
}

/**
 * The components that carry a behaviour: estimates of every selected node, and exact effects of the best `topK`; with a
 * confidence also of as many more as it takes to be certain of these.
 * @throws as `estimate` and `certify` do
 */
export async function localize(
  model: Model,
  pairs: readonly Pair[],
  options: LocalizeOptions = {},
): Promise<Localization> {
  const { topK = DEFAULT_TOP_K, confidence, onEstimates, onInterrupted } = options;
  if (!Number.isInteger(topK) || topK < 1) {
    throw new InputError(`localize: expected topK to be a positive integer, got ${topK}`);
  }
  checkLimit("localize", "topK", topK, LIMITS.nodes);
  if (confidence !== undefined) checkCertifiable(model, pairs, { ...options, topK, confidence });
  const estimated = await estimate(model, pairs, options);
  await onEstimates?.(estimated);
  if (confidence !== undefined) {
    const certified = await certify(model, pairs, estimated, {
      ...options,
      ...resolve(options),
      topK,
      confidence,
    });
    return { ...withAgreement(certified.ranking, topK), certificate: certified.certificate };
  }
  const { space } = estimated;
  const candidates = estimated.order.slice(0, topK);
  const runs = await verifyNodes(model, pairs, space, candidates, options, async (partial) => {
    await onInterrupted?.(withVerified(estimated, partial));
  });
  return withAgreement(withVerified(estimated, runs), topK);
}

function withAgreement(ranking: Ranking, topK: number): Localization {
  const agreement = agreementOf(ranking, topK);
  return { ...ranking, ...(agreement && { agreement }) };
}

/**
 * Checks what a certificate needs before anything is run.
 * @throws InputError
 */
export function checkCertifiable(
  { config }: Pick<Model, "config">,
  pairs: readonly Pair[],
  options: NodeSelection & CertifyOptions,
): void {
  const space = spaceOfSelection(config, pairs, options);
  checkCertifyOptions(options, space.size);
  checkComplete(space, pairs);
}

/** Options with their defaults, and the metrics behind their names: that which ranks first. */
export function resolveVerify({
  metric = DEFAULT_METRIC,
  alsoMetrics = [],
  ...options
}: Omit<VerifyOptions, "onInterrupted">) {
  const { metric: _, ...control } = resolve({ metric, ...options });
  return { ...control, metrics: metricsByName([metric, ...alsoMetrics]) };
}

function resolve({
  metric = DEFAULT_METRIC,
  direction = "noising",
  batchSize = DEFAULT_BATCH_SIZE,
  activationBudgetBytes = DEFAULT_ACTIVATION_BUDGET_BYTES,
  source,
  onProgress,
  signal,
}: RunOptions) {
  return {
    metric: metricsByName([metric])[0],
    direction,
    batchSize,
    activationBudgetBytes,
    ...(source && { source }),
    ...(onProgress && { onProgress }),
    ...(signal && { signal }),
  };
}

/**
 * The space of a selection.
 * @throws InputError for a site that the model does not have, or roles where no pair has any
 */
export function spaceOfSelection(
  config: ModelConfig,
  pairs: readonly Pair[],
  { nodes = DEFAULT_SITES, positions = "each" }: NodeSelection,
): NodeSpace {
  const sites = typeof nodes === "string" ? parseSites(nodes, config) : nodes;
  return makeNodeSpace(config, sites, positionLabels(positions, pairs));
}

/**
 * The smallest space of nodes that has the given ones.
 * @throws InputError for a position or role that no pair has, or a site that the model does not have
 */
export function spaceOfNodes(config: ModelConfig, pairs: readonly Pair[], nodes: readonly Node[]): NodeSpace {
  for (const node of nodes) {
    if (pairs.some((pair) => spanInPair(node.position, pair))) continue;
    throw new InputError(
      `spaceOfNodes: expected a position or role that some pair has, got ${node.position} in ${formatNodeId(node)}`,
    );
  }
  const sites = sitesOf(config).filter((site) => nodes.some((node) => node.site === site));
  return makeNodeSpace(config, sites, [...new Set(nodes.map((node) => node.position))]);
}

interface VerifiedRuns extends PatchedRuns {
  readonly verified: VerifiedNodes;
}

/** @param onPartial told of what was verified when the signal stops it: on some pairs, or some of the nodes */
async function verifyNodes(
  model: Model,
  pairs: readonly Pair[],
  space: NodeSpace,
  nodes: Uint32Array,
  options: Omit<VerifyOptions, "onInterrupted">,
  onPartial: (runs: VerifiedRuns & { readonly pairs: readonly Pair[] }) => Promise<void>,
): Promise<VerifiedRuns> {
  const runs = await sweepNodes(model, pairs, space, nodes, {
    ...resolveVerify(options),
    async onStopped(soFar) {
      const partial = partialOfNodes(soFar, pairs, space, nodes);
      if (partial) await onPartial(partial);
    },
  });
  const scores = scoresOfRuns(runs.metrics[0], nodes.length);
  return { verified: { nodes, scores }, ...runs };
}

async function verifiedRanking(
  model: Model,
  pairs: readonly Pair[],
  space: NodeSpace,
  nodes: Uint32Array,
  options: VerifyOptions,
): Promise<VerifiedRanking> {
  const rankingOf = (
    { verified, metrics, forwardEquivalents }: VerifiedRuns,
    ofPairs: readonly Pair[],
  ): VerifiedRanking => ({
    space,
    pairs: ofPairs,
    baseMetric: metrics[0].base,
    sourceMetric: metrics[0].source,
    verified,
    metrics,
    order: rankNodes(space, undefined, verified),
    forwardEquivalents: { estimate: 0, verify: forwardEquivalents },
  });
  const runs = await verifyNodes(model, pairs, space, nodes, options, async (partial) => {
    await options.onInterrupted?.(rankingOf(partial, partial.pairs));
  });
  return rankingOf(runs, pairs);
}
