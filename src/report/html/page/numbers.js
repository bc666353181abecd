// @ts-check
/** @file Numbers for people, as the words of the page have them: four digits, a real minus, a plus where a sign matters. */

const DIGITS = 4;
const SMALLEST_PLAIN = 1e-4;
const fewDigits = new Intl.NumberFormat("en-US", { maximumSignificantDigits: DIGITS });
const allDigits = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 21 });

/** @param {number} value */
export function plainText(value) {
  if (!Number.isFinite(value)) return String(value).replace("-", "−");
  const size = Math.abs(value);
  const format = size >= 10 ** DIGITS ? allDigits : fewDigits;
  const text =
    size !== 0 && size < SMALLEST_PLAIN
      ? size.toExponential(DIGITS - 2).replace("-", "−")
      : format.format(size);
  return value < 0 ? `−${text}` : text;
}

const justDigits = new Intl.NumberFormat("en-US", {
  minimumSignificantDigits: DIGITS,
  maximumSignificantDigits: DIGITS,
});

/**
 * A measured value: always four digits, so that a column of them can be compared.
 * @param {number} value
 */
export function measuredText(value) {
  const size = Math.abs(value);
  if (!Number.isFinite(value) || size < SMALLEST_PLAIN || size >= 10 ** DIGITS) return plainText(value);
  return `${value < 0 ? "−" : ""}${justDigits.format(size)}`;
}

/** @param {number} value */
export function signedText(value) {
  return value > 0 ? `+${measuredText(value)}` : measuredText(value);
}

/** @param {number} share */
export function percentText(share) {
  const percent = 100 * share;
  if (!Number.isFinite(percent)) return signedText(percent);
  return `${percent < 0 ? "−" : "+"}${Math.abs(percent).toFixed(1)} %`;
}

/**
 * For a cell of a picture: so many digits that the limit of its colours has three.
 * @param {number} value
 * @param {number} limit
 */
export function shortText(value, limit) {
  const decimals = Math.min(6, Math.max(0, 2 - Math.floor(Math.log10(limit))));
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(decimals)}`;
}
