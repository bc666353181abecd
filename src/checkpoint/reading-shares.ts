/**
 * @file One order to read weights, cut into shares for several threads. Turning 16-bit floats into float32 takes a core as long as
 * reading them from a fast disk several times over: where there are cores to spare, they share it.
 */

import type { StoredSlice } from "./stored-slice.js";

/** Values in a piece: small beside a layer, large beside the cost of an order. */
export const PIECE_VALUES = 2 ** 22;

/**
 * Shares of about equal size that have every value of the slices once.
 * @param count how many, at least 1; the last ones are empty where there are fewer pieces
 */
export function sharesOf(slices: readonly StoredSlice[], count: number): StoredSlice[][] {
  const shares = Array.from({ length: count }, () => ({ values: 0, slices: [] as StoredSlice[] }));
  const pieces = slices.flatMap(piecesOf).sort((a, b) => valuesOf(b) - valuesOf(a));
  for (const piece of pieces) {
    const least = shares.reduce((low, share) => (share.values < low.values ? share : low));
    least.slices.push(piece);
    least.values += valuesOf(piece);
  }
  return shares.map((share) => share.slices);
}

function valuesOf({ runs }: StoredSlice): number {
  return runs.count * runs.length;
}

/** Cuts between runs, and within them where one is larger than a piece. */
function piecesOf(slice: StoredSlice): StoredSlice[] {
  const { first, count, length, stride } = slice.runs;
  if (count * length <= PIECE_VALUES) return [slice];
  const pieces: StoredSlice[] = [];
  const runsAtOnce = Math.max(1, Math.floor(PIECE_VALUES / length));
  for (let run = 0; run < count; run += runsAtOnce) {
    const runs = Math.min(runsAtOnce, count - run);
    const from = first + run * stride;
    const offset = slice.offset + run * length;
    if (length <= PIECE_VALUES) {
      pieces.push({ ...slice, runs: { first: from, count: runs, length, stride }, offset });
      continue;
    }
    for (let done = 0; done < length; done += PIECE_VALUES) {
      const part = Math.min(PIECE_VALUES, length - done);
      pieces.push({
        ...slice,
        runs: { first: from + done, count: 1, length: part, stride: part },
        offset: offset + done,
      });
    }
  }
  return pieces;
}
