/**
 * @file What a table of metrics prints of patched runs: sums over pairs. The runs of many nodes on many pairs are more than fits in
 * memory; their sums fit, and those of some patches need the runs of no others.
 */

import type { MetricOfRuns } from "./patched-runs.js";

/** One metric of all runs, summed over the pairs that have what is patched. */
export interface MetricSums extends Pick<MetricOfRuns, "name" | "base" | "source"> {
  /** [patches], of the patched runs. */
  readonly patched: Float64Array;
  /** [patches], of the base runs of the same pairs. */
  readonly patchedBase: Float64Array;
  /** [patches], how many pairs these are. */
  readonly count: Uint32Array;
}

/** Zeros, beside the unpatched runs. */
export function makeMetricSums(
  { name, base, source }: Pick<MetricOfRuns, "name" | "base" | "source">,
  patches: number,
): MetricSums {
  return {
    name,
    base,
    source,
    patched: new Float64Array(patches),
    patchedBase: new Float64Array(patches),
    count: new Uint32Array(patches),
  };
}

/** Adds up the pairs in their order: the same bits, whichever patches come together. */
export function sumMetric({ patched, ...unpatched }: MetricOfRuns): MetricSums {
  const { base } = unpatched;
  const patches = patched.length / base.length;
  const sums = makeMetricSums(unpatched, patches);
  for (let pair = 0; pair < base.length; pair++) {
    for (let patch = 0; patch < patches; patch++) {
      const value = patched[pair * patches + patch];
      if (Number.isNaN(value)) continue;
      sums.patched[patch] += value;
      sums.patchedBase[patch] += base[pair];
      sums.count[patch] += 1;
    }
  }
  return sums;
}
