/**
 * @file Completeness and minimality of a set of nodes taken as a circuit, after Wang et al. 2022, "Interpretability in the
 * Wild: a Circuit for Indirect Object Identification in GPT-2 small", section 4.
 *
 * With C the circuit and M all nodes of a space, F(S) is the mean metric over pairs of runs in which every node of M
 * outside of S is knocked out, here: patched with the source's values. So F(M) is the base run, F(∅) the run with all
 * patched, and what lies outside of the space is never knocked out.
 *
 *   faithful:  |F(C) − F(M)| is small
 *   complete:  for every K ⊆ C, |F(C \ K) − F(M \ K)| is small: the circuit breaks as the model breaks
 *   minimal:   for every v ∈ C there is a K ⊆ C \ {v} with |F(C \ (K ∪ {v})) − F(C \ K)| large: every node matters
 *
 * Both quantify over all subsets, so what is computed is a bound: the incompleteness found is at least as large as shown,
 * and a node may matter more than shown.
 */

import { uniformInt } from "pure-rand/distribution/uniformInt";
import { mersenne } from "pure-rand/generator/mersenne";
import { InputError } from "../errors.js";
import { checkLimit, LIMITS } from "../limits.js";
import type { Model } from "../model/model.js";
import { formatNodeId } from "../nodes/node-id.js";
import { locate, type NodeSet, type NodeSpace, nodeAt } from "../nodes/node-space.js";
import { gapAt, type UnpatchedMetrics } from "../nodes/recovered.js";
import type { Pair } from "../prompts/pair.js";
import { replacesValues } from "../sources/draws.js";
import { checkNodes, isNegative } from "./faithfulness.js";
import { meanOf, standardErrorOf } from "./pair-statistics.js";
import type { ExactOptions } from "./patch-sets.js";
import { metricOfSet, type PatchedMetrics, type PatchedSet, patchedMetrics } from "./patched-metrics.js";

const DEFAULT_RANDOM_SUBSETS = 10;

export interface CompletenessOptions extends ExactOptions {
  /** How many random K, each node of the circuit in it with probability ½; default 10. */
  readonly randomSubsets?: number;
  /** Of these subsets, an int32; default 0. */
  readonly seed?: number;
}

/** Mean metrics over pairs of what a circuit is compared with. */
export interface CircuitMetrics {
  /** F(M): the base run. */
  readonly model: number;
  /** F(C): all of the space but the circuit patched. */
  readonly circuit: number;
  /** F(∅): all of the space patched. */
  readonly nothing: number;
  /** Mean metric of the source runs. */
  readonly source: number;
}

/** Two means over pairs that differ by `difference`. */
interface Comparison {
  /** |difference|, in the metric's unit. */
  readonly score: number;
  /** Mean over pairs, with its sign. */
  readonly difference: number;
  /** Standard error of `difference`; absent for a single pair. */
  readonly se?: number;
}

/** One K: `difference` is F(C \ K) − F(M \ K). */
export interface Incompleteness extends Comparison {
  /** K, as node ids. */
  readonly removed: readonly string[];
  /** F(C \ K). */
  readonly circuit: number;
  /** F(M \ K). */
  readonly model: number;
  /** For K of one node: whether knocking it out of the model moves the metric the other way; `isNegative`. */
  readonly negative?: boolean;
}

export interface Completeness extends CircuitMetrics {
  /** K = ∅ first, whose score is how unfaithful the circuit is; then each single node; then the random subsets. */
  readonly subsets: readonly Incompleteness[];
  /** The largest score found. */
  readonly worst: number;
  /** In forward passes of one prompt. */
  readonly forwardEquivalents: number;
}

/**
 * How a circuit behaves next to the model when parts of the circuit are knocked out of both.
 *
 * @param circuit C: nodes of `space`, each once
 * @throws InputError for a circuit that is empty, has a node twice or one that the space does not have; a number of subsets
 *   that is not a whole number, a seed that is not an int32; no pairs, or pairs that lack the metric's tokens
 * @throws RunError if the metric of a run is not finite
 */
