/**
 * @file Verifying and sampling until the top k are certain: until every unverified node is bounded below the k-th
 * verified contribution, or the budget is used up.
 *
 *   verify the top k -> patch a random sample of the rest one by one (prevalence)
 *   -> rounds: sample random subsets of what is unverified; look at the bound as samples double; once the nodes that keep it
 *      up cost less to verify than as many samples again, verify them and begin a new round without them
 *
 * Rounds never share samples: which nodes a round leaves out depends on what earlier ones showed, and a bound holds for nodes that
 * were chosen before its samples were drawn. All looks of all rounds share the level by the rule of `looks.ts`.
 * Where patching every node that is left costs less than the next samples, that is done instead.
 */

import { costOfNodes } from "../exact/cost-ahead.js";
import type { ModelConfig } from "../model/config.js";
import { formatNodeId } from "../nodes/node-id.js";
import { type NodeSet, nodeAt } from "../nodes/node-space.js";
import { joinVerified, type Ranking, rankNodes, type VerifiedNodes } from "../nodes/ranking.js";
import { contribution, makeScoreTable, type ScoreTable } from "../nodes/score-table.js";
import { type DrawsOfSource, drawsOf } from "../sources/draws.js";
import { boundsOf, type SeriesBounds } from "./bounds.js";
import {
  type Certificate,
  type CertificateLook,
  type CertificatePrevalence,
  certificateOf,
  type LookBound,
} from "./certificate.js";
import { levelOfLook, sampleSizesOfLooks } from "./looks.js";
import { nodeBound } from "./maximum.js";
import type { Measurements } from "./measurements.js";
import { SubsetMoments } from "./moments.js";
import { type Prevalence, prevalenceOf } from "./prevalence.js";

export interface CertifyOptions {
  /** How many of the best nodes are to be certain. */
  readonly topK: number;
  /** Such as 0.99; of the bound, and of the statement on the random sample. */
  readonly confidence: number;
  /**
   * Most forward equivalents for verifying and sampling; the top k are verified in any case. Default: twice what patching every node would cost at most, which is
   * enough for a certificate in any case.
   */
  readonly budget?: number;
  /** Probability that an unverified node is in a subset; default 0.05. */
  readonly inclusion?: number;
  /** Of all draws, an int32; default 0. */
  readonly seed?: number;
  /** How many unverified nodes are drawn and patched one by one; default 100, 0 for none. */
  readonly prevalenceSample?: number;
  /** Called with all that is verified so far, whenever that is more, so that it can be saved. */
  readonly onVerified?: (ranking: Ranking) => Promise<void> | void;
}

export interface Certified {
  readonly ranking: Ranking;
  readonly certificate: Certificate;
}

/**
 * Expected samples with each node at the first look: few nodes then have fewer than the 30 that a bound takes (one in
 * 100,000, by Poisson).
 */
const FIRST_INSIDE = 60;

/** Forward equivalents of a pair's estimates: two forward passes and a backward one. */
const ESTIMATE_COST = 3;

/** One certification; its result is there once it has run. */
export class Certification {
  #verified: VerifiedNodes = { nodes: new Uint32Array(), scores: makeScoreTable(0) };
  #prevalence: Prevalence | undefined;
  readonly #looks: CertificateLook[] = [];
  #bound = Number.POSITIVE_INFINITY;
  #spent = { verify: 0, sample: 0 };
  #costPerNode: number | undefined;
  #byPair: readonly Float32Array[] | undefined;

  constructor(
    readonly config: ModelConfig,
    readonly estimated: Ranking,
    readonly estimates: ScoreTable,
    readonly measurements: Measurements,
    readonly options: Required<Omit<CertifyOptions, "onVerified">> &
      Pick<CertifyOptions, "onVerified"> & { readonly source?: DrawsOfSource },
  ) {}

