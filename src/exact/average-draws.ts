/** @file From runs of every draw of a noise source to runs of every pair. */

import { meanOverDraws } from "../sources/draws.js";
import type { PatchedRuns } from "./patched-runs.js";

/**
 * Patched and unpatched metrics averaged over the draws of each pair; so the change from base to patched is the mean of the
 * draws' changes.
 * @param runs of [pairs, draws]
 */
export function averageDraws(runs: PatchedRuns, draws: number): PatchedRuns {
  if (draws === 1) return runs;
  const metrics = runs.metrics.map(({ name, patched, base, source }) => ({
    name,
    patched: new Float32Array(meanOverDraws(patched, draws, patched.length / base.length)),
    base: meanOverDraws(base, draws),
    source: meanOverDraws(source, draws),
  }));
  return { ...runs, metrics };
}
