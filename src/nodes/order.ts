/**
 * @file The order of a ranking: nodes by decreasing contribution.
 *
 * Ten million nodes are sorted as 64-bit integers, key above node number, because that runs in native code: a float32
 * that is not negative has the same order as its bits.
 */

/** Bits of the largest key, +∞: keys are counted down from it, so that a plain sort puts large ones first. */
const INFINITY_BITS = 0x7f800000;
const NOT_COMPUTED = 0xffffffff;

/**
 * Node numbers by decreasing contribution in float32 precision; equal ones by node number, NaN (not computed) last.
 * @param size number of nodes, 0 … size − 1
 * @param contributionOf not negative, or NaN
 */
export function orderByContribution(size: number, contributionOf: (node: number) => number): Uint32Array {
  const packed = new BigUint64Array(size);
  const halves = new Uint32Array(packed.buffer); // low half first: every platform Node runs on is little-endian
  const float = new Float32Array(1);
  const bits = new Uint32Array(float.buffer);
  for (let node = 0; node < size; node++) {
    float[0] = contributionOf(node);
    halves[2 * node] = node;
    halves[2 * node + 1] = Number.isNaN(float[0]) ? NOT_COMPUTED : INFINITY_BITS - bits[0];
  }
  packed.sort();
  return Uint32Array.from({ length: size }, (_, rank) => halves[2 * rank]);
}
