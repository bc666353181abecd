/**
 * @file Sums over pairs for many nodes: Σ|x|, Σx, Σx² and n. Sums of float32 effects in float64; tables of disjoint
 * sets of pairs add up (in a fixed order, to the same bits), so a job can be cut into shards of pairs.
 */

/** Sums per node; index with the flat node number of a space. 28 bytes a node. */
export interface ScoreTable {
  readonly size: number;
  readonly sumAbs: Float64Array;
  readonly sum: Float64Array;
  readonly sumSquares: Float64Array;
  /** Pairs that have a value for the node; 0 means "not computed". */
  readonly count: Uint32Array;
}

/** A table of `size` nodes without any value yet. */
export function makeScoreTable(size: number): ScoreTable {
  return {
    size,
    sumAbs: new Float64Array(size),
    sum: new Float64Array(size),
    sumSquares: new Float64Array(size),
    count: new Uint32Array(size),
  };
}

/** Adds one pair's effect (or estimate) of one node. NaN is kept: a metric that broke must not look like 0. */
export function addScore(table: ScoreTable, node: number, effect: number): void {
  table.sumAbs[node] += Math.abs(effect);
  table.sum[node] += effect;
  table.sumSquares[node] += effect * effect;
  table.count[node] += 1;
}

/**
 * `addScore` for `count` nodes from `first` on, whose effects lie `step` apart in `effects`, from `start` on. The inner
 * loop of every estimate: views of the range cost less than bounds checks against the whole table.
 */
export function addScores(
  table: ScoreTable,
  first: number,
  count: number,
  effects: Float32Array,
  start: number,
  step: number,
): void {
  const sumAbs = table.sumAbs.subarray(first, first + count);
  const sum = table.sum.subarray(first, first + count);
  const sumSquares = table.sumSquares.subarray(first, first + count);
  const pairs = table.count.subarray(first, first + count);
  for (let i = 0, at = start; i < count; i++, at += step) {
    const effect = effects[at];
    sumAbs[i] += Math.abs(effect);
    sum[i] += effect;
    sumSquares[i] += effect * effect;
    pairs[i] += 1;
  }
}

/**
 * Adds the sums of `from` to `into`, in place. Float addition depends on order: for the same bits merge the same
 * shards in the same order.
 * @throws Error if the sizes differ
 */
export function mergeScores(into: ScoreTable, from: ScoreTable): void {
  if (into.size !== from.size) {
    throw new Error(`mergeScores: expected a table of ${into.size} nodes, got ${from.size}`);
  }
  for (let node = 0; node < into.size; node++) {
    into.sumAbs[node] += from.sumAbs[node];
    into.sum[node] += from.sum[node];
    into.sumSquares[node] += from.sumSquares[node];
    into.count[node] += from.count[node];
  }
}

/** c(n): mean over pairs of the absolute effect, the ranking key. NaN where not computed. */
export function contribution({ sumAbs, count }: ScoreTable, node: number): number {
  return sumAbs[node] / count[node];
}

/** Signed mean over pairs. NaN where not computed. */
export function meanEffect({ sum, count }: ScoreTable, node: number): number {
  return sum[node] / count[node];
}

/** Standard error of the signed mean, √(Σ(x − x̄)² / (n(n − 1))). NaN for fewer than two pairs. */
export function standardError({ sum, sumSquares, count }: ScoreTable, node: number): number {
  const n = count[node];
  if (n < 2) return Number.NaN;
  const squaredDeviations = Math.max(0, sumSquares[node] - (sum[node] * sum[node]) / n);
  return Math.sqrt(squaredDeviations / (n * (n - 1)));
}
