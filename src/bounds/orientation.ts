/**
 * @file Orientation: the sign with which a node's effects on a prompt pair are counted. Effects that have opposite signs on
 * different pairs cancel in a plain mean over pairs; a contribution, the mean of absolute effects, keeps them. With the sign of
 * each pair's estimate
 *
 *   m(n) = mean over pairs of s_x(n)·m_x(n),   s_x(n) = sign of Î_x(n), + for 0
 *
 * is the mean of |m_x(n)| where estimates have the right signs, and never more than that. Signs are fixed before sampling, so
 * bounds are as valid as without.
 */

/** By pair: 1 or −1 for every node, in the order of the estimates. */
export type Orientation = readonly Int8Array[];

/** @param estimates by pair */
export function orientationOf(estimates: readonly ArrayLike<number>[]): Orientation {
  return estimates.map((list) =>
    Int8Array.from({ length: list.length }, (_, row) => (list[row] < 0 ? -1 : 1)),
  );
}
