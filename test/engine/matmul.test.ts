import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { batchedProduct, product } from "../../src/engine/matmul.js";
import { startTestEngine } from "../support/engine.js";

beforeAll(async () => {
  await startTestEngine();
});

/** Small integers, so that every product is exact in float32 and compared without tolerance. */
function integers(size: number, seed: number): Float32Array {
  return Float32Array.from({ length: size }, (_, i) => ((i * 7 + seed * 13 + ((i * i) % 5)) % 9) - 4);
}

/** The definition, over stacks: result[s][i][j] = Σ_k a[s][i][k]·b[s][k][j]. */
function byDefinition(a: Float32Array, b: Float32Array, m: number, k: number, n: number): number[] {
  const stacks = a.length / (m * k);
  const result: number[] = [];
  for (let s = 0; s < stacks; s++) {
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let x = 0; x < k; x++) sum += a[(s * m + i) * k + x] * b[(s * k + x) * n + j];
        result.push(sum);
      }
    }
  }
  return result;
}

/** Exchanges the last two axes of stacks of [rows, columns]. */
function transposed(data: Float32Array, rows: number, columns: number): Float32Array {
  return data.map((_, at) => {
    const stack = Math.floor(at / (rows * columns));
    const within = at % (rows * columns);
    return data[stack * rows * columns + (within % rows) * columns + Math.floor(within / rows)];
  });
}

const sizes = fc.record({
  m: fc.integer({ min: 1, max: 9 }),
  k: fc.integer({ min: 1, max: 9 }),
  n: fc.integer({ min: 1, max: 9 }),
  transposeA: fc.boolean(),
  transposeB: fc.boolean(),
});

describe("product", () => {
  it("equals the definition for every shape and orientation", () => {
    fc.assert(
      fc.property(sizes, ({ m, k, n, transposeA, transposeB }) => {
        const a = integers(m * k, 1);
        const b = integers(k * n, 2);
        const left = tf.tensor2d(transposeA ? transposed(a, m, k) : a, transposeA ? [k, m] : [m, k]);
        const right = tf.tensor2d(transposeB ? transposed(b, k, n) : b, transposeB ? [n, k] : [k, n]);
        const got = product(left, right, { transposeA, transposeB });
        expect(got.shape).toEqual([m, n]);
        expect(Array.from(got.dataSync(), (x) => x + 0)).toEqual(
          byDefinition(a, b, m, k, n).map((x) => x + 0),
        );
        tf.dispose([left, right, got]);
      }),
    );
  });

  it("is right when the same storage is the right factor in two shapes", () => {
    // The embedded engine's cache of packed right factors knows the storage and not the shape.
    const data = integers(24, 3);
    const b = tf.tensor2d(data, [4, 6]);
    const reshaped = tf.reshape(b, [6, 4]) as tf.Tensor2D;
    const a4 = integers(8, 4);
    const a6 = integers(12, 5);
    const first = product(tf.tensor2d(a4, [2, 4]), b);
    const second = product(tf.tensor2d(a6, [2, 6]), reshaped);
    const third = product(tf.tensor2d(a4, [2, 4]), b);
    expect([...first.dataSync()]).toEqual(byDefinition(a4, data, 2, 4, 6));
    expect([...second.dataSync()]).toEqual(byDefinition(a6, data, 2, 6, 4));
    expect([...third.dataSync()]).toEqual(byDefinition(a4, data, 2, 4, 6));
  });

  it("refuses factors that do not fit", () => {
    expect(() => product(tf.zeros([2, 3]), tf.zeros([4, 5]))).toThrow(
      "product: expected equal inner sizes, got 3 and 4",
    );
  });

  it("leaves nothing behind", () => {
    const a = tf.ones([3, 4]) as tf.Tensor2D;
    const b = tf.ones([5, 4]) as tf.Tensor2D;
    const before = tf.memory().numTensors;
    product(a, b, { transposeB: true }).dispose();
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe("batchedProduct", () => {
  it("equals the definition for every shape and orientation, with a stream axis on neither, either side", () => {
    const batched = fc.record({
      sizes,
      B: fc.integer({ min: 1, max: 3 }),
      K: fc.integer({ min: 1, max: 3 }),
      S: fc.integer({ min: 1, max: 3 }),
      streamsOn: fc.constantFrom("none", "left", "right"),
    });
    fc.assert(
      fc.property(batched, ({ sizes: { m, k, n, transposeA, transposeB }, B, K, S, streamsOn }) => {
        const streams = streamsOn === "none" ? 1 : S;
        const a = integers((streamsOn === "left" ? S : 1) * B * K * m * k, 6);
        const b = integers((streamsOn === "right" ? S : 1) * B * K * k * n, 7);
        const repeat = (data: Float32Array, times: number) =>
          Float32Array.from({ length: data.length * times }, (_, i) => data[i % data.length]);
        const wanted = byDefinition(
          streamsOn === "right" ? repeat(a, S) : a,
          streamsOn === "left" ? repeat(b, S) : b,
          m,
          k,
          n,
        );
        const lead = (on: string) => (streamsOn === on ? [S, B, K] : [B, K]);
        const left = tf.tensor(transposeA ? transposed(a, m, k) : a, [
          ...lead("left"),
          ...(transposeA ? [k, m] : [m, k]),
        ]);
        const right = tf.tensor(transposeB ? transposed(b, k, n) : b, [
          ...lead("right"),
          ...(transposeB ? [n, k] : [k, n]),
        ]);
        const got = batchedProduct(left, right, { transposeA, transposeB });
        expect(got.shape).toEqual([...(streamsOn === "none" ? [] : [streams]), B, K, m, n]);
        expect(Array.from(got.dataSync(), (x) => x + 0)).toEqual(wanted.map((x) => x + 0));
        tf.dispose([left, right, got]);
      }),
    );
  });

  it("refuses stacks that do not fit", () => {
    expect(() => batchedProduct(tf.zeros([2, 3, 4]), tf.zeros([3, 4, 5]))).toThrow(
      "batchedProduct: expected equal leading dimensions (one stream axis apart), got [2,3,4] and [3,4,5]",
    );
  });
});
