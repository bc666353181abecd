/** @file Relative costs of recall of all methods, settings and behaviours: their means, and which settings are best. */

import { BASELINES, type Baseline } from "./baselines/methods.js";
import { geometricMean, inverseRankMean } from "./recall-cost.js";

export const UNITS = ["run", "patches"] as const;

/** See `baselines/cost-counter.ts`. */
export type Unit = (typeof UNITS)[number];

/** Costs for k = 1, 2, …, relative to the oracle, in each unit. */
export type RelativeCosts = Readonly<Record<Unit, readonly number[]>>;

/** A method in one setting, on one behaviour. */
export interface Result {
  readonly behaviour: string;
  readonly method: Baseline;
  readonly setting: string;
  readonly relative: RelativeCosts;
}

/** At every k the geometric mean; as far as all of them go. */
export function meanCosts(several: readonly RelativeCosts[]): RelativeCosts {
  const mean = (unit: Unit) =>
    Array.from({ length: Math.min(...several.map((costs) => costs[unit].length)) }, (_, k) =>
      geometricMean(several.map((costs) => costs[unit][k])),
    );
  return { run: mean("run"), patches: mean("patches") };
}

/** A method in one setting over all behaviours, in one unit. */
export interface Summary {
  readonly method: Baseline;
  readonly setting: string;
  /** Inverse-rank-weighted geometric mean by behaviour, and the geometric mean of these. */
  readonly byBehaviour: ReadonlyMap<string, number>;
  readonly mean: number;
  /** Geometric mean over behaviours at each k. */
  readonly curve: readonly number[];
}

/** Of every method and setting, best setting first. */
export function summaries(results: readonly Result[], unit: Unit): Summary[] {
  const settings = new Map<string, Result[]>();
  for (const result of results) {
    const key = JSON.stringify([result.method, result.setting]);
    settings.set(key, [...(settings.get(key) ?? []), result]);
  }
  const all = [...settings.values()].map((ofSetting): Summary => {
    const byBehaviour = new Map(
      ofSetting.map(({ behaviour, relative }) => [behaviour, inverseRankMean(relative[unit])]),
    );
    const [{ method, setting }] = ofSetting;
    const mean = geometricMean([...byBehaviour.values()]);
    const curve = meanCosts(ofSetting.map(({ relative }) => relative))[unit];
    return { method, setting, byBehaviour, mean, curve };
  });
  return all.sort((a, b) => BASELINES.indexOf(a.method) - BASELINES.indexOf(b.method) || a.mean - b.mean);
}

/** The setting of each method that has the smallest mean: known only afterwards, which favours methods with many settings. */
export function bestSettings(all: readonly Summary[]): Summary[] {
  return BASELINES.flatMap((method) => all.find((summary) => summary.method === method) ?? []);
}
