/**
 * @file What the verified nodes say of the estimates, and what follows for the nodes that were not verified: a list is only as good
 * as the estimates that chose what to verify.
 *
 * Let t be the contribution of row k, and f the largest exact contribution ÷ estimated contribution of a verified node among the
 * first k rows, at least 1. If the estimate of an unverified node may be too small by as much, the node could belong above row k
 * where f·estimate > t, and above row r where f·estimate > the contribution of row r. Verified nodes below row k say nothing more:
 * none of their factors would bring a node from behind them above row k.
 *
 * This is no bound. f is the worst of a few nodes that were verified because their estimates are large, and a node whose estimate is
 * more wrong than all of theirs is not covered: only a certificate speaks of such nodes.
 */

import jstat from "jstat";
import { formatNodeId } from "../nodes/node-id.js";
import { nodeAt } from "../nodes/node-space.js";
import type { RankedNode, Ranking } from "../nodes/ranking.js";
import { contribution } from "../nodes/score-table.js";

/** Fewer nodes have no order worth a correlation. */
const FEWEST_FOR_CORRELATION = 3;

export interface Agreement {
  /** The k that this is about: rows of the list, fewer where it has fewer. */
  readonly topK: number;
  /** Verified nodes with an estimate. */
  readonly compared: number;
  /** Spearman's, of exact and estimated contributions of these nodes; absent below 3 nodes, and where one of the two has no order. */
  readonly rankCorrelation?: number;
  /** The verified node of the first k rows whose estimate was too small by the largest factor; absent where none is verified. */
  readonly mostUnderestimated?: UnderestimatedNode;
  /** Contribution of row k. */
  readonly threshold: number;
  /** Leading rows, of the first k, that are verified, and that no unverified node could belong above. */
  readonly settledRows: number;
  /** Unverified nodes that could belong above row k, those that stand there already included. */
  readonly reachable: number;
  /** Rank of the last of them: they and the verified nodes between them are the first so many rows. Absent where there is none. */
  readonly lastRank?: number;
}

/** Contributions: means over pairs of absolute values. */
export interface UnderestimatedNode {
  readonly node: string;
  readonly effect: number;
  readonly estimate: number;
  /** effect ÷ estimate: below 1 where no estimate was too small; absent where the estimate is 0. */
  readonly factor?: number;
}

/** What is asked of a row. */
type ComparedRow = Pick<
  RankedNode,
  "node" | "rank" | "contribution" | "verified" | "effectContribution" | "estimateContribution"
>;

/** Takes the rows of a ranked list, best first, and keeps nothing of the unverified ones: there may be millions. */
export class AgreementOfRows {
  readonly #effects: number[] = [];
  readonly #estimates: number[] = [];
  readonly #verifiedFirst: number[] = [];
  #most: UnderestimatedNode | undefined;
  #rows = 0;
  #threshold = 0;
  #bestUnverified: number | undefined;
  #reachable = 0;
  #lastRank: number | undefined;
  /** Estimates of the unverified nodes of the first k rows, until the factor is known. */
  #waiting: { readonly estimate: number; readonly rank: number }[] = [];

  /** @param topK k, a positive integer */
  constructor(private readonly topK: number) {}

  add({ node, rank, contribution, verified, effectContribution, estimateContribution }: ComparedRow): void {
    this.#rows++;
    const first = this.#rows <= this.topK;
    if (first) this.#threshold = contribution;
    if (verified && effectContribution !== undefined && estimateContribution !== undefined) {
      this.#effects.push(effectContribution);
      this.#estimates.push(estimateContribution);
      if (first) this.#compare({ node, effect: effectContribution, estimate: estimateContribution });
    }
    if (verified) {
      if (first && this.#verifiedFirst.length === this.#rows - 1) this.#verifiedFirst.push(contribution);
      return;
    }
    this.#bestUnverified ??= contribution;
    if (first) this.#waiting.push({ estimate: contribution, rank });
    else this.#reach({ estimate: contribution, rank });
  }

  /** What all rows so far say; undefined where no row is verified, or none is left to verify, or nothing was estimated. */
  result(): Agreement | undefined {
    if (this.#effects.length === 0 || this.#bestUnverified === undefined) return undefined;
    for (const row of this.#waiting.splice(0)) this.#reach(row);
    const best = times(this.#factor, this.#bestUnverified);
    const settled = this.#verifiedFirst.findIndex((contribution) => !(contribution > best));
    const correlation =
      this.#effects.length < FEWEST_FOR_CORRELATION
        ? Number.NaN
        : jstat.jStat.spearmancoeff(this.#effects, this.#estimates);
    return {
      topK: Math.min(this.topK, this.#rows),
      compared: this.#effects.length,
      ...(!Number.isNaN(correlation) && { rankCorrelation: correlation }),
      ...(this.#most && { mostUnderestimated: this.#most }),
      threshold: this.#threshold,
      settledRows: settled < 0 ? this.#verifiedFirst.length : settled,
      reachable: this.#reachable,
      ...(this.#lastRank !== undefined && { lastRank: this.#lastRank }),
    };
  }

  #compare({ node, effect, estimate }: Omit<UnderestimatedNode, "factor">): void {
    const factor = ratio(effect, estimate);
    if (this.#most && factor <= ratio(this.#most.effect, this.#most.estimate)) return;
    this.#most = { node, effect, estimate, ...(Number.isFinite(factor) && { factor }) };
  }

  get #factor(): number {
    return Math.max(1, this.#most ? ratio(this.#most.effect, this.#most.estimate) : Number.POSITIVE_INFINITY);
  }

  /** The first k rows are known: rows come best first, and the factor is theirs. */
  #reach({ estimate, rank }: { readonly estimate: number; readonly rank: number }): void {
    if (rank > this.topK && !(times(this.#factor, estimate) > this.#threshold)) return;
    this.#reachable++;
    this.#lastRank = Math.max(this.#lastRank ?? 0, rank);
  }
}

/** How often the estimate goes into the effect: 1 where both are 0. */
function ratio(effect: number, estimate: number): number {
  return effect === estimate ? 1 : effect / estimate;
}

/** Where an estimate of 0 had an effect, an estimate says nothing. */
function times(factor: number, estimate: number): number {
  return factor === Number.POSITIVE_INFINITY ? factor : factor * estimate;
}

/**
 * What the verified nodes of a ranking say of its estimates.
 * @param topK how many first rows are to be settled
 * @returns undefined where nothing was estimated, nothing verified, or everything
 */
export function agreementOf(
  { space, order, estimates, verified }: Pick<Ranking, "space" | "order" | "estimates" | "verified">,
  topK: number,
): Agreement | undefined {
  if (!estimates || !verified) return undefined;
  const rowOf = new Map(Array.from(verified.nodes, (node, row) => [node, row]));
  const rows = new AgreementOfRows(topK);
  order.forEach((node, place) => {
    const row = rowOf.get(node);
    const estimateContribution = contribution(estimates, node);
    const effect = row === undefined ? undefined : contribution(verified.scores, row);
    rows.add({
      node: effect === undefined ? "" : formatNodeId(nodeAt(space, node)),
      rank: place + 1,
      contribution: effect ?? estimateContribution,
      verified: effect !== undefined,
      estimateContribution,
      ...(effect !== undefined && { effectContribution: effect }),
    });
  });
  return rows.result();
}
