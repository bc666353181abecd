/**
 * @file How many nodes have a property, from one sample per stratum: an exact upper bound for all strata together.
 *
 * For numbers K_h of nodes with the property in each stratum, let p(K) be the probability that Σ_h x_h·N_h/n_h, the unbiased
 * estimate of their total, comes out no larger than it did. The bound is the largest ΣK_h with p(K) > 1 − level.
 *
 * Why it is valid: the true K is rejected in a share of at most 1 − level of all samples. Where it is not, the largest total
 * that is not rejected is at least the true one.
 *
 * Adding bounds of the strata, each at a Bonferroni level, is as valid and far looser: it allows for bad luck in all of them
 * at once. Source: Wendell and Schmee 1996, "Exact inference for proportions from a stratified finite population".
 *
 * p falls in every K_h, so what is not rejected lies below a surface. Its highest point is searched from above, in boxes of
 * the first strata, which are halved; the last stratum follows from their lower corner by bisection.
 */

import { checkLevel } from "./clopper-pearson.js";
import {
  hypergeometricChances,
  hypergeometricUpper,
  largestWith,
  ROUNDING,
  type SampleCount,
} from "./hypergeometric.js";

/** Weights N/n are rounded to a whole number of such parts: sums of them are then exact, and equal ones equal. */
const WEIGHT_PARTS = 2 ** 16;
/**
 * The search stops at a bound that is at most so much, relatively, above the exact one. Wherever it stops, it has not gone
 * below it.
 */
const SEARCH_SLACK = 1 / 100;
/** Or after so many tries: a second with three strata and hundreds of nodes found, where many totals are nearly equal. */
const MOST_TRIES = 2000;
/** Chances below this are left out; a million of them are nothing beside `ROUNDING` of any level that is asked. */
const NEGLIGIBLE = 1e-22;

interface WeightedStratum extends SampleCount {
  readonly weight: number;
  /** The most nodes with the property that can be, whatever is in the other strata. */
  readonly most: number;
}

/**
 * Upper bound on how many nodes of all strata have a property.
 *
 * @param strata what was found in each; those without a sample count in full
 * @param level confidence of the sum, such as 0.99
 * @throws InputError for a level that is not between 0 and 1
 */
export function stratifiedUpper(strata: readonly SampleCount[], level: number): number {
  checkLevel("stratifiedUpper", level);
  let known = 0;
  for (const { size, sampled, found } of strata) {
    if (sampled === 0) known += size;
    else if (sampled === size) known += found;
  }
  const open = strata.filter(({ size, sampled }) => sampled > 0 && sampled < size);
  if (open.length === 0) return known;
  return known + new Search(open, level).highest();
}

/** Numbers of nodes with the property in the first strata, from `low` to `high` in each. */
interface Box {
  readonly low: readonly number[];
  readonly high: readonly number[];
  /** The largest number in the last stratum beside `low` that is not rejected. */
  readonly last: number;
  /** No total in the box that is not rejected is larger. */
  readonly reach: number;
}

class Search {
  readonly #risk: number;
  readonly #first: readonly WeightedStratum[];
  readonly #last: WeightedStratum;
  readonly #observed: number;

