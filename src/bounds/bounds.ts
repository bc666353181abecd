/**
 * @file What subset sampling proves, for people and for certificates: the bound on the largest |m|, and the confidence that it
 * is below a threshold, without and with the control variate.
 *
 * *Samples needed.* SE falls with the square root of the samples. What a bound would be after R' in place of R samples:
 *
 *   s + (t + w)·SE·√(R/R'),   s = max(0, |D| − w·SE)
 *
 * w·SE is what the largest of U differences rises to by noise alone (w: the 1 − 1/(2U) quantile of t), and s what is left of |D|
 * without it. A node with a large effect keeps it; one of many without keeps its noise, in proportion to SE. R' is where this is
 * θ, the largest over all nodes. It is a forecast, proves nothing, and leaves out what skewness adds.
 */

import { levelOfLook, pValueOfLook } from "./looks.js";
import {
  FEWEST_IN_GROUP,
  maximumBound,
  maximumPValue,
  nodesWithoutBound,
  quantileOfWholeDegrees,
} from "./maximum.js";
import type { SubsetMoments } from "./moments.js";
import type { NodeSeries } from "./sample-sums.js";

export interface BoundsQuestion {
  /** Such as 0.99. */
  readonly confidences: readonly number[];
  /** θ: what |m| may be asked to stay below. */
  readonly thresholds: readonly number[];
  /** Which look this is, from 1, so that it has its share of the level (looks.ts). Left out, it is the only one. */
  readonly look?: number;
}

/** What one series says. */
export interface SeriesBounds {
  /** By `confidences`: the largest |m| of all nodes is below `bound`; `node` is the one that has the bound. */
  readonly maxima: readonly { readonly confidence: number; readonly bound: number; readonly node: number }[];
  /** Nodes with too few samples to have a bound; if there are any, all maxima are Infinity. */
  readonly nodesWithoutBound: number;
  readonly thresholds: readonly ThresholdResult[];
}

export interface ThresholdResult {
  readonly threshold: number;
  /** Of "some node has |m| ≥ θ", the look taken into account. */
  readonly pValue: number;
  /** 1 − p-value: the largest confidence with which all nodes are below. */
  readonly confidence: number;
  /** By `confidences`: a forecast of the samples after which this look's level would do. Infinity where none would. */
  readonly samplesNeeded: readonly number[];
}

/** Each series' bounds hold at their confidence. The better ones of the two, picked when both are known, need not. */
export interface BoundsReport {
  readonly samples: number;
  /**
   * How often two given nodes were patched together, on average: samples·p². Below ln(1/α), 4.6 for 99 %, what a node does only
   * together with one other had a chance of more than α to be missed altogether, and no statistic can tell. At an OR gate,
   * where there is nothing else to see, bounds of 99 % were wrong in 9 % of repetitions at 1.3, and in 1 % from 2.6 on.
   */
  readonly together: number;
  readonly plain: SeriesBounds;
  /** Absent without estimates. */
  readonly controlled?: SeriesBounds & { readonly rSquared: number };
}

/**
 * @throws InputError for confidences outside [0.5, 1), thresholds that are not positive numbers, a look that is not a positive
 *   integer
 */
export function boundsOf(moments: SubsetMoments, question: BoundsQuestion): BoundsReport {
  const { samples, plain, controlled } = moments;
  return {
    samples,
    together: samples * moments.design.probability ** 2,
    plain: boundsOfSeries(moments, plain, question),
    ...(controlled && {
      controlled: { ...boundsOfSeries(moments, controlled, question), rSquared: controlled.rSquared },
    }),
  };
}

function boundsOfSeries(
  { design, samples }: SubsetMoments,
  series: NodeSeries,
  { confidences, thresholds, look }: BoundsQuestion,
): SeriesBounds {
  const levels = confidences.map((confidence) =>
    look === undefined ? 1 - confidence : levelOfLook(1 - confidence, look),
  );
  return {
    maxima: levels.map((level, c) => {
      const { bound, row } = maximumBound(series, level);
      return { confidence: confidences[c], bound, node: design.nodes[row] };
    }),
    nodesWithoutBound: nodesWithoutBound(series),
    thresholds: thresholds.map((threshold) => {
      const single = maximumPValue(series, threshold);
      const pValue = look === undefined ? single : pValueOfLook(single, look);
      return {
        threshold,
        pValue,
        confidence: 1 - pValue,
        samplesNeeded: levels.map((level) => samplesNeeded(series, samples, threshold, level)),
      };
    }),
  };
}

/**
 * How many samples it would take; see the file comment. As many at least as give every node a bound, groups growing in
 * proportion. Infinity where a node has no standard error yet, or θ is too small.
 */
export function samplesNeeded(series: NodeSeries, samples: number, threshold: number, alpha: number): number {
  const quantile = quantileOfWholeDegrees(1 - alpha);
  const noise = quantileOfWholeDegrees(1 - 1 / (2 * series.size));
  let most = 0;
  for (let row = 0; row < series.size; row++) {
    const { difference, standardError, degreesOfFreedom, inside, outside } = series.statistics(row);
    const noiseLevel = standardError === 0 ? 0 : noise(degreesOfFreedom) * standardError;
    const room = threshold - Math.max(0, Math.abs(difference) - noiseLevel);
    if (!(room > 0)) return Number.POSITIVE_INFINITY;
    const reach = standardError === 0 ? 0 : quantile(degreesOfFreedom) * standardError + noiseLevel;
    most = Math.max(most, (reach / room) ** 2, FEWEST_IN_GROUP / Math.min(inside, outside));
  }
  return Math.ceil(samples * most);
}
