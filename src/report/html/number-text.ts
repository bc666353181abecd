/** @file Numbers for people: signs are part of the result, so a minus is a minus and a plus is written. */

const DIGITS = 4;

/** Below it, powers of ten are easier to read. */
const SMALLEST_PLAIN = 1e-4;

/** Four digits, such as "0.1234", "12.35", "47,610"; not-a-number and infinities keep their names. */
export function plainNumber(value: number): string {
  if (!Number.isFinite(value)) return String(value).replace("-", "−");
  const size = Math.abs(value);
  const text =
    size !== 0 && size < SMALLEST_PLAIN
      ? size.toExponential(DIGITS - 2).replace("-", "−")
      : size.toLocaleString("en-US", { maximumSignificantDigits: size >= 10 ** DIGITS ? 21 : DIGITS });
  return value < 0 ? `−${text}` : text;
}

/** A measured value: always four digits, "2.320", so that a column of them can be compared. */
export function measuredNumber(value: number): string {
  const size = Math.abs(value);
  if (!Number.isFinite(value) || size < SMALLEST_PLAIN || size >= 10 ** DIGITS) return plainNumber(value);
  const text = size.toLocaleString("en-US", {
    minimumSignificantDigits: DIGITS,
    maximumSignificantDigits: DIGITS,
  });
  return value < 0 ? `−${text}` : text;
}

/** The same with "+" before what is above 0. */
export function signedNumber(value: number): string {
  return value > 0 ? `+${measuredNumber(value)}` : measuredNumber(value);
}

/** "+101.5 %" of 1.015 */
export function signedPercent(share: number): string {
  const percent = 100 * share;
  if (!Number.isFinite(percent)) return signedNumber(percent);
  return `${percent < 0 ? "−" : "+"}${Math.abs(percent).toFixed(1)} %`;
}

/** For a cell of a picture: so many digits that the limit of its colours has three, "+23.1", "−0.043". */
export function cellNumber(value: number, limit: number): string {
  const decimals = Math.min(6, Math.max(0, 2 - Math.floor(Math.log10(limit))));
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(decimals)}`;
}
