/** @file Numbers that people write are float64; the engines compute in float32. */

/**
 * Whether float32 loses a number altogether: it is infinite there, or 0 where the number is not.
 */
export function isLostInFloat32(value: number): boolean {
  const rounded = Math.fround(value);
  return !Number.isFinite(rounded) || (rounded === 0 && value !== 0);
}
