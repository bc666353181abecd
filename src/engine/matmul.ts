/**
 * @file The one place where tensors are multiplied. Every matrix product of the project goes through `product` (two
 * matrices) or `batchedProduct` (equal stacks of matrices), because the embedded engine multiplies fast, and right,
 * only in one form:
 *
 * - it runs 2-D × 2-D without transpose flags at full speed and everything else in a scalar loop, so a transposed
 *   factor is turned into that form here: A·Bᵀ = (B·Aᵀ)ᵀ, where only A and the result (activations) are moved, never
 *   B (a weight);
 * - it is wrong where leading dimensions are broadcast, so here they are made equal first;
 * - it caches the packed right-hand factor by storage and not by shape, so the same storage in another shape gives
 *   wrong values. `asRightFactor` remembers each shape and copies when it changes.
 *
 * On the native engine all of this is one call.
 */

import * as tf from "@tensorflow/tfjs-core";

/** Shape under which a storage was last given to the embedded engine as a right-hand factor. */
const packedShape = new WeakMap<tf.DataId, string>();

function isEmbedded(): boolean {
  return tf.getBackend() === "wasm";
}

function asRightFactor(b: tf.Tensor2D): tf.Tensor2D {
  const shape = b.shape.join("x");
  const known = packedShape.get(b.dataId);
  if (known !== undefined && known !== shape) return tf.add(b, 0);
  packedShape.set(b.dataId, shape);
  return b;
}

/**
 * Matrix product of two matrices, either of them transposed on the way.
 *
 * @param a [m, k], or [k, m] with `transposeA`
 * @param b [k, n], or [n, k] with `transposeB`
 * @returns [m, n], owned by the caller
 * @throws Error if the inner sizes differ
 */
export function product(
  a: tf.Tensor2D,
  b: tf.Tensor2D,
  { transposeA = false, transposeB = false }: { transposeA?: boolean; transposeB?: boolean } = {},
): tf.Tensor2D {
  const innerA = transposeA ? a.shape[0] : a.shape[1];
  const innerB = transposeB ? b.shape[1] : b.shape[0];
  if (innerA !== innerB) {
    throw new Error(`product: expected equal inner sizes, got ${innerA} and ${innerB}`);
  }
  if (!isEmbedded()) return tf.matMul(a, b, transposeA, transposeB);
  return tf.tidy(() => {
    const left = transposeA ? tf.transpose(a) : a;
    if (!transposeB) return tf.matMul(left, asRightFactor(b));
    return tf.transpose(tf.matMul(b, asRightFactor(tf.transpose(left))));
  });
}

/**
 * Products of two stacks of matrices: result[i] = a[i]·b[i].
 *
 * @param a [..., m, k]
 * @param b [..., k, n], the same leading dimensions; one of the two may have one more in front, a stream axis S, and
 *   the other is then used for every stream
 * @param transposeA `a` holds [k, m] matrices
 * @param transposeB `b` holds [n, k] matrices
 * @returns [..., m, n] with the longer list of leading dimensions
 * @throws Error if the leading dimensions do not fit
 */
export function batchedProduct(
  a: tf.Tensor,
  b: tf.Tensor,
  { transposeA = false, transposeB = false }: { transposeA?: boolean; transposeB?: boolean } = {},
): tf.Tensor {
  const lead = (a.rank >= b.rank ? a : b).shape.slice(0, -2);
  const fits = (x: tf.Tensor) =>
    x.rank >= lead.length + 1 && x.shape.slice(0, -2).join() === lead.slice(lead.length + 2 - x.rank).join();
  if (!fits(a) || !fits(b)) {
    throw new Error(
      `batchedProduct: expected equal leading dimensions (one stream axis apart), got [${a.shape}] and [${b.shape}]`,
    );
  }
  if (!isEmbedded()) return tf.matMul(a, b, transposeA, transposeB);
  return tf.tidy(() => {
    const stack = lead.reduce((x, y) => x * y, 1);
    const left = asStack(a, lead, stack);
    const right = asStack(b, lead, stack);
    const result =
      stack === 1
        ? product(tf.squeeze(left, [0]), tf.squeeze(right, [0]), { transposeA, transposeB })
        : tf.matMul(left, right, transposeA, transposeB);
    return tf.reshape(result, [...lead, ...result.shape.slice(-2)]);
  });
}

/** [..., m, n] -> [stack, m, n], repeated for every stream where it has no stream axis. */
function asStack(x: tf.Tensor, lead: readonly number[], stack: number): tf.Tensor3D {
  const perStream = x.rank === lead.length + 2 ? stack : stack / lead[0];
  const matrices = tf.reshape(x, [perStream, x.shape[x.rank - 2], x.shape[x.rank - 1]]) as tf.Tensor3D;
  // Not tf.tile, which the embedded engine runs element by element.
  return perStream === stack ? matrices : tf.concat(Array(stack / perStream).fill(matrices), 0);
}
