/** @file Whether an excerpt of an output, as a page shows it, is what a command printed. */

/** A number as atpkit prints it, with sign, thousands commas and a full stop behind it that ends a sentence left alone. */
const NUMBER = /^[+-]?\d[\d,]*(?:\.\d+)?(?=\.?$)/;

/**
 * The first line of the excerpt that the output does not have behind the lines before it; undefined if it has them all.
 * "…" alone stands for lines left out; that other lines follow one another is not asked for. White space does not count.
 */
export function missingLine(excerpt: string, output: string): string | undefined {
  const printed = output.split("\n");
  let from = 0;
  for (const line of excerpt.split("\n")) {
    if (line === "…") continue;
    const at = printed.findIndex((candidate, i) => i >= from && saysTheSame(line, candidate));
    if (at < 0) return line;
    from = at + 1;
  }
  return undefined;
}

/**
 * Numbers may differ by one in the last digit that is shown. Engines agree to about 1e-5 of the metric's span, and numbers
 * are printed with four digits at most: only a number close to the middle between two is rounded the other way.
 */
function saysTheSame(shown: string, printed: string): boolean {
  const [words, others] = [shown, printed].map((line) => line.trim().split(/\s+/));
  return words.length === others.length && words.every((word, i) => isSameWord(word, others[i]));
}

function isSameWord(word: string, other: string): boolean {
  const [a, b] = [NUMBER.exec(word)?.[0], NUMBER.exec(other)?.[0]];
  // Whole numbers are counts: ranks, nodes, pairs.
  if (a === undefined || b === undefined || !a.includes(".")) return word === other;
  const decimals = a.length - a.indexOf(".") - 1;
  const unit = 10 ** -decimals;
  const difference = Math.abs(Number(a.replaceAll(",", "")) - Number(b.replaceAll(",", "")));
  return b.length - b.indexOf(".") - 1 === decimals && difference < 1.5 * unit;
}
