/**
 * @file What can be said of patched runs that were stopped in the middle: means over pairs compare only where they are over the same
 * pairs, so what is kept is a rectangle of pairs × patches without holes.
 */

import { groupOf, type NodeSpace } from "../nodes/node-space.js";
import { spanInPair } from "../nodes/positions.js";
import type { VerifiedNodes } from "../nodes/ranking.js";
import type { Pair } from "../prompts/pair.js";
import type { MetricOfRuns, PatchedRuns } from "./patched-runs.js";
import { scoresOfRuns } from "./scores-of-runs.js";

/** Some of the pairs, and of the patches, all of whose runs were made. */
export interface PartialRuns extends PatchedRuns {
  /** Places of the pairs among all, in order. */
  readonly pairs: readonly number[];
  /** Places of the patches among all, in order. */
  readonly patches: Uint32Array;
}

/**
 * The patches that are done on all pairs; if none is, all patches on the pairs that are done; if none is, the patches that are done
 * on all pairs that were begun.
 *
 * @param runs stopped; NaN where a run is missing, or a pair lacks what is patched
 * @param has whether a pair has what a patch changes
 * @returns undefined where no run was made
 */
export function partialRuns(
  runs: PatchedRuns,
  patches: number,
  has: (pair: number, patch: number) => boolean,
): PartialRuns | undefined {
  const [{ patched, base }] = runs.metrics;
  const isDone = (pair: number, patch: number) => !Number.isNaN(patched[pair * patches + patch]);
  const isOpen = (pair: number, patch: number) => !isDone(pair, patch) && has(pair, patch);
  const allPairs = Array.from(base.keys());
  const allPatches = Uint32Array.from({ length: patches }, (_, patch) => patch);
  const doneOn = (pairs: readonly number[]) =>
    allPatches.filter(
      (patch) => pairs.some((pair) => isDone(pair, patch)) && !pairs.some((pair) => isOpen(pair, patch)),
    );
  const begun = allPairs.filter((pair) => allPatches.some((patch) => isDone(pair, patch)));
  const done = begun.filter((pair) => !allPatches.some((patch) => isOpen(pair, patch)));
  const everywhere = doneOn(allPairs);
  const choices = [
    { pairs: allPairs, patches: everywhere },
    { pairs: done, patches: doneOn(done) },
    { pairs: begun, patches: doneOn(begun) },
  ];
  const kept = choices.find((choice) => choice.pairs.length > 0 && choice.patches.length > 0);
  if (!kept) return undefined;
  const { forwardEquivalents } = runs;
  return { ...kept, metrics: runs.metrics.map((metric) => part(metric, patches, kept)), forwardEquivalents };
}

/** Whether a pair has a node: its position or role. */
export function isOfPair(space: NodeSpace, node: number, pair: Pair): boolean {
  const { offset, indices } = groupOf(space, node);
  return spanInPair(space.labels[Math.floor((node - offset) / indices)], pair) !== undefined;
}

/** The same of nodes that were patched one by one: undefined where no run was made. */
export function partialOfNodes(
  soFar: PatchedRuns,
  pairs: readonly Pair[],
  space: NodeSpace,
  nodes: Uint32Array,
): (PatchedRuns & { readonly pairs: readonly Pair[]; readonly verified: VerifiedNodes }) | undefined {
  const partial = partialRuns(soFar, nodes.length, (pair, at) => isOfPair(space, nodes[at], pairs[pair]));
  if (!partial) return undefined;
  const { patches, metrics, forwardEquivalents } = partial;
  const verified = {
    nodes: patches.map((at) => nodes[at]),
    scores: scoresOfRuns(metrics[0], patches.length),
  };
  return { pairs: partial.pairs.map((pair) => pairs[pair]), verified, metrics, forwardEquivalents };
}

function part(
  { name, patched, base, source }: MetricOfRuns,
  width: number,
  { pairs, patches }: Pick<PartialRuns, "pairs" | "patches">,
): MetricOfRuns {
  const values = new Float32Array(pairs.length * patches.length);
  pairs.forEach((pair, p) => {
    patches.forEach((patch, at) => {
      values[p * patches.length + at] = patched[pair * width + patch];
    });
  });
  return {
    name,
    patched: values,
    base: Float64Array.from(pairs, (pair) => base[pair]),
    source: Float64Array.from(pairs, (pair) => source[pair]),
  };
}
