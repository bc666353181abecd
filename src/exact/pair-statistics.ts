/** @file Means over pairs and how sure they are. */

/** NaN for no values. */
export function meanOf(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i];
  return sum / values.length;
}

/** Standard error of the mean, √(Σ(x − x̄)² / (n(n − 1))); undefined for fewer than two values. */
export function standardErrorOf(values: ArrayLike<number>): number | undefined {
  const n = values.length;
  if (n < 2) return undefined;
  const mean = meanOf(values);
  let squares = 0;
  for (let i = 0; i < n; i++) squares += (values[i] - mean) ** 2;
  return Math.sqrt(squares / (n * (n - 1)));
}

export interface Ratio {
  readonly ratio: number;
  /** Undefined for fewer than two pairs. */
  readonly se?: number;
}

/**
 * r = x̄ ÷ ȳ of paired values. The mean of the ratios would be ruled by the pairs whose y is near 0. Its standard error is
 * that of the linearized ratio (delta method), √(Σ(x − r·y)² / (n(n − 1))) / |ȳ|.
 * @returns undefined where ȳ is 0
 */
export function ratioOfMeans(x: ArrayLike<number>, y: ArrayLike<number>): Ratio | undefined {
  const denominator = meanOf(y);
  if (denominator === 0) return undefined;
  const ratio = meanOf(x) / denominator;
  const se = standardErrorOf(Array.from(x, (value, pair) => value - ratio * y[pair]));
  return { ratio, ...(se !== undefined && { se: se / Math.abs(denominator) }) };
}
