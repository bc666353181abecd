/**
 * @file Which nodes to patch one by one, when there is time for some of them: a random sample, denser where estimates are
 * large. Drawn from estimates and a seed before any outcome is seen.
 *
 * Strata have equal shares of the estimated contributions, so the first ones are few nodes. A stratum's part of the budget
 * follows half its number of nodes, half its share of the estimates. So wherever estimates mislead, a node is still drawn half as
 * often as in a uniform sample of the same size.
 */

import { uniformInt } from "pure-rand/distribution/uniformInt";
import { mersenne } from "pure-rand/generator/mersenne";
import type { RandomGenerator } from "pure-rand/types/RandomGenerator";
import { InputError } from "../errors.js";
import type { NodeSet } from "../nodes/node-space.js";
import { orderByContribution } from "../nodes/order.js";
import { contribution, type ScoreTable } from "../nodes/score-table.js";

export const DEFAULT_STRATA = 3;
/** The part of the budget that goes by the number of nodes, whatever the estimates are. */
const BY_NUMBER = 0.5;

export interface StrataOptions {
  /** How many nodes to draw in all, at least 1. */
  readonly budget: number;
  /** An int32. */
  readonly seed: number;
  /** Of the nodes, by flat number. Without them, or where all are 0, the sample is uniform. */
  readonly estimates?: ScoreTable;
  /** Most strata, at least 1; default 3. With 1 the sample is uniform. */
  readonly strata?: number;
}

/** Nodes whose estimates are close, and a uniform sample of them without replacement. */
export interface Stratum {
  /** How many nodes it has. */
  readonly size: number;
  /** Those drawn, ascending; at least one. */
  readonly sample: NodeSet;
  /** Smallest and largest estimated contribution in it; absent without estimates. */
  readonly estimates?: { readonly from: number; readonly to: number };
}

/**
 * Draws the sample. The same nodes, estimates, budget and seed always give the same one.
 *
 * @param nodes each once; all of them are drawn where the budget is at least their number
 * @returns the stratum with the largest estimates first; none if there are no nodes
 * @throws InputError for a budget or number of strata that is not a positive integer, a seed that is not an int32, or an
 *   estimate that is infinite
 */
export function planStrata(nodes: NodeSet, options: StrataOptions): Stratum[] {
  const { budget, seed, estimates, strata = DEFAULT_STRATA } = options;
  for (const [name, value] of Object.entries({ budget, strata })) {
    if (Number.isInteger(value) && value >= 1) continue;
    throw new InputError(`planStrata: expected ${name} to be a positive integer, got ${value}`);
  }
  if ((seed | 0) !== seed) {
    throw new InputError(`planStrata: expected seed to be an integer from -2^31 to 2^31 - 1, got ${seed}`);
  }
  if (nodes.length === 0) return [];
  const groups = estimates
    ? byEstimate(nodes, estimates, Math.min(strata, budget))
    : [{ members: nodes, mass: 1 }];
  const counts = shareBudget(
    groups.map(({ members, mass }) => ({ size: members.length, mass })),
    Math.min(budget, nodes.length),
  );
  const random = mersenne(seed);
  return groups.map(({ members }, g) => ({
    size: members.length,
    sample: drawFrom(members, counts[g], random),
    ...(estimates && { estimates: rangeOf(members, estimates) }),
  }));
}

interface Group {
  /** In order of their estimates. */
  readonly members: NodeSet;
  /** Sum of their estimated contributions. */
  readonly mass: number;
}

/** Parts of the nodes, the largest estimates first, that have about equal sums of them. A node without estimate counts 0. */
function byEstimate(nodes: NodeSet, estimates: ScoreTable, most: number): Group[] {
  const massOf = (place: number) => {
    const mass = contribution(estimates, nodes[place]);
    return Number.isNaN(mass) ? 0 : mass;
  };
  const places = orderByContribution(nodes.length, massOf);
  const sum = places.reduce((total, place) => total + massOf(place), 0);
  if (sum === Number.POSITIVE_INFINITY) {
    throw new InputError("planStrata: expected finite estimates, got an infinite one");
  }
  const groups: Group[] = [];
  let [first, before] = [0, 0];
  for (let part = 1; part <= most; part++) {
    const upTo = part === most ? Number.POSITIVE_INFINITY : (sum * part) / most;
    let [end, mass] = [first, 0];
    // A node belongs to the part that the middle of its own mass lies in; zeros share the last part.
    while (end < places.length && before + mass + massOf(places[end]) / 2 < upTo)
      mass += massOf(places[end++]);
    if (end > first) groups.push({ members: places.slice(first, end).map((place) => nodes[place]), mass });
    first = end;
    before += mass;
  }
  return groups;
}

/**
 * How many to draw from each: one, and of the rest of the budget what half its size and half its mass ask for. What a group
 * cannot take, because all of it is drawn, goes to the others.
 * @param budget between the number of groups and the sum of their sizes
 */
function shareBudget(
  groups: readonly { readonly size: number; readonly mass: number }[],
  budget: number,
): number[] {
  const sizes = groups.reduce((sum, { size }) => sum + size, 0);
  const masses = groups.reduce((sum, { mass }) => sum + mass, 0);
  const weights = groups.map(({ size, mass }) =>
    masses > 0 ? (BY_NUMBER * size) / sizes + ((1 - BY_NUMBER) * mass) / masses : size / sizes,
  );
  const counts = groups.map(() => 1);
  let left = budget - groups.length;
  let open = groups.map((_, g) => g);
  for (;;) {
    const weight = open.reduce((sum, g) => sum + weights[g], 0);
    const full = open.filter((g) => (left * weights[g]) / weight >= groups[g].size - 1);
    if (full.length === 0) {
      // Rounded ends of their parts: the counts add up, and none is rounded above its size.
      let [end, given] = [0, 0];
      for (const g of open) {
        end += (left * weights[g]) / weight;
        counts[g] += Math.round(end) - given;
        given = Math.round(end);
      }
      return counts;
    }
    for (const g of full) {
      counts[g] = groups[g].size;
      left -= groups[g].size - 1;
    }
    open = open.filter((g) => !full.includes(g));
  }
}

/** The first `count` of a random order of the nodes, sorted. */
function drawFrom(nodes: NodeSet, count: number, random: RandomGenerator): NodeSet {
  if (count === nodes.length) return nodes.slice().sort();
  const shuffled = nodes.slice();
  for (let place = 0; place < count; place++) {
    const from = uniformInt(random, place, nodes.length - 1);
    [shuffled[place], shuffled[from]] = [shuffled[from], shuffled[place]];
  }
  return shuffled.slice(0, count).sort();
}

function rangeOf(nodes: NodeSet, estimates: ScoreTable): { from: number; to: number } {
  let [from, to] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const node of nodes) {
    const value = contribution(estimates, node);
    if (value < from) from = value;
    if (value > to) to = value;
  }
  return { from, to };
}
