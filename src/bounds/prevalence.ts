/**
 * @file Prevalence: how many unverified nodes may have an effect of θ or more? A random sample of them is patched one by one;
 * what is found in it bounds what is in the rest.
 *
 * It speaks of effects of single nodes, each patched alone, and rests on nothing but the drawing of the sample: the estimates
 * only say where to draw more. Each θ has a statement of its own: with several of them, each one holds at the asked
 * confidence, not all at once. A θ has to be chosen before the outcome of the sample is seen.
 */

import { InputError } from "../errors.js";
import type { ExactOptions } from "../exact/patch-sets.js";
import type { Model } from "../model/model.js";
import type { NodeSet, NodeSpace } from "../nodes/node-space.js";
import type { VerifiedNodes } from "../nodes/ranking.js";
import { contribution, makeScoreTable } from "../nodes/score-table.js";
import type { Pair } from "../prompts/pair.js";
import { checkLevel } from "./clopper-pearson.js";
import { type Measurements, measureHere } from "./measurements.js";
import { planStrata, type StrataOptions, type Stratum } from "./strata.js";
import { stratifiedUpper } from "./stratified-count.js";

export interface PrevalenceQuestion extends StrataOptions {
  /** Contributions that are asked about, in the metric's unit, each above 0. */
  readonly thetas: readonly number[];
  /** Level of each statement, such as 0.99. */
  readonly confidence: number;
}

export interface PrevalenceOptions extends ExactOptions, PrevalenceQuestion {}

/** What the sample of a stratum showed. */
export interface StratumOutcome extends Omit<Stratum, "sample"> {
  /** Contributions of its sample: the mean over pairs of the absolute effect. */
  readonly contributions: Float64Array;
}

/** One statement: with the given confidence, at most `count` of the nodes have a contribution of θ or more. */
export interface PrevalenceBound {
  readonly theta: number;
  readonly confidence: number;
  /** How many nodes the statement is about, the drawn ones included. */
  readonly nodes: number;
  /** How many of them were patched. */
  readonly sampled: number;
  /** How many of these reach θ. */
  readonly found: number;
  readonly count: number;
  /** `count` ÷ `nodes`; 0 if there are none. */
  readonly share: number;
  /** `count` − `found`: at most so many of those that were not drawn. */
  readonly left: number;
}

export interface Prevalence {
  /** The one with the largest estimates first. */
  readonly strata: readonly StratumOutcome[];
  /** One per θ, in their order. */
  readonly bounds: readonly PrevalenceBound[];
  /** Exact effects of all nodes that were drawn, ascending. */
  readonly verified: VerifiedNodes;
  readonly forwardEquivalents: number;
}

/**
 * Patches a random sample of the nodes one by one, and bounds how many of all reach each θ.
 *
 * @param nodes the unverified ones, each once, chosen without a look at their effects
 * @throws InputError for a θ that is not above 0, none, or a confidence that is not between 0 and 1; as `planStrata` and
 *   `sweepNodes` do
 * @throws RunError if the metric of a run is not finite
 */
export async function samplePrevalence(
  model: Model,
  pairs: readonly Pair[],
  space: NodeSpace,
  nodes: NodeSet,
  options: PrevalenceOptions,
): Promise<Prevalence> {
  return await prevalenceOf(nodes, options, measureHere(model, pairs, space, options));
}

/**
 * The same, with somebody else to patch the nodes.
 * @throws as `samplePrevalence` does
 */
export async function prevalenceOf(
  nodes: NodeSet,
  question: PrevalenceQuestion,
  measurements: Pick<Measurements, "verify">,
): Promise<Prevalence> {
  const { thetas, confidence } = question;
  if (thetas.length === 0) throw new InputError("samplePrevalence: expected at least one theta, got none");
  for (const theta of thetas) checkTheta("samplePrevalence", theta);
  checkLevel("samplePrevalence", confidence);
  const strata = planStrata(nodes, question);
  const drawn = Uint32Array.from(strata.flatMap(({ sample }) => [...sample])).sort();
  const none = { verified: { nodes: drawn, scores: makeScoreTable(0) }, forwardEquivalents: 0 };
  const { verified, forwardEquivalents } = drawn.length === 0 ? none : await measurements.verify(drawn);
  const { scores } = verified;
  const rowOf = new Map(Array.from(drawn, (node, row) => [node, row]));
  const outcomes = strata.map(
    ({ sample, ...stratum }): StratumOutcome => ({
      ...stratum,
      contributions: Float64Array.from(sample, (node) => contribution(scores, rowOf.get(node) ?? Number.NaN)),
    }),
  );
  return {
    strata: outcomes,
    bounds: thetas.map((theta) => prevalenceBound(outcomes, theta, confidence)),
    verified,
    forwardEquivalents,
  };
}

/**
 * Bounds how many nodes reach θ from the outcome of a sample.
 *
 * @param strata all strata of the plan; a contribution that was not computed, because no pair has the node, is below every θ
 * @param theta chosen without a look at the outcome
 * @param confidence of this statement
 * @throws InputError for a θ that is not above 0 or a confidence that is not between 0 and 1
 */
export function prevalenceBound(
  strata: readonly StratumOutcome[],
  theta: number,
  confidence: number,
): PrevalenceBound {
  checkTheta("prevalenceBound", theta);
  const counts = strata.map(({ size, contributions }) => ({
    size,
    sampled: contributions.length,
    found: contributions.filter((value) => value >= theta).length,
  }));
  const sumOf = (field: keyof (typeof counts)[number]) => counts.reduce((sum, each) => sum + each[field], 0);
  const [nodes, sampled, found] = [sumOf("size"), sumOf("sampled"), sumOf("found")];
  const count = stratifiedUpper(counts, confidence);
  return {
    theta,
    confidence,
    nodes,
    sampled,
    found,
    count,
    share: nodes === 0 ? 0 : count / nodes,
    left: count - found,
  };
}

function checkTheta(caller: string, theta: number): void {
  if (!(theta > 0)) throw new InputError(`${caller}: expected theta to be above 0, got ${theta}`);
}