export async function completeness(
  model: Model,
  pairs: readonly Pair[],
  space: NodeSpace,
  circuit: NodeSet,
  { randomSubsets = DEFAULT_RANDOM_SUBSETS, seed = 0, ...options }: CompletenessOptions,
): Promise<Completeness> {
  checkNodes("completeness", space, circuit);
  const removed: NodeSet[] = [
    new Uint32Array(),
    ...Array.from(circuit, (node) => Uint32Array.of(node)),
    ...drawSubsets(circuit, randomSubsets, seed),
  ];
  const runs = new RunsOfCircuits();
  const whole = { circuit: runs.keeping(circuit), nothing: runs.keeping(new Uint32Array()) };
  const trials = removed.map((K) => ({
    K,
    ofCircuit: runs.keeping(without(circuit, K)),
    ofModel: runs.removing(K),
  }));
  const metrics = await patchedMetrics(model, pairs, space, runs.sets, options);
  const means = circuitMetrics(metrics, whole);
  const gapOf = gapsOfNodes(space, pairs, {
    base: metrics.baseMetric,
    source: replacesValues(options.source) ? metricOfSet(metrics, whole.nothing) : metrics.sourceMetric,
  });
  const subsets = trials.map(({ K, ofCircuit, ofModel }): Incompleteness => {
    const [a, b] = [metricOfSet(metrics, ofCircuit), metricOfSet(metrics, ofModel)];
    const effect = meanOf(b) - means.model;
    return {
      removed: idsOf(space, K),
      circuit: meanOf(a),
      model: meanOf(b),
      ...compare(a, b),
      ...(K.length === 1 && { negative: isNegative(effect, gapOf(K[0])) }),
    };
  });
  return {
    ...means,
    subsets,
    worst: Math.max(...subsets.map(({ score }) => score)),
    forwardEquivalents: metrics.forwardEquivalents,
  };
}

export interface MinimalityOptions extends ExactOptions {
  /**
   * The K to try, nodes of the circuit; of each, v itself is left out. Default: only ∅, which misses nodes that stand
   * in for each other (backups): they show when the others are in K.
   */
  readonly subsets?: readonly NodeSet[];
}

/** One v with the K that shows it best: `difference` is F(C \ (K ∪ {v})) − F(C \ K). */
export interface NodeMinimality extends Comparison {
  /** v, as a node id. */
  readonly node: string;
  /** K, as node ids. */
  readonly removed: readonly string[];
  /** F(C \ (K ∪ {v})). */
  readonly without: number;
  /** F(C \ K). */
  readonly with: number;
  /** Exact effect of the node alone in the base run, F(M \ {v}) − F(M). */
  readonly effectMean: number;
  /** Whether that effect moves the metric the other way; `isNegative`. */
  readonly negative: boolean;
}

export interface Minimality extends CircuitMetrics {
  /** In the order of the circuit. */
  readonly nodes: readonly NodeMinimality[];
  /** In forward passes of one prompt. */
  readonly forwardEquivalents: number;
}

/**
 * How much each node of a circuit matters to it.
 *
 * @param circuit C: nodes of `space`, each once
 * @throws InputError as `completeness` does, for subsets with a node that is not in the circuit, or for no subsets
 * @throws RunError if the metric of a run is not finite
 */
export async function minimality(
  model: Model,
  pairs: readonly Pair[],
  space: NodeSpace,
  circuit: NodeSet,
  { subsets = [new Uint32Array()], ...options }: MinimalityOptions,
): Promise<Minimality> {
  checkNodes("minimality", space, circuit);
  checkSubsets(space, circuit, subsets);
  const runs = new RunsOfCircuits();
  const whole = { circuit: runs.keeping(circuit), nothing: runs.keeping(new Uint32Array()) };
  const trials = Array.from(circuit, (node) => {
    const alone = Uint32Array.of(node);
    const ofNode = subsets.map((subset) => {
      const K = without(subset, alone);
      const rest = without(circuit, K);
      return { K, less: runs.keeping(without(rest, alone)), more: runs.keeping(rest) };
    });
    return { node, effect: runs.removing(alone), ofNode };
  });
  const metrics = await patchedMetrics(model, pairs, space, runs.sets, options);
  const means = circuitMetrics(metrics, whole);
  const gapOf = gapsOfNodes(space, pairs, {
    base: metrics.baseMetric,
    source: replacesValues(options.source) ? metricOfSet(metrics, whole.nothing) : metrics.sourceMetric,
  });
  const nodes = trials.map(({ node, effect, ofNode }): NodeMinimality => {
    const effectMean = meanOf(metricOfSet(metrics, effect)) - means.model;
    const [best] = ofNode
      .map(({ K, less, more }) => {
        const [a, b] = [metricOfSet(metrics, less), metricOfSet(metrics, more)];
        return { removed: idsOf(space, K), without: meanOf(a), with: meanOf(b), ...compare(a, b) };
      })
      .sort((a, b) => b.score - a.score);
    const negative = isNegative(effectMean, gapOf(node));
    return { node: formatNodeId(nodeAt(space, node)), ...best, effectMean, negative };
  });
  return { ...means, nodes, forwardEquivalents: metrics.forwardEquivalents };
}

