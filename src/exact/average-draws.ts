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
  const rounded = (values: ArrayLike<number>, width?: number) =>
    new Float32Array(meanOverDraws(values, draws, width));
  const metrics = runs.metrics.map(({ name, patched, base, source }) => ({
    name,
    // Rounded alike, so that a run that nothing changes has no effect.
    patched: rounded(patched, patched.length / base.length),
    base: Float64Array.from(rounded(base)),
    source: Float64Array.from(rounded(source)),
  }));
  return { ...runs, metrics };
}
