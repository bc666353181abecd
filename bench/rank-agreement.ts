/**
 * @file How well one list of numbers ranks things as another one does. Spearman's correlation with mid-ranks, because
 * many nodes have an effect of exactly 0 and equal numbers must not be ranked by their place in the list.
 */

/** Ranks from 1, smallest first; equal numbers all get the mean of the ranks that they take up. */
export function midRanks(values: ArrayLike<number>): Float64Array {
  const order = Uint32Array.from({ length: values.length }, (_, i) => i).sort(
    (a, b) => values[a] - values[b],
  );
  const ranks = new Float64Array(values.length);
  for (let first = 0; first < order.length; ) {
    let end = first + 1;
    while (end < order.length && values[order[end]] === values[order[first]]) end++;
    for (let i = first; i < end; i++) ranks[order[i]] = (first + 1 + end) / 2;
    first = end;
  }
  return ranks;
}

/** Spearman's rank correlation of two equally long lists without NaN; NaN where either has equal numbers only. */
export function spearman(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new Error(`spearman: expected ${a.length} numbers, got ${b.length}`);
  const [ranksA, ranksB] = [midRanks(a), midRanks(b)];
  const middle = (a.length + 1) / 2;
  let [together, squaresA, squaresB] = [0, 0, 0];
  ranksA.forEach((rankA, i) => {
    const [fromA, fromB] = [rankA - middle, ranksB[i] - middle];
    together += fromA * fromB;
    squaresA += fromA * fromA;
    squaresB += fromB * fromB;
  });
  return together / Math.sqrt(squaresA * squaresB);
}

/**
 * Share of the true first `top` that are among the first `candidates`.
 * @param truth best first
 * @param ranked best first
 */
export function recall(
  truth: ArrayLike<number>,
  ranked: ArrayLike<number>,
  top: number,
  candidates: number,
): number {
  const first = new Set(Array.from(ranked).slice(0, candidates));
  return (
    Array.from(truth)
      .slice(0, top)
      .filter((node) => first.has(node)).length / top
  );
}

/**
 * How many of the ranked ones it takes to have all of the true first `top`: the place, from 1, of the worst-placed one.
 * @param truth best first
 * @param ranked best first; has all of them
 */
export function foundAfter(truth: ArrayLike<number>, ranked: ArrayLike<number>, top: number): number {
  const missing = new Set(Array.from(truth).slice(0, top));
  for (let place = 0; place < ranked.length; place++) {
    if (missing.delete(ranked[place]) && missing.size === 0) return place + 1;
  }
  throw new Error(
    `foundAfter: expected all of the first ${top} to be ranked, got ${missing.size} that are not`,
  );
}
