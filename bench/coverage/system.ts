/** @file What bounds can be checked against: effects of every subset of some nodes, and what sampling is to find. */

export interface KnownSystem {
  readonly name: string;
  /** How many nodes U has; subsets are rows 0 … nodes − 1. */
  readonly nodes: number;
  /** How many prompt pairs. */
  readonly pairs: number;
  /** The effect of patching a subset on a prompt pair. */
  effect(pair: number, rows: Uint32Array): number;
  /** m by node: the mean over prompt pairs of its average marginal effect, where others are in with probability p. */
  averageMarginals(probability: number): Float64Array;
  /** By node: the mean over prompt pairs of its effect alone. */
  readonly singles: Float64Array;
  /** Î by node. */
  readonly estimates: Float64Array;
}

/** The largest absolute value, and where it is. */
export function largest(values: Float64Array): { readonly row: number; readonly size: number } {
  let row = 0;
  values.forEach((value, at) => {
    if (Math.abs(value) > Math.abs(values[row])) row = at;
  });
  return { row, size: Math.abs(values[row]) };
}