/** The runs that are wanted, each once. */
class RunsOfCircuits {
  readonly sets: PatchedSet[] = [];
  readonly #places = new Map<string, number>();

  /** F(S): all of the space patched but S. Returns its place in `sets`. */
  keeping(nodes: NodeSet): number {
    return this.#place({ nodes, complement: true }, `keep ${nodes.join()}`);
  }

  /** F(M \ S): S patched. */
  removing(nodes: NodeSet): number {
    return this.#place({ nodes }, `remove ${nodes.join()}`);
  }

  #place(set: PatchedSet, key: string): number {
    const place = this.#places.get(key) ?? this.sets.push(set) - 1;
    this.#places.set(key, place);
    return place;
  }
}

function circuitMetrics(
  metrics: PatchedMetrics,
  places: { readonly circuit: number; readonly nothing: number },
): CircuitMetrics {
  return {
    model: meanOf(metrics.baseMetric),
    circuit: meanOf(metricOfSet(metrics, places.circuit)),
    nothing: meanOf(metricOfSet(metrics, places.nothing)),
    source: meanOf(metrics.sourceMetric),
  };
}

/** By node, source − base metric over the pairs that have it: the others have no part in its effect. */
function gapsOfNodes(space: NodeSpace, pairs: readonly Pair[], unpatched: UnpatchedMetrics) {
  const gaps = space.labels.map((label) => gapAt(unpatched, pairs, label));
  return (node: number): number => gaps[locate(space, node).p];
}

function compare(a: Float64Array, b: Float64Array): Comparison {
  const differences = a.map((value, pair) => value - b[pair]);
  const difference = meanOf(differences);
  const se = standardErrorOf(differences);
  return { score: Math.abs(difference), difference, ...(se !== undefined && { se }) };
}

function checkSubsets(space: NodeSpace, circuit: NodeSet, subsets: readonly NodeSet[]): void {
  if (subsets.length === 0) throw new InputError("minimality: expected at least one subset, got none");
  const members = new Set(circuit);
  for (const subset of subsets) {
    const other = subset.find((node) => !members.has(node));
    if (other === undefined) continue;
    const shown = other < space.size ? formatNodeId(nodeAt(space, other)) : `node ${other}`;
    throw new InputError(`minimality: expected subsets of the circuit, got one with ${shown}`);
  }
}

function drawSubsets(circuit: NodeSet, count: number, seed: number): NodeSet[] {
  if (!Number.isInteger(count) || count < 0) {
    throw new InputError(`completeness: expected randomSubsets to be 0 or a positive integer, got ${count}`);
  }
  checkLimit("completeness", "randomSubsets", count, LIMITS.randomSubsets);
  if ((seed | 0) !== seed) {
    throw new InputError(`completeness: expected seed to be an integer from -2^31 to 2^31 - 1, got ${seed}`);
  }
  const random = mersenne(seed);
  return Array.from({ length: count }, () => circuit.filter(() => uniformInt(random, 0, 1) === 1));
}

function without(nodes: NodeSet, removed: NodeSet): NodeSet {
  const gone = new Set(removed);
  return nodes.filter((node) => !gone.has(node));
}

function idsOf(space: NodeSpace, nodes: NodeSet): string[] {
  return Array.from(nodes, (node) => formatNodeId(nodeAt(space, node)));
}
