/**
 * @file A tree over neighbouring nodes, gone down best first: of all parts patched so far, the one with the largest
 * contribution is cut, and its pieces are patched. A piece of one node is verified by that. Source: Kramár et al. 2024.
 *
 * What a part contributes does not depend on when it is patched. So all parts are patched beforehand here, which is faster, and
 * counted when the search comes to them.
 */

import { CostCounter } from "./cost-counter.js";
import type { JointPlan } from "./joint-plan.js";
import { type Along, neighbours } from "./neighbours.js";
import type { Study } from "./study.js";

export interface HierarchyOptions {
  readonly along: Along;
  /** Pieces that a part is cut into, at least 2. */
  readonly branching: number;
}

/** Several nodes that are patched together. */
interface Part {
  /** Its number among all sets. */
  readonly set: number;
  readonly pieces: readonly Piece[];
}

/** A part, or the place of a single node. */
type Piece = Part | number;

/** Cuts into nearly equal pieces, and those in turn; adds every part to `sets`. */
function cut(places: Uint32Array, branching: number, sets: Uint32Array[]): Piece[] {
  const count = Math.min(branching, places.length);
  const start = (piece: number) => Math.floor((piece * places.length) / count);
  return Array.from({ length: count }, (_, piece) => {
    const within = places.subarray(start(piece), start(piece + 1));
    if (within.length === 1) return within[0];
    const set = sets.push(within) - 1;
    return { set, pieces: cut(within, branching, sets) };
  });
}

export function planHierarchy(
  { space, candidates, pairs, costs }: Omit<Study, "truth">,
  { along, branching }: HierarchyOptions,
): JointPlan {
  const placesOfSets: Uint32Array[] = [];
  const first = cut(neighbours(space, candidates, along), branching, placesOfSets);
  return {
    sets: placesOfSets.map((places) => places.map((place) => candidates[place])),
    verify: (contributions, costsOfParts) => {
      const counter = new CostCounter();
      // For the joint patches and for the single ones.
      counter.addUnpatched(pairs.length);
      counter.addUnpatched(pairs.length);
      /** By increasing contribution. */
      const open: Part[] = [];
      const patch = (pieces: readonly Piece[]): void => {
        for (const piece of pieces) {
          if (typeof piece === "number") {
            counter.verify(piece, costs[piece]);
            continue;
          }
          counter.addPatches(costsOfParts[piece.set]);
          const worse = open.findLastIndex(({ set }) => contributions[set] < contributions[piece.set]);
          open.splice(worse + 1, 0, piece);
        }
      };
      patch(first);
      for (let best = open.pop(); best; best = open.pop()) patch(best.pieces);
      return counter;
    },
  };
}
