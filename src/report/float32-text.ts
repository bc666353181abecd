/** @file Numbers as text in exactly float32 precision: what a GPU computed, and no digit more. */

/** Nine significant digits always read back to the same float32; any text of up to six survives the way there and back. */
const ENOUGH_DIGITS = 9;
const SAFE_DIGITS = 6;

/**
 * The shortest decimal text that reads back to the same float32.
 * @param value rounded to float32 first; NaN and infinities keep their names, −0 becomes 0
 */
export function float32Text(value: number): string {
  const rounded = Math.fround(value);
  for (let digits = SAFE_DIGITS; digits < ENOUGH_DIGITS; digits++) {
    const candidate = Number(rounded.toPrecision(digits));
    if (Math.fround(candidate) === rounded) return String(candidate);
  }
  return String(Number(rounded.toPrecision(ENOUGH_DIGITS)));
}