  constructor(strata: readonly SampleCount[], level: number) {
    this.#risk = (1 - level) * (1 - ROUNDING);
    const weights = strata.map(({ size, sampled }) => Math.round((WEIGHT_PARTS * size) / sampled));
    this.#observed = strata.reduce((sum, { found }, h) => sum + found * weights[h], 0);
    const weighted = strata.map((stratum, h): WeightedStratum => {
      // An estimate no larger than it was needs no more than this in the stratum itself.
      const { size, sampled } = stratum;
      const found = Math.min(sampled, Math.floor(this.#observed / weights[h]));
      const most = Math.min(
        hypergeometricUpper({ size, sampled, found }, level),
        size - sampled + stratum.found,
      );
      return { ...stratum, weight: weights[h], most };
    });
    // Bisection takes care of the widest range.
    weighted.sort((a, b) => a.most - a.found - (b.most - b.found));
    this.#first = weighted.slice(0, -1);
    this.#last = weighted[weighted.length - 1];
  }

  highest(): number {
    const low = this.#first.map(({ found }) => found);
    // What was found is there: the least that each stratum can have is not rejected.
    const last = this.#lastBeside(low) ?? this.#last.found;
    const boxes = [
      boxOf(
        low,
        low.map((_, h) => this.#first[h].most),
        last,
      ),
    ];
    let best = total(low) + last;
    for (let tries = 0; ; tries++) {
      const box = boxes.pop();
      if (!box) return best;
      const side = widest(box);
      if (side === undefined || box.reach <= best * (1 + SEARCH_SLACK) || tries === MOST_TRIES)
        return box.reach;
      const middle = Math.floor((box.low[side] + box.high[side]) / 2);
      insert(boxes, boxOf(box.low, box.high.with(side, middle), box.last));
      const upperLow = box.low.with(side, middle + 1);
      const upperLast = this.#lastBeside(upperLow);
      if (upperLast === undefined) continue;
      best = Math.max(best, total(upperLow) + upperLast);
      insert(boxes, boxOf(upperLow, box.high, upperLast));
    }
  }

  /** The largest number in the last stratum that is not rejected; undefined if every one is. */
  #lastBeside(first: readonly number[]): number | undefined {
    const allowed = this.#allowedInLast(first);
    const { size, sampled, found, most } = this.#last;
    const isKept = (marked: number) => {
      const chances = hypergeometricChances({ size, marked, sampled }, allowed.length - 1);
      return chances.reduce((sum, chance, x) => sum + chance * allowed[x], 0) > this.#risk;
    };
    return isKept(found) ? largestWith(found, most, isKept) : undefined;
  }

  /** By x: the probability that the first strata leave room for x in the sample of the last one. */
  #allowedInLast(marked: readonly number[]): Float64Array {
    const { weight, sampled } = this.#last;
    const allowed = new Float64Array(Math.min(sampled, Math.floor(this.#observed / weight)) + 1);
    const chances = this.#first.map(({ size, sampled, weight }, h) =>
      hypergeometricChances(
        { size, sampled, marked: marked[h] },
        Math.min(sampled, Math.floor(this.#observed / weight)),
      ),
    );
    const add = (h: number, room: number, probability: number) => {
      if (h === chances.length) {
        allowed[Math.min(allowed.length - 1, Math.floor(room / weight))] += probability;
        return;
      }
      const ofStratum = chances[h];
      const step = this.#first[h].weight;
      const end = Math.min(ofStratum.length, Math.floor(room / step) + 1);
      const isInnermost = h === chances.length - 1;
      for (let x = 0; x < end; x++) {
        const joint = probability * ofStratum[x];
        if (joint < NEGLIGIBLE) continue;
        const left = room - x * step;
        // Most of the time of a bound is spent here: no call.
        if (isInnermost) allowed[Math.min(allowed.length - 1, Math.floor(left / weight))] += joint;
        else add(h + 1, left, joint);
      }
    };
    add(0, this.#observed, 1);
    for (let x = allowed.length - 1; x > 0; x--) allowed[x - 1] += allowed[x];
    return allowed;
  }
}

function total(counts: readonly number[]): number {
  return counts.reduce((sum, count) => sum + count, 0);
}

function boxOf(low: readonly number[], high: readonly number[], last: number): Box {
  return { low, high, last, reach: total(high) + last };
}

/** Keeps boxes in order of what they reach. */
function insert(boxes: Box[], box: Box): void {
  const after = boxes.findLastIndex(({ reach }) => reach <= box.reach);
  boxes.splice(after + 1, 0, box);
}

/** The longest side of a box; undefined if it is a point. */
function widest({ low, high }: Box): number | undefined {
  let side: number | undefined;
  for (let h = 0; h < low.length; h++) {
    if (high[h] > low[h] && (side === undefined || high[h] - low[h] > high[side] - low[side])) side = h;
  }
  return side;
}
