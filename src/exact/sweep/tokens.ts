/**
 * @file Tokens of many runs in one flat list, run after run, and where their values lie. A run of a sweep differs from the
 * base run at a few positions only; a block that multiplies such lists multiplies nothing else.
 *
 * Values of the base run of B pairs of T tokens are tables of B·T rows. Lists of a chunk's own values are laid behind such
 * a table; then a row number below B·T means "as in the base run".
 */

import type { Span } from "../../nodes/positions.js";

export interface Tokens {
  /** Positions of each run. */
  readonly spans: readonly Span[];
  /** The first token of each run in the list. */
  readonly offsets: readonly number[];
  /** Number of tokens of all runs. */
  readonly count: number;
}

export function tokensOf(spans: readonly Span[]): Tokens {
  let count = 0;
  const offsets = spans.map(({ first, end }) => {
    const offset = count;
    count += end - first;
    return offset;
  });
  return { spans, offsets, count };
}

/** The tokens of several lists, one after the other. */
export function joinTokens(parts: readonly Tokens[]): Tokens {
  return tokensOf(parts.flatMap(({ spans }) => spans));
}

export function sameTokens(a: Tokens, b: Tokens): boolean {
  return a.spans.every(({ first, end }, r) => first === b.spans[r].first && end === b.spans[r].end);
}

/** The positions that both have, run by run. */
export function commonTokens(a: Tokens, b: Tokens): Tokens {
  return tokensOf(
    a.spans.map(({ first, end }, r) => {
      const start = Math.max(first, b.spans[r].first);
      return { first: start, end: Math.max(start, Math.min(end, b.spans[r].end)) };
    }),
  );
}

/** One number for each token, in the order of the list. */
export function perToken(
  { spans, offsets, count }: Tokens,
  of: (run: number, position: number) => number,
): Int32Array {
  const numbers = new Int32Array(count);
  spans.forEach(({ first, end }, run) => {
    for (let t = first; t < end; t++) numbers[offsets[run] + t - first] = of(run, t);
  });
  return numbers;
}

/** What a chunk's runs have in common. */
export interface Rows {
  /** The pair of each run, as an index into the batch. */
  readonly pairOfRun: readonly number[];
  /** B·T, the rows of a table of the base run. */
  readonly baseRows: number;
  readonly T: number;
}

/** Rows of a table of the base run. */
export function rowsInBase(tokens: Tokens, { pairOfRun, T }: Pick<Rows, "pairOfRun" | "T">): Int32Array {
  return perToken(tokens, (run, t) => pairOfRun[run] * T + t);
}

/** Rows of a table of the base run with the list `own` behind it: own values where there are some. */
export function rowsBehindBase(wanted: Tokens, own: Tokens, { pairOfRun, baseRows, T }: Rows): Int32Array {
  return perToken(wanted, (run, t) => {
    const { first, end } = own.spans[run];
    return t >= first && t < end ? baseRows + own.offsets[run] + t - first : pairOfRun[run] * T + t;
  });
}

/** Rows of the list `within`, which has every wanted token. */
export function rowsWithin(wanted: Tokens, within: Tokens): Int32Array {
  return perToken(wanted, (run, t) => within.offsets[run] + t - within.spans[run].first);
}
