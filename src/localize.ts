/**
 * @file The pipeline: estimate every node, rank, verify the best by exact patching, rank again.
 */

import { DEFAULT_ACTIVATION_BUDGET_BYTES } from "./activation-budget.js";
import { estimateBy } from "./atpstar/estimate.js";
import type { Method } from "./atpstar/methods.js";
import { InputError } from "./errors.js";
import { sweepNodes } from "./exact/sweep.js";
import type { ModelConfig } from "./model/config.js";
import type { Model } from "./model/model.js";
import { type Site, sitesOf } from "./model/sites.js";
import { formatNodeId, type Node, parseNodeId } from "./nodes/node-id.js";
import { indexOfNode, makeNodeSpace, type NodeSpace, parseSites } from "./nodes/node-space.js";
import { type PositionMode, positionLabels, spanInPair } from "./nodes/positions.js";
import { type Ranking, rankNodes, type VerifiedNodes } from "./nodes/ranking.js";
import { addScore, makeScoreTable } from "./nodes/score-table.js";
import type { Direction } from "./prompts/direction.js";
import { metricByName } from "./prompts/metrics/index.js";
import type { Pair } from "./prompts/pair.js";
import type { RunControl } from "./run-control.js";
import type { ActivationSource } from "./sources/source.js";

export const DEFAULT_METHOD: Method = "atp*";
export const DEFAULT_METRIC = "logit-diff";
/** Every head and every MLP, without the neurons, of which there are many more. */
export const DEFAULT_SITES = "q,k,v,z,mlpOut";
export const DEFAULT_TOP_K = 20;
/** Enough rows to keep either engine busy with prompts of a sentence. */
export const DEFAULT_BATCH_SIZE = 16;

export interface RunOptions extends RunControl {
  /** Name of a metric; default `logit-diff`. */
  readonly metric?: string;
  /** noising (default): patch corrupted activations into the clean run; denoising: the reverse. */
  readonly direction?: Direction;
  /** Most prompts in one pass; default 16. */
  readonly batchSize?: number;
  /** What the activations of one pass may take, in bytes; default 1 GiB. Batches of patched runs follow it. */
  readonly activationBudgetBytes?: number;
  /** Where patched values come from: `zeroSource()`, `meanSource(…)`; by default the pair's other prompt. */
  readonly source?: ActivationSource;
}

export interface EstimateSelection {
  /** `atp*` (default), `atp`, `atp+qkfix` or `atp+graddrop`. */
  readonly method?: Method;
  /** Sites, as a list or as text ("z,mlpOut", "neuron", "all"); default `q,k,v,z,mlpOut`. */
  readonly nodes?: string | readonly Site[];
  /** One node per position ("each", default), per role ("roles"), or for all positions together ("all"). */
  readonly positions?: PositionMode;
}

export interface LocalizeOptions extends RunOptions, EstimateSelection {
  /** How many of the best nodes to verify by exact patching; default 20. */
  readonly topK?: number;
  /** Called with the estimates before verification starts, so that they can be saved first. */
  readonly onEstimates?: (ranking: Ranking) => Promise<void> | void;
}

/**
 * Estimates the effect of every selected node by a gradient method, and ranks them.
 * @throws InputError for an unknown metric or site, a metric without gradient, GradDrop on a model of one layer, or pairs
 *   that do not fit
 * @throws RunError if a run's metric is not finite
 */
export async function estimate(
  model: Model,
  pairs: readonly Pair[],
  options: RunOptions & EstimateSelection = {},
): Promise<Ranking> {
  const { nodes = DEFAULT_SITES, positions = "each", method = DEFAULT_METHOD } = options;
  const sites = typeof nodes === "string" ? parseSites(nodes, model.config) : nodes;
  const space = makeNodeSpace(model.config, sites, positionLabels(positions, pairs));
  const { scores, baseMetric, sourceMetric, forwardEquivalents } = await estimateBy(method, model, pairs, {
    ...resolve(options),
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
 * Exact effects of the named nodes, ranked.
 * @param ids node ids; positions, roles and `*` may be mixed
 * @throws InputError for an id that is malformed or that the model or the pairs do not have
 */
export async function verify(
  model: Model,
  pairs: readonly Pair[],
  ids: readonly string[],
  options: RunOptions = {},
): Promise<Ranking> {
  if (ids.length === 0) throw new InputError("verify: expected at least one node id, got none");
  const nodes = ids.map(parseNodeId);
  const space = spaceOfNodes(model.config, pairs, nodes);
  const flat = Uint32Array.from(new Set(nodes.map((node) => indexOfNode(space, node))));
  const { verified, ...runs } = await verifyNodes(model, pairs, space, flat, options);
  return {
    space,
    pairs,
    baseMetric: runs.baseMetric,
    sourceMetric: runs.sourceMetric,
    verified,
    order: rankNodes(space, undefined, verified),
    forwardEquivalents: { estimate: 0, verify: runs.forwardEquivalents },
  };
}

/**
 * The components that carry a behaviour: estimates of every selected node, and exact effects of the best `topK`.
 * @throws as `estimate` does
 */
export async function localize(
  model: Model,
  pairs: readonly Pair[],
  options: LocalizeOptions = {},
): Promise<Ranking> {
  const { topK = DEFAULT_TOP_K, onEstimates } = options;
  if (!Number.isInteger(topK) || topK < 1) {
    throw new InputError(`localize: expected topK to be a positive integer, got ${topK}`);
  }
  const estimated = await estimate(model, pairs, options);
  await onEstimates?.(estimated);
  const { space, estimates } = estimated;
  const candidates = estimated.order.slice(0, topK);
  const { verified, forwardEquivalents } = await verifyNodes(model, pairs, space, candidates, options);
  return {
    ...estimated,
    verified,
    order: rankNodes(space, estimates, verified),
    forwardEquivalents: { ...estimated.forwardEquivalents, verify: forwardEquivalents },
  };
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
    metric: metricByName(metric),
    direction,
    batchSize,
    activationBudgetBytes,
    ...(source && { source }),
    ...(onProgress && { onProgress }),
    ...(signal && { signal }),
  };
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

async function verifyNodes(
  model: Model,
  pairs: readonly Pair[],
  space: NodeSpace,
  nodes: Uint32Array,
  options: RunOptions,
): Promise<{
  verified: VerifiedNodes;
  baseMetric: Float64Array;
  sourceMetric: Float64Array;
  forwardEquivalents: number;
}> {
  const { metric, ...control } = resolve(options);
  const { metrics, forwardEquivalents } = await sweepNodes(model, pairs, space, nodes, {
    ...control,
    metrics: [metric],
  });
  const [{ patched, base, source }] = metrics;
  const scores = makeScoreTable(nodes.length);
  patched.forEach((value, at) => {
    if (!Number.isNaN(value))
      addScore(scores, at % nodes.length, value - base[Math.floor(at / nodes.length)]);
  });
  return { verified: { nodes, scores }, baseMetric: base, sourceMetric: source, forwardEquivalents };
}
