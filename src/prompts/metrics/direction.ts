/**
 * @file Metrics that are linear in the logits: a fixed direction per pair, u = Σ_t w_t·W_U[t]. The value is final·u
 * and the gradient is u itself, so only the rows of the tokens named by the pairs are ever read.
 *
 *   logit-diff   mean logit of the answers − mean logit of the wrong answers
 *   logit        mean logit of the answers
 */

import * as tf from "@tensorflow/tfjs-core";
import { product } from "../../engine/matmul.js";
import type { Pair } from "../pair.js";
import type { MetricInput, OutputMetric, PreparedMetric } from "./metric.js";

type TokenWeights = (pair: Pair) => Map<number, number>;

function meanOver(
  tokens: readonly number[],
  sign: number,
  into = new Map<number, number>(),
): Map<number, number> {
  for (const token of tokens) into.set(token, sign / tokens.length);
  return into;
}

/** u of every pair, [B, D]: a sum of gathered rows, as one small product. */
async function directions(
  { pairs, weights: provider }: MetricInput,
  weightsOf: TokenWeights,
): Promise<tf.Tensor2D> {
  const weights = pairs.map(weightsOf);
  const tokens = [...new Set(weights.flatMap((w) => [...w.keys()]))];
  const matrix = weights.flatMap((w) => tokens.map((token) => w.get(token) ?? 0));
  const rows = await provider.unembeddingRows(tokens);
  const u = tf.tidy(() =>
    product(tf.tensor2d(Float32Array.from(matrix), [pairs.length, tokens.length]), rows),
  );
  rows.dispose();
  return u;
}

async function prepareDirection(input: MetricInput, weightsOf: TokenWeights): Promise<PreparedMetric> {
  const u = await directions(input, weightsOf);
  return {
    read(final, pairOfRow) {
      const values = tf.tidy(() => {
        const perRow = tf.gather(u, tf.tensor1d(Int32Array.from(pairOfRow), "int32"));
        return tf.sum(tf.mul(final, perRow), -1);
      });
      const data = Float32Array.from(values.dataSync());
      values.dispose();
      return data;
    },
    gradient: () => tf.clone(u),
    dispose: () => u.dispose(),
  };
}

export const logitDiff: OutputMetric = {
  name: "logit-diff",
  description: "mean answer logit − mean wrong logit",
  needs: { answers: true, wrong: true },
  differentiable: true,
  flatOnClean: false,
  logitTerms: 0,
  prepare: (input) => prepareDirection(input, (pair) => meanOver(pair.wrong, -1, meanOver(pair.answers, 1))),
};

export const logit: OutputMetric = {
  name: "logit",
  description: "mean answer logit",
  needs: { answers: true, wrong: false },
  differentiable: true,
  flatOnClean: false,
  logitTerms: 0,
  prepare: (input) => prepareDirection(input, (pair) => meanOver(pair.answers, 1)),
};
