/**
 * @file Sums over pairs for many nodes: Σ|x|, Σx, Σx² and n. Sums of float32 effects in float64; tables of disjoint
 * sets of pairs add up (in a fixed order, to the same bits), so a job can be cut into shards of pairs.
 */

/** Sums per node; index with the flat node number of a space. 28 bytes a node, and 8 for each flag. */
export interface ScoreTable {
  readonly size: number;
  /** Σ|x|; for GradDrop the sum of each pair's mean absolute estimate over the dropped layers. */
  readonly sumAbs: Float64Array;
  readonly sum: Float64Array;
  readonly sumSquares: Float64Array;
  /** Pairs that have a value for the node; 0 means "not computed". */
  readonly count: Uint32Array;
  /** Absent where nothing was estimated in more than one way. */
  readonly flags?: FlagSums;
}

/** Sums over pairs that say where and why plain AtP may be wrong. */
export interface FlagSums {
  /** Σ|QK-fixed estimate − plain estimate|; present with the QK fix. */
  readonly saturation?: Float64Array;
  /** Σ|plain estimate| and the same under GradDrop, both without the QK fix; present with GradDrop. */
  readonly cancellation?: { readonly plain: Float64Array; readonly dropped: Float64Array };
}

/** A table of `size` nodes without any value yet. */
export function makeScoreTable(
  size: number,
  flags: { readonly saturation?: boolean; readonly cancellation?: boolean } = {},
): ScoreTable {
  const sums = () => new Float64Array(size);
  return {
    size,
    sumAbs: sums(),
    sum: sums(),
    sumSquares: sums(),
    count: new Uint32Array(size),
    ...((flags.saturation || flags.cancellation) && {
      flags: {
        ...(flags.saturation && { saturation: sums() }),
        ...(flags.cancellation && { cancellation: { plain: sums(), dropped: sums() } }),
      },
    }),
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
 * Where the numbers of several pairs for a run of neighbouring nodes lie in an array: that of the i-th node and the p-th pair
 * at `starts[p] + i·step`.
 */
export interface NodeRow {
  /** The first node; `count` nodes follow each other. */
  readonly node: number;
  readonly count: number;
  /** One entry per pair that has the nodes. */
  readonly starts: readonly number[];
  readonly step: number;
}

/**
 * `addScore` for a row of nodes and several pairs. The inner loop of every estimate: each sum is read and written once, and
 * the pairs are added to it in their order.
 */
export function addScores(
  table: ScoreTable,
  { node, count, starts, step }: NodeRow,
  effects: Float32Array,
): void {
  const { sumAbs, sum, sumSquares } = table;
  for (let i = 0; i < count; i++) {
    let total = sum[node + i];
    let magnitude = sumAbs[node + i];
    let squares = sumSquares[node + i];
    for (let p = 0; p < starts.length; p++) {
      const effect = effects[starts[p] + i * step];
      total += effect;
      magnitude += Math.abs(effect);
      squares += effect * effect;
    }
    sum[node + i] = total;
    sumAbs[node + i] = magnitude;
    sumSquares[node + i] = squares;
    table.count[node + i] += starts.length;
  }
}

/** Adds a row of numbers to one column. */
export function addToColumn(
  column: Float64Array,
  { node, count, starts, step }: NodeRow,
  values: Float32Array,
): void {
  for (let i = 0; i < count; i++) {
    let total = column[node + i];
    for (let p = 0; p < starts.length; p++) total += values[starts[p] + i * step];
    column[node + i] = total;
  }
}

/** Adds signed estimates to Σx, Σx² and n, for methods that add their contributions to Σ|x| themselves. */
export function addSigned(
  table: ScoreTable,
  { node, count, starts, step }: NodeRow,
  values: Float32Array,
): void {
  const { sum, sumSquares } = table;
  for (let i = 0; i < count; i++) {
    let total = sum[node + i];
    let squares = sumSquares[node + i];
    for (let p = 0; p < starts.length; p++) {
      const value = values[starts[p] + i * step];
      total += value;
      squares += value * value;
    }
    sum[node + i] = total;
    sumSquares[node + i] = squares;
    table.count[node + i] += starts.length;
  }
}

/** Adds 0 for every node and pair of a row: their effect is known to be none. */
export function addZeros({ count }: ScoreTable, row: NodeRow): void {
  for (let i = 0; i < row.count; i++) count[row.node + i] += row.starts.length;
}

/**
 * Adds the sums of `from` to `into`, in place. Float addition depends on order: for the same bits merge the same
 * shards in the same order.
 * @throws Error if the sizes differ
 */
export function mergeScores(into: ScoreTable, from: ScoreTable): void {
  const [sums, added] = [columnsOf(into), columnsOf(from)];
  if (into.size !== from.size || sums.length !== added.length) {
    throw new Error(
      `mergeScores: expected a table of ${into.size} nodes and ${sums.length} columns, got ${from.size} and ${added.length}`,
    );
  }
  sums.forEach((column, c) => {
    for (let node = 0; node < into.size; node++) column[node] += added[c][node];
  });
}

function columnsOf({ sumAbs, sum, sumSquares, count, flags }: ScoreTable): (Float64Array | Uint32Array)[] {
  return [
    sumAbs,
    sum,
    sumSquares,
    count,
    ...(flags?.saturation ? [flags.saturation] : []),
    ...(flags?.cancellation ? [flags.cancellation.plain, flags.cancellation.dropped] : []),
  ];
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

/**
 * How far the attention softmax is from linear: mean over pairs of |QK-fixed estimate − plain estimate|. 0 for nodes that
 * are not queries or keys; NaN without the QK fix.
 */
export function saturationGap({ flags, count }: ScoreTable, node: number): number {
  return flags?.saturation ? flags.saturation[node] / count[node] : Number.NaN;
}

/**
 * How much of the effect cancels between paths: GradDrop contribution ÷ plain contribution, both without the QK fix. 1 is
 * no cancellation, ∞ a plain estimate of exactly 0 that is not 0 under GradDrop; NaN where both are 0, or without GradDrop.
 */
export function cancellationRatio({ flags }: ScoreTable, node: number): number {
  if (!flags?.cancellation) return Number.NaN;
  return flags.cancellation.dropped[node] / flags.cancellation.plain[node];
}
