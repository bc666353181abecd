/**
 * @file A sampling design carried out again and again on a system whose truth is known: how often is what it claims wrong? A claim
 * at level α is wrong where its p-value at a true threshold is below α, so that p-values serve all levels.
 */

import { pairOfSample, type SubsetDesign, subsetRows } from "../../src/bounds/design.js";
import { studentTail } from "../../src/bounds/distributions.js";
import { pValueOfLook } from "../../src/bounds/looks.js";
import { maximumPValue, nodePValue, nodesWithoutBound } from "../../src/bounds/maximum.js";
import { SubsetMoments } from "../../src/bounds/moments.js";
import type { NodeSeries } from "../../src/bounds/sample-sums.js";
import { type KnownSystem, largest } from "./system.js";

/** Thresholds of the looks, as shares of the largest |m|. */
const JUST_BELOW = 0.999;
const ABOVE = 1.25;

export interface RepeatedDesign {
  readonly probability: number;
  readonly complementary: boolean;
  /** Ascending; each is a look. */
  readonly sizes: readonly number[];
  readonly repetitions: number;
}

/** p-values by repetition; the threshold is the largest |m|. */
export interface SizeResult {
  /** Of the node that has it, by the t distribution alone, with as few samples as there are. */
  readonly byTAlone: Float64Array;
  /** Of that node by the rules of the product. */
  readonly ofNode: Float64Array;
  /** Of the maximum over all nodes: what is claimed. */
  readonly ofMaximum: Float64Array;
  /** Repetitions in which every node had a bound. */
  bounded: number;
}

export interface SeriesResult {
  readonly bySize: readonly SizeResult[];
  /** By repetition: the smallest p-value of all looks, of a θ just below the largest |m|: no look may certify it. */
  readonly ofLooks: Float64Array;
  /** By repetition and look, [repetitions, sizes]: p-value of a θ a quarter above it: true, and to be found out. */
  readonly above: Float64Array;
  /** Of the control variate: mean over repetitions, at the last size; NaN for the plain series, and without variance. */
  rSquared: number;
}

/** @returns of Y, and of Y' */
export function repeatDesign(
  system: KnownSystem,
  { probability, complementary, sizes, repetitions }: RepeatedDesign,
): readonly [plain: SeriesResult, controlled: SeriesResult] {
  const truth = largest(system.averageMarginals(probability));
  const nodes = Uint32Array.from({ length: system.nodes }, (_, node) => node);
  const results = [
    emptyResult(sizes.length, repetitions, Number.NaN),
    emptyResult(sizes.length, repetitions, 0),
  ] as const;
  for (let repetition = 0; repetition < repetitions; repetition++) {
    const design = { nodes, probability, seed: repetition, complementary };
    const moments = new SubsetMoments(design, system.pairs, [system.estimates]);
    sizes.forEach((size, s) => {
      while (moments.samples < size) moments.add(effectOfSample(system, design, moments.samples));
      const { plain, controlled } = moments;
      if (!controlled) throw new Error("repeatDesign: expected a control variate, got none");
      [plain, controlled].forEach((series, which) => {
        look(results[which], series, { repetition, s, looks: sizes.length, truth });
      });
      if (s === sizes.length - 1) results[1].rSquared += controlled.rSquared / repetitions;
    });
  }
  return results;
}

function effectOfSample(system: KnownSystem, design: SubsetDesign, sample: number): number {
  return system.effect(pairOfSample(design, sample, system.pairs), subsetRows(design, sample));
}

interface Look {
  readonly repetition: number;
  /** Place of the number of samples among the sizes. */
  readonly s: number;
  readonly looks: number;
  readonly truth: { readonly row: number; readonly size: number };
}

function look(result: SeriesResult, series: NodeSeries, { repetition, s, looks, truth }: Look): void {
  const ofSize = result.bySize[s];
  ofSize.byTAlone[repetition] = pValueByTAlone(series, truth.row, truth.size);
  ofSize.ofNode[repetition] = nodePValue(series.statistics(truth.row), truth.size);
  ofSize.ofMaximum[repetition] = maximumPValue(series, truth.size);
  if (nodesWithoutBound(series) === 0) ofSize.bounded++;
  const below = pValueOfLook(maximumPValue(series, JUST_BELOW * truth.size), s + 1);
  result.ofLooks[repetition] = Math.min(result.ofLooks[repetition], below);
  result.above[repetition * looks + s] = pValueOfLook(maximumPValue(series, ABOVE * truth.size), s + 1);
}

/** 1 where there is no variance to compute. */
function pValueByTAlone(series: NodeSeries, row: number, threshold: number): number {
  const { difference, standardError, degreesOfFreedom } = series.statistics(row);
  if (Number.isNaN(standardError)) return 1;
  const room = threshold - Math.abs(difference);
  if (standardError === 0) return room > 0 ? 0 : 1;
  return studentTail(room / standardError, degreesOfFreedom);
}

function emptyResult(sizes: number, repetitions: number, rSquared: number): SeriesResult {
  return {
    bySize: Array.from({ length: sizes }, () => ({
      byTAlone: new Float64Array(repetitions),
      ofNode: new Float64Array(repetitions),
      ofMaximum: new Float64Array(repetitions),
      bounded: 0,
    })),
    ofLooks: new Float64Array(repetitions).fill(1),
    above: new Float64Array(repetitions * sizes),
    rSquared,
  };
}
