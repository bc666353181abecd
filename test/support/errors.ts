/** @file Distances between float32 results and float64 references. */

function checkLengths(got: ArrayLike<number>, wanted: ArrayLike<number>): void {
  if (got.length !== wanted.length) throw new Error(`expected ${wanted.length} numbers, got ${got.length}`);
}

/** ‖got − wanted‖ / ‖wanted‖ */
export function relativeError(got: ArrayLike<number>, wanted: ArrayLike<number>): number {
  checkLengths(got, wanted);
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < wanted.length; i++) {
    difference += (got[i] - wanted[i]) ** 2;
    norm += wanted[i] ** 2;
  }
  return Math.sqrt(difference / norm);
}

/** max |got − wanted| */
export function largestError(got: ArrayLike<number>, wanted: ArrayLike<number>): number {
  checkLengths(got, wanted);
  let largest = 0;
  for (let i = 0; i < wanted.length; i++) largest = Math.max(largest, Math.abs(got[i] - wanted[i]));
  return largest;
}