  async run(): Promise<void> {
    const { topK, prevalenceSample } = this.options;
    await this.#verify(this.estimated.order.slice(0, topK));
    if (this.#threshold() === 0) {
      // No bound is below 0: the top k are certain only where every node is verified.
      const rest = this.#unverified();
      if (this.#costOf(rest) <= this.#left()) await this.#verify(rest);
      return;
    }
    if (prevalenceSample > 0 && this.#unverified().length > 0) await this.#drawSample();
    let samples = this.#firstLook();
    for (let round = 1; this.#unverified().length > 0; round++) {
      const keepers = await this.#round(round, samples);
      if (!keepers) return;
      await this.#verify(keepers.nodes);
      if (this.#bound < this.#threshold()) return;
      samples = keepers.samples;
    }
  }

  result(): Certified {
    const { space, forwardEquivalents } = this.estimated;
    const { topK, confidence, budget, inclusion, seed } = this.options;
    const certificate = certificateOf({
      topK,
      confidence,
      threshold: this.#threshold(),
      ...(Number.isFinite(this.#bound) && { bound: this.#bound }),
      nodes: { total: space.size, verified: this.#verified.nodes.length },
      ...(this.#looks.length > 0 && { sampling: { probability: inclusion, seed, looks: this.#looks } }),
      ...(this.#prevalence && { prevalence: prevalenceFacts(this.#prevalence) }),
      cost: { estimate: forwardEquivalents.estimate, ...this.#spent, budget },
    });
    return { ranking: this.#ranking(), certificate };
  }

  #ranking(): Ranking {
    const { space, forwardEquivalents } = this.estimated;
    return {
      ...this.estimated,
      verified: this.#verified,
      order: rankNodes(space, this.estimates, this.#verified),
      forwardEquivalents: { ...forwardEquivalents, verify: this.#spent.verify + this.#spent.sample },
    };
  }

  async #keep(verified: VerifiedNodes, forwardEquivalents: number): Promise<void> {
    this.#verified = joinVerified(this.#verified, verified);
    this.#spent.verify += forwardEquivalents;
    await this.options.onVerified?.(this.#ranking());
  }

  /** Enough samples for a bound of every node, and for two nodes to meet; as many of every pair. */
  #firstLook(): number {
    const { inclusion, confidence } = this.options;
    const inside = FIRST_INSIDE / Math.min(inclusion, 1 - inclusion);
    const together = -Math.log(1 - confidence) / inclusion ** 2;
    const B = this.estimated.pairs.length;
    return B * (1 + Math.ceil(Math.max(inside, together) / B));
  }

  /** The k-th largest verified contribution. */
  #threshold(): number {
    const { nodes, scores } = this.#verified;
    const contributions = Float64Array.from(nodes, (_, row) => contribution(scores, row)).sort();
    return contributions[Math.max(0, nodes.length - this.options.topK)];
  }

  /** How often a pair is run for each sample. */
  get #draws(): number {
    return drawsOf(this.options.source);
  }

  /** Ascending. */
  #unverified(): NodeSet {
    const known = new Set(this.#verified.nodes);
    const all = Uint32Array.from({ length: this.estimated.space.size }, (_, node) => node);
    return all.filter((node) => !known.has(node));
  }

  #left(): number {
    return this.options.budget - this.#spent.verify - this.#spent.sample;
  }

  async #verify(nodes: NodeSet): Promise<void> {
    if (nodes.length === 0) return;
    const { verified, forwardEquivalents } = await this.measurements.verify(nodes);
    await this.#keep(verified, forwardEquivalents);
  }

  async #drawSample(): Promise<void> {
    const { prevalenceSample, confidence, seed } = this.options;
    const nodes = this.#unverified();
    const share = Math.min(1, prevalenceSample / nodes.length);
    if (share * this.#costOf(nodes) > this.#left()) return;
    const question = {
      budget: prevalenceSample,
      seed,
      estimates: this.estimates,
      thetas: [this.#threshold()],
      confidence,
    };
    const prevalence = await prevalenceOf(nodes, question, this.measurements);
    this.#prevalence = prevalence;
    await this.#keep(prevalence.verified, prevalence.forwardEquivalents);
    this.#costPerNode = prevalence.forwardEquivalents / prevalence.verified.nodes.length;
  }

  /** What verifying nodes costs: at most, or as the random sample did. */
  #costOf(nodes: NodeSet): number {
    const { pairs, space } = this.estimated;
    const atMost = costOfNodes(this.config, pairs, space, this.options, nodes);
    return this.#costPerNode === undefined ? atMost : Math.min(atMost, this.#costPerNode * nodes.length);
  }

  /**
   * Samples until the top k are certain or the budget is used up.
   * @param firstLook how many samples to begin with
   * @returns undefined at the end; otherwise the nodes that keep the bound up, to be verified before a new round of as many
   *   samples, because that costs less than sampling on
   */
  async #round(
    round: number,
    firstLook: number,
  ): Promise<{ readonly nodes: NodeSet; readonly samples: number } | undefined> {
    const { inclusion, seed, confidence } = this.options;
    const nodes = this.#unverified();
    if (await this.#endsBefore(nodes, firstLook)) return undefined;
    const design = { nodes, probability: inclusion, seed: (seed + round) | 0 };
    const B = this.estimated.pairs.length;
    const moments = new SubsetMoments(design, B, await this.#controlOf(nodes), { oriented: true });
    // A sample costs a forward pass at most, and every look the unpatched runs of all pairs.
    const most = B * Math.floor(this.#left() / (B * this.#draws) - 2);
    for (const size of sampleSizesOfLooks(firstLook, Math.max(firstLook, most))) {
      if (await this.#endsBefore(nodes, size - moments.samples)) return undefined;
      const range = { first: moments.samples, end: size };
      const { effects, forwardEquivalents } = await this.measurements.sample(design, range);
      effects.forEach((effect) => {
        moments.add(effect);
      });
      this.#spent.sample += forwardEquivalents;
      const { look, threshold, bound } = this.#look(moments, round);
      if (bound < threshold) return undefined;
      const keepers = rowsAtLeast(moments, threshold, levelOfLook(1 - confidence, look)).map(
        (row) => nodes[row],
      );
      if (this.#costOf(keepers) <= Math.min(this.#draws * size, this.#left()))
        return { nodes: keepers, samples: size };
    }
    return undefined;
  }

  /**
   * Whether there is no more sampling: it would go beyond the budget, or verifying all nodes costs less, or would not be possible
   * any more after it. Then they are verified, if the budget allows it: no sampling is worth the one way that is sure to end.
   */
  async #endsBefore(nodes: NodeSet, samples: number): Promise<boolean> {
    const pairs = this.estimated.pairs.length;
    const control = this.#byPair ? 0 : ESTIMATE_COST * pairs;
    const cost = this.#draws * (samples + 2 * pairs + control);
    const [rest, left] = [this.#costOf(nodes), this.#left()];
    if (rest <= left && (rest <= cost || left - cost < rest)) {
      await this.#verify(nodes);
      return true;
    }
    return cost > left;
  }

  /** Estimates of the nodes by pair, which are made once. */
  async #controlOf(nodes: NodeSet): Promise<Float32Array[]> {
    if (!this.#byPair) {
      const { byPair, forwardEquivalents } = await this.measurements.estimatesByPair();
      this.#byPair = byPair;
      this.#spent.sample += forwardEquivalents;
    }
    return this.#byPair.map((estimates) => Float32Array.from(nodes, (node) => estimates[node]));
  }

  /** Looks at the bound, and keeps what was seen. */
  #look(moments: SubsetMoments, round: number): { look: number; threshold: number; bound: number } {
    const { confidence } = this.options;
    const threshold = this.#threshold();
    const look = this.#looks.length + 1;
    const report = boundsOf(moments, { confidences: [confidence], thresholds: [threshold], look });
    const { plain, controlled, samples, together } = report;
    if (!controlled) throw new Error("look: expected bounds with the control variate, got none");
    this.#looks.push({
      look,
      round,
      nodes: moments.design.nodes.length,
      samples,
      together,
      threshold,
      plain: this.#shown(plain),
      controlled: { ...this.#shown(controlled), rSquared: controlled.rSquared },
    });
    const [{ bound }] = controlled.maxima;
    this.#bound = Math.min(this.#bound, bound);
    return { look, threshold, bound };
  }

  #shown({ maxima: [{ bound, node }], thresholds: [{ samplesNeeded }] }: SeriesBounds): LookBound {
    const [needed] = samplesNeeded;
    return {
      ...(Number.isFinite(bound) && { bound, node: formatNodeId(nodeAt(this.estimated.space, node)) }),
      ...(Number.isFinite(needed) && { samplesNeeded: needed }),
    };
  }
}

/** Places in U of the nodes whose bound is not below a threshold. */
function rowsAtLeast({ controlled, design }: SubsetMoments, threshold: number, alpha: number): Uint32Array {
  const rows = Uint32Array.from(design.nodes.keys());
  return rows.filter((row) => !controlled || nodeBound(controlled.statistics(row), alpha) >= threshold);
}

function prevalenceFacts({ bounds: [bound], strata }: Prevalence): CertificatePrevalence {
  const { theta, nodes, sampled, found, left } = bound;
  return { nodes, sampled, strata: strata.length, threshold: theta, found, left };
}
